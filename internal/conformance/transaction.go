package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// requireExcluded requires that a call of other waits until the owner of a
// transaction ends it. The card's log proves the order: call leaves the mark
// 'x' on the card, directly or afterwards.
func (s *suite) requireExcluded(t *testing.T, owner winscard.Card, end func(), call func() winscard.Code) {
	t.Helper()
	s.a.Log()
	requireOK(t, s.Backend.BeginTransaction(owner))
	begun := make(chan struct{})
	done := start(func() winscard.Code {
		close(begun)
		rc := call()
		return rc
	})
	await(t, begun, "goroutine")
	want := ""
	// Longer than pcscd's and libpcsclite's poll interval of 100 ms.
	for i := range 40 {
		m := byte('a' + i%20)
		s.transmit(t, owner, mark(m))
		want += string(m)
		pause()
	}
	select {
	case rc := <-done:
		t.Fatalf("did not wait: %s", show(rc))
	default:
	}
	end()
	requireOK(t, await(t, done, "the excluded call"))
	require.Equal(t, want+"x", s.a.Log())
}

var transactionTests = []subtest{
	{"Excludes", func(t *testing.T, s *suite) {
		for _, test := range []struct {
			name string
			call func(t *testing.T, other winscard.Card) winscard.Code
		}{
			{"Transmit", func(t *testing.T, other winscard.Card) winscard.Code {
				_, rc := s.Backend.Transmit(other, t1, mark('x'), make([]byte, 258))
				return rc
			}},
			{"BeginTransaction", func(t *testing.T, other winscard.Card) winscard.Code {
				if rc := s.Backend.BeginTransaction(other); rc != winscard.Success {
					return rc
				}
				s.Backend.Transmit(other, t1, mark('x'), make([]byte, 258))
				return s.Backend.EndTransaction(other, leave)
			}},
			{"Status", func(t *testing.T, other winscard.Card) winscard.Code {
				_, _, _, _, rc := s.Backend.Status(other, nil, nil)
				s.Backend.Transmit(other, t1, mark('x'), make([]byte, 258))
				return rc
			}},
			{"Reconnect", func(t *testing.T, other winscard.Card) winscard.Code {
				_, rc := s.Backend.Reconnect(other, shared, anyT, leave)
				s.Backend.Transmit(other, t1, mark('x'), make([]byte, 258))
				return rc
			}},
			{"Connect", func(t *testing.T, _ winscard.Card) winscard.Code {
				ctx, rc := s.Backend.EstablishContext(user)
				if rc != winscard.Success {
					return rc
				}
				defer s.Backend.ReleaseContext(ctx)
				card, _, rc := s.Backend.Connect(ctx, s.readers[readerA], shared, anyT)
				s.Backend.Transmit(card, t1, mark('x'), make([]byte, 258))
				s.Backend.Disconnect(card, leave) // what ReleaseContext makes of connections is the subject of others
				return rc
			}},
		} {
			t.Run(test.name, func(t *testing.T) {
				_, owner := s.session(t, readerA)
				_, other := s.session(t, readerA)
				s.requireExcluded(t, owner,
					func() { requireOK(t, s.Backend.EndTransaction(owner, leave)) },
					func() winscard.Code { return test.call(t, other) })
			})
		}
	}},
	{"EndsWith", func(t *testing.T, s *suite) {
		// Other ways for a transaction to end.
		transmit := func(other winscard.Card) winscard.Code {
			_, rc := s.Backend.Transmit(other, t1, mark('x'), make([]byte, 258))
			return rc
		}
		t.Run("Disconnect", func(t *testing.T) {
			_, owner := s.session(t, readerA)
			_, other := s.session(t, readerA)
			s.requireExcluded(t, owner,
				func() { requireOK(t, s.Backend.Disconnect(owner, leave)) },
				func() winscard.Code { return transmit(other) })
		})
		t.Run("ReleaseContext", func(t *testing.T) {
			// That resets the card, so the excluded call is told.
			ctx, owner := s.session(t, readerA)
			_, other := s.session(t, readerA)
			resets := s.a.Resets()
			requireOK(t, s.Backend.BeginTransaction(owner))
			done := start(func() winscard.Code { return transmit(other) })
			s.transmit(t, owner, verify)
			requireOK(t, s.Backend.ReleaseContext(ctx))
			requireCode(t, winscard.ErrResetCard, await(t, done, "Transmit"))
			require.Equal(t, resets+1, s.a.Resets())
			_, rc := s.Backend.Reconnect(other, shared, anyT, leave)
			requireOK(t, rc)
			require.False(t, s.verified(t, other))
		})
	}},
	{"Nested", func(t *testing.T, s *suite) {
		_, owner := s.session(t, readerA)
		_, other := s.session(t, readerA)
		requireOK(t, s.Backend.BeginTransaction(owner))
		// requireExcluded begins the second.
		s.requireExcluded(t, owner, func() {
			requireOK(t, s.Backend.EndTransaction(owner, leave))
			// One is left.
			requireCode(t, winscard.ErrSharingViolation, s.Backend.EndTransaction(other, leave))
			requireOK(t, s.Backend.EndTransaction(owner, leave))
		}, func() winscard.Code {
			_, rc := s.Backend.Transmit(other, t1, mark('x'), make([]byte, 258))
			return rc
		})
		requireCode(t, winscard.ErrNotTransacted, s.Backend.EndTransaction(owner, leave))
	}},
	{"NotWaiting", func(t *testing.T, s *suite) {
		// These are told that another has a transaction, or need not wait.
		ctx, owner := s.session(t, readerA)
		otherCtx, other := s.session(t, readerA)
		requireOK(t, s.Backend.BeginTransaction(owner))
		for range 2 {
			requireCode(t, winscard.ErrSharingViolation, controlCode(s, other))
			_, rc := s.Backend.GetAttrib(other, uint32(s.Quirks.ATRAttribute), make([]byte, 200))
			requireCode(t, winscard.ErrSharingViolation, rc)
			requireCode(t, winscard.ErrSharingViolation, s.Backend.SetAttrib(other, uint32(winscard.AttrVendorName), []byte{1}))
			for _, d := range []uint32{leave, reset, unpower, eject} {
				requireCode(t, winscard.ErrSharingViolation, s.Backend.EndTransaction(other, d))
			}
		}
		require.Equal(t, s.readers, split(t, s.list(t, otherCtx)))
		s.current(t, otherCtx, s.readers...)
		b := s.connect(t, otherCtx, readerB, shared, anyT)
		s.requireExchange(t, b, t0, s.b, 20, 20)
		requireOK(t, s.Backend.Disconnect(other, leave))
		requireOK(t, s.Backend.EndTransaction(owner, leave))
		requireOK(t, s.Backend.ReleaseContext(ctx))
	}},
	{"WithoutBegin", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		requireCode(t, winscard.ErrNotTransacted, s.Backend.EndTransaction(card, leave))
		if s.Quirks.Eject != winscard.Success { // which then is what pcscd says first
			requireCode(t, s.Quirks.Eject, s.Backend.EndTransaction(card, eject))
		}
		requireOK(t, s.Backend.Disconnect(card, reset))
		// An exclusive connection counts as a transaction, but not one to end.
		card = s.connect(t, ctx, readerA, exclusive, anyT)
		requireCode(t, winscard.ErrNotTransacted, s.Backend.EndTransaction(card, leave))
		requireOK(t, s.Backend.BeginTransaction(card))
		requireOK(t, s.Backend.EndTransaction(card, leave))
		requireCode(t, winscard.ErrNotTransacted, s.Backend.EndTransaction(card, leave))
	}},
	{"Direct", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		card := s.connect(t, ctx, readerA, direct, undefined)
		requireOK(t, s.Backend.BeginTransaction(card))
		requireOK(t, s.Backend.EndTransaction(card, leave))
	}},
	{"ReconnectWithin", func(t *testing.T, s *suite) {
		_, owner := s.session(t, readerA)
		_, other := s.session(t, readerA)
		requireOK(t, s.Backend.BeginTransaction(owner))
		s.transmit(t, owner, verify)
		_, rc := s.Backend.Reconnect(owner, shared, anyT, reset)
		requireOK(t, rc)
		require.False(t, s.verified(t, owner))
		requireCode(t, winscard.ErrResetCard, s.Backend.EndTransaction(other, leave))
		requireCode(t, winscard.ErrSharingViolation, controlCode(s, other), "still the owner")
		requireOK(t, s.Backend.EndTransaction(owner, leave))
	}},
}

