package conformance

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

var contextTests = []subtest{
	{"Scopes", func(t *testing.T, s *suite) {
		for _, test := range []struct {
			scope uint32
			want  winscard.Code
		}{
			{uint32(winscard.ScopeUser), winscard.Success},
			{uint32(winscard.ScopeTerminal), winscard.Success},
			{uint32(winscard.ScopeSystem), winscard.Success},
			{uint32(winscard.ScopeGlobal), winscard.Success},
			{4, winscard.ErrInvalidValue},
			{bad, winscard.ErrInvalidValue},
			{badAll, winscard.ErrInvalidValue},
		} {
			ctx, rc := s.Backend.EstablishContext(test.scope)
			requireCode(t, test.want, rc, "scope %#x", test.scope)
			if rc != winscard.Success {
				require.Zero(t, ctx)
				continue
			}
			require.NotZero(t, ctx)
			requireOK(t, s.Backend.IsValidContext(ctx))
			requireOK(t, s.Backend.ReleaseContext(ctx))
			s.requireReleased(t, ctx)
		}
	}},
	{"Many", func(t *testing.T, s *suite) {
		seen := map[winscard.Context]bool{}
		for range 50 {
			ctx := s.establish(t)
			require.False(t, seen[ctx], "%#x twice", ctx)
			seen[ctx] = true
		}
		for ctx := range seen {
			requireOK(t, s.Backend.IsValidContext(ctx))
		}
	}},
	{"ReleaseDisconnects", func(t *testing.T, s *suite) {
		ctx, rc := s.Backend.EstablishContext(user)
		requireOK(t, rc)
		card, _, rc := s.Backend.Connect(ctx, s.readers[readerA], exclusive, anyT)
		requireOK(t, rc)
		requireOK(t, s.Backend.ReleaseContext(ctx))
		_, _, _, _, rc = s.Backend.Status(card, nil, nil)
		requireCode(t, winscard.ErrInvalidHandle, rc)
		s.session(t, readerA) // is free again
	}},
	{"CancelIdle", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		for range 3 {
			requireOK(t, s.Backend.Cancel(ctx))
		}
		requireCode(t, winscard.ErrTimeout, s.wait(ctx, 30, s.current(t, ctx, s.readers[readerEmpty])...).end(t))
	}},
	{"ElsewhereOnly", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		requireCode(t, winscard.ErrUnsupportedFunction, s.Backend.SetTimeout(ctx, 1000))
		requireCode(t, winscard.ErrUnsupportedFunction, s.Backend.CancelTransaction(card))
	}},
	{"Text", func(t *testing.T, s *suite) {
		for _, code := range []winscard.Code{winscard.Success, winscard.ErrNoSmartcard, winscard.ErrRemovedCard} {
			if runtime.GOOS != "windows" { // which has no such function
				require.NotEmpty(t, s.Backend.StringifyError(code))
			}
			require.NotContains(t, s.Backend.StringifyError(code), "\x00")
		}
		for _, code := range []winscard.Code{1, 0x7FFFFFFF, 0x80000000, ^winscard.Code(0), winscard.ErrUnavailable} {
			s.Backend.StringifyError(code) // no crash
		}
	}},
	{"FreeNothing", func(t *testing.T, s *suite) {
		requireOK(t, s.Backend.FreeMemory(s.establish(t), 0))
	}},
}