func controlCode(s *suite, card winscard.Card) winscard.Code {
	_, rc := s.Backend.Control(card, unknownControl, nil, make([]byte, 10))
	return rc
}

// list lists the readers into a buffer that is large enough.
func (s *suite) list(t *testing.T, ctx winscard.Context) []byte {
	t.Helper()
	buf := make([]byte, winscard.MaxReaders*winscard.MaxReaderName)
	n, rc := s.listReaders(ctx, nil, buf)
	requireOK(t, rc)
	return buf[:n]
}

// What becomes of the card is told by its volatile flag; a second connection
// keeps pcscd from cutting the power of a card that nobody uses.
var dispositionTests = []subtest{
	{"Disconnect", func(t *testing.T, s *suite) {
		s.dispositions(t, func(t *testing.T, card winscard.Card, disposition uint32) {
			requireOK(t, s.Backend.Disconnect(card, disposition))
		})
	}},
	{"EndTransaction", func(t *testing.T, s *suite) {
		s.dispositions(t, func(t *testing.T, card winscard.Card, disposition uint32) {
			requireOK(t, s.Backend.BeginTransaction(card))
			rc := s.Backend.EndTransaction(card, disposition)
			if disposition == eject {
				requireCode(t, s.Quirks.Eject, rc)
				requireCode(t, winscard.ErrNotTransacted, s.Backend.EndTransaction(card, leave), "has ended")
			} else {
				requireOK(t, rc)
			}
			// pcscd tells everyone of the reset, its author included.
			_, _, _, _, rc = s.Backend.Status(card, nil, nil)
			if disposition == leave || disposition == eject {
				requireOK(t, rc)
				return
			}
			requireCode(t, winscard.ErrResetCard, rc)
		})
	}},
	{"Reconnect", func(t *testing.T, s *suite) {
		s.dispositions(t, func(t *testing.T, card winscard.Card, disposition uint32) {
			if disposition == eject {
				disposition = leave // which Reconnect does not take
			}
			_, rc := s.Backend.Reconnect(card, shared, anyT, disposition)
			requireOK(t, rc)
			_, _, _, _, rc = s.Backend.Status(card, nil, nil)
			requireOK(t, rc)
		})
	}},
	{"Release", func(t *testing.T, s *suite) {
		_, observer := s.session(t, readerA)
		ctx, card := s.session(t, readerA)
		s.transmit(t, card, verify)
		requireOK(t, s.Backend.ReleaseContext(ctx))
		require.True(t, s.verified(t, observer), "a card is left as it is")
	}},
}

func (s *suite) dispositions(t *testing.T, act func(t *testing.T, card winscard.Card, disposition uint32)) {
	for _, test := range []struct {
		name        string
		disposition uint32
		loses       bool
	}{
		{"Leave", leave, false},
		{"Reset", reset, true},
		{"Unpower", unpower, true},
		{"Eject", eject, false}, // vpcd's reader cannot
	} {
		t.Run(test.name, func(t *testing.T) {
			_, observer := s.session(t, readerA)
			_, card := s.session(t, readerA)
			s.transmit(t, card, verify)
			require.True(t, s.verified(t, observer))
			act(t, card, test.disposition)
			if !test.loses {
				require.True(t, s.verified(t, observer))
				return
			}
			for _, c := range s.cardCalls() {
				switch c.name {
				case "Reconnect":
				case "Control": // is for the reader
					requireCode(t, s.Quirks.Control, c.call(s.Backend, observer))
				default:
					requireCode(t, winscard.ErrResetCard, c.call(s.Backend, observer), c.name)
				}
			}
			protocol, rc := s.Backend.Reconnect(observer, shared, anyT, reset)
			requireOK(t, rc)
			require.Equal(t, t1, protocol)
			require.False(t, s.verified(t, observer))
		})
	}
}