var nameTests = []subtest{
	{"Connect", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		real := s.readers[readerA]
		for _, test := range []struct {
			name string
			want winscard.Code
		}{
			{"", winscard.ErrUnknownReader},
			{"no such reader", winscard.ErrUnknownReader},
			{real + " ", winscard.ErrUnknownReader},
			{real[:len(real)-1], winscard.ErrUnknownReader},
			{strings.ToUpper(real), winscard.ErrUnknownReader},
			{winscard.PnPNotification, winscard.ErrUnknownReader},
			{"\xff\xfe not UTF-8", s.Quirks.Undecodable},
			{"Lesegerät é 読取装置", winscard.ErrUnknownReader},
			// Above 128 bytes the library does not ask the daemon.
			{strings.Repeat("x", winscard.MaxReaderName-1), winscard.ErrUnknownReader},
			{strings.Repeat("x", winscard.MaxReaderName), winscard.ErrUnknownReader},
			{strings.Repeat("x", winscard.MaxReaderName+1), winscard.ErrInvalidValue},
			{strings.Repeat("x", 10_000), winscard.ErrInvalidValue},
			// A NUL would cut the name short, and another reader would answer.
			{"\x00", winscard.ErrInvalidParameter},
			{real + "\x00", winscard.ErrInvalidParameter},
			{real + "\x00x", winscard.ErrInvalidParameter},
			{"x\x00" + real, winscard.ErrInvalidParameter},
		} {
			for _, share := range []uint32{exclusive, shared, direct} {
				card, _, rc := s.Backend.Connect(ctx, test.name, share, anyT)
				requireCode(t, test.want, rc, "%.40q", test.name)
				require.Zero(t, card)
			}
		}
		_, _, rc := s.Backend.Connect(winscard.Context(0), real+"\x00", shared, anyT)
		requireCode(t, winscard.ErrInvalidParameter, rc, "the name is checked before the call")
	}},
	{"StatusChange", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		real := s.readers[readerA]
		for _, test := range []struct {
			name string
			want winscard.Code
		}{
			{"no such reader", winscard.ErrUnknownReader},
			{real + " ", winscard.ErrUnknownReader},
			{real[:len(real)-1], winscard.ErrUnknownReader},
			{"\xff\xfe not UTF-8", s.Quirks.Undecodable},
			{strings.Repeat("x", winscard.MaxReaderName), winscard.ErrUnknownReader},
			{strings.Repeat("x", 10_000), winscard.ErrUnknownReader},
			{"\x00", winscard.ErrInvalidParameter},
			{real + "\x00", winscard.ErrInvalidParameter},
			{real + "\x00x", winscard.ErrInvalidParameter},
		} {
			// Alone, and at either end of a list.
			for _, names := range [][]string{{test.name}, {real, test.name}, {test.name, real}} {
				var states []winscard.ReaderState
				for _, name := range names {
					states = append(states, winscard.ReaderState{Reader: name, EventState: bad})
				}
				requireCode(t, test.want, s.Backend.GetStatusChange(ctx, 0, states), "%.40q", names)
				for i := range states {
					require.Equal(t, names[i], states[i].Reader)
					require.Equal(t, bad, states[i].EventState, "%.40q: nothing is known of the others either", names)
				}
			}
		}
		rc := s.Backend.GetStatusChange(winscard.Context(0), 0, []winscard.ReaderState{state("\x00")})
		requireCode(t, winscard.ErrInvalidParameter, rc, "the name is checked before the call")
	}},
	{"StatusChangeOfNothing", func(t *testing.T, s *suite) {
		// libpcsclite finds the empty name in its first unused slot.
		states := []winscard.ReaderState{state("")}
		ctx := s.establish(t)
		requireOK(t, s.Backend.GetStatusChange(ctx, 0, states))
		require.Zero(t, states[0].EventState&^uint32(winscard.StateChanged))
		require.Zero(t, states[0].ATRLen)
	}},
}

type contextCall struct {
	name string
	call func(winscard.Backend, winscard.Context) winscard.Code
}

// contextCalls are all functions of a context, with reader as a name that is
// right.
func (s *suite) contextCalls(reader string) []contextCall {
	return []contextCall{
		{"IsValidContext", winscard.Backend.IsValidContext},
		{"Connect", func(b winscard.Backend, ctx winscard.Context) winscard.Code {
			_, _, rc := b.Connect(ctx, reader, shared, anyT)
			return rc
		}},
		{"GetStatusChange", func(b winscard.Backend, ctx winscard.Context) winscard.Code {
			return b.GetStatusChange(ctx, 0, []winscard.ReaderState{state(reader)})
		}},
		{"ListReaders", func(b winscard.Backend, ctx winscard.Context) winscard.Code {
			_, rc := s.listed(func() (int, winscard.Code) { return b.ListReaders(ctx, nil, make([]byte, 4096)) })
			return rc
		}},
		{"ListReaders size", func(b winscard.Backend, ctx winscard.Context) winscard.Code {
			_, rc := s.listed(func() (int, winscard.Code) { return b.ListReaders(ctx, nil, nil) })
			return rc
		}},
		{"ListReaderGroups", func(b winscard.Backend, ctx winscard.Context) winscard.Code {
			_, rc := s.listed(func() (int, winscard.Code) { return b.ListReaderGroups(ctx, make([]byte, 4096)) })
			return rc
		}},
		{"Cancel", winscard.Backend.Cancel},
		{"FreeMemory", func(b winscard.Backend, ctx winscard.Context) winscard.Code {
			return b.FreeMemory(ctx, 0)
		}},
		{"ReleaseContext", winscard.Backend.ReleaseContext},
	}
}

type cardCall struct {
	name string
	call func(winscard.Backend, winscard.Card) winscard.Code
}

// cardCalls are all functions of a card that leave a good handle good.
func (s *suite) cardCalls() []cardCall {
	return []cardCall{
		{"Status", func(b winscard.Backend, card winscard.Card) winscard.Code {
			_, _, _, _, rc := b.Status(card, make([]byte, 512), make([]byte, 36))
			return rc
		}},
		{"Transmit", func(b winscard.Backend, card winscard.Card) winscard.Code {
			_, rc := b.Transmit(card, t1, isVerified, make([]byte, 258))
			return rc
		}},
		{"BeginTransaction", winscard.Backend.BeginTransaction},
		{"EndTransaction", func(b winscard.Backend, card winscard.Card) winscard.Code {
			return b.EndTransaction(card, leave)
		}},
		{"GetAttrib", func(b winscard.Backend, card winscard.Card) winscard.Code {
			_, rc := b.GetAttrib(card, uint32(s.Quirks.ATRAttribute), make([]byte, 256))
			return rc
		}},
		{"SetAttrib", func(b winscard.Backend, card winscard.Card) winscard.Code {
			return b.SetAttrib(card, uint32(winscard.AttrVendorName), []byte{1})
		}},
		{"Control", func(b winscard.Backend, card winscard.Card) winscard.Code {
			_, rc := b.Control(card, unknownControl, []byte{1}, make([]byte, 256))
			return rc
		}},
		{"Reconnect", func(b winscard.Backend, card winscard.Card) winscard.Code {
			_, rc := b.Reconnect(card, shared, anyT, leave)
			return rc
		}},
	}
}

// disconnectCalls are calls that end a good handle.
func disconnectCalls() []cardCall {
	var calls []cardCall
	for _, d := range []struct {
		name  string
		value uint32
	}{{"leave", leave}, {"reset", reset}, {"unpower", unpower}, {"eject", eject}} {
		calls = append(calls, cardCall{"Disconnect " + d.name, func(b winscard.Backend, card winscard.Card) winscard.Code {
			return b.Disconnect(card, d.value)
		}})
	}
	return calls
}

var handleTests = []subtest{
	{"Contexts", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		released := s.establish(t)
		requireOK(t, s.Backend.ReleaseContext(released))
		for name, h := range map[string]winscard.Context{
			"zero": 0, "one": 1, "all ones": ^winscard.Context(0), "lower half": 0xFFFFFFFF,
			"random": 0x0123456789ABCDEF, "released": released, "a card": winscard.Context(card),
			"one off": ctx ^ 1,
		} {
			for _, c := range s.contextCalls(s.readers[readerA]) {
				requireCode(t, winscard.ErrInvalidHandle, c.call(s.Backend, h), "%s of %s", c.name, name)
			}
			// The library sees that there is nothing to do before it looks at
			// the context.
			requireOK(t, s.Backend.GetStatusChange(h, 0, nil))
		}
		requireOK(t, s.Backend.IsValidContext(ctx))
	}},
	{"Cards", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		disconnected := s.connect(t, ctx, readerB, shared, anyT)
		requireOK(t, s.Backend.Disconnect(disconnected, leave))
		commands := s.a.Commands()
		for name, h := range map[string]winscard.Card{
			"zero": 0, "one": 1, "all ones": ^winscard.Card(0), "lower half": 0xFFFFFFFF,
			"random": 0x0123456789ABCDEF, "disconnected": disconnected, "a context": winscard.Card(ctx),
			"one off": card ^ 1,
		} {
			for _, c := range append(s.cardCalls(), disconnectCalls()...) {
				requireCode(t, winscard.ErrInvalidHandle, c.call(s.Backend, h), "%s of %s", c.name, name)
			}
		}
		require.Equal(t, commands, s.a.Commands())
		require.False(t, s.verified(t, card), "the good handle still works")
	}},
	{"OfReleasedContext", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		requireOK(t, s.Backend.ReleaseContext(ctx))
		for _, c := range append(s.cardCalls(), disconnectCalls()...) {
			requireCode(t, winscard.ErrInvalidHandle, c.call(s.Backend, card), c.name)
		}
	}},
	{"GoodOnes", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		for _, c := range s.cardCalls() {
			want := winscard.Success
			switch c.name {
			case "SetAttrib":
				want = s.Quirks.SetAttrib
			case "Control":
				want = s.Quirks.Control
			}
			requireCode(t, want, c.call(s.Backend, card), c.name)
		}
		for _, c := range s.contextCalls(s.readers[readerA]) {
			requireOK(t, c.call(s.Backend, ctx), c.name)
		}
	}},
}
