package conformance

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// guarded returns a buffer of n bytes that lies within a larger array, and a
// check that nothing around it was written to.
func guarded(t *testing.T, n int) (buf []byte, intact func(msg ...any)) {
	const margin, filler = 64, 0xEE
	all := make([]byte, margin+n+margin)
	for i := range all {
		all[i] = filler
	}
	return all[margin : margin+n : margin+n], func(msg ...any) {
		t.Helper()
		for i, b := range all {
			if (i < margin || i >= margin+n) && b != filler {
				require.Failf(t, "wrote outside of the buffer", "byte %d of %d is %#x: %v", i-margin, n, b, msg)
			}
		}
	}
}

// multiString tests a call that fills a buffer with a multi-string.
func (s *suite) multiString(t *testing.T, want []string, call func(buf []byte) (int, winscard.Code)) {
	t.Helper()
	size := 1
	for _, name := range want {
		size += len(name) + 1
	}
	needed := s.needed(size)

	for _, empty := range [][]byte{nil, {}, make([]byte, 0, 10)} {
		n, rc := call(empty)
		requireOK(t, rc, "size query")
		require.Equal(t, needed, n, "size query")
	}
	for _, room := range []int{needed, needed + 1, needed + 1000} {
		buf, intact := guarded(t, room)
		n, rc := call(buf)
		requireOK(t, rc, "%d bytes", room)
		require.Equal(t, size, n)
		require.Equal(t, want, split(t, buf[:n]))
		require.Equal(t, "\x00\x00", string(buf[n-2:n]), "ends with two NULs")
		intact("room for", room)
	}
	for _, room := range []int{1, 2, needed / 2, needed - 1} {
		if s.Quirks.UTF16 && room < 3 {
			continue // less than a unit asks for the length
		}
		buf, intact := guarded(t, room)
		n, rc := call(buf)
		requireCode(t, winscard.ErrInsufficientBuffer, rc, "%d bytes", room)
		if !s.Quirks.NeededLost {
			require.Equal(t, needed, n, "needed length")
		}
		intact("room for", room)
	}
}

// needed is the length that is reported for a text of ASCII characters.
func (s *suite) needed(size int) int {
	if s.Quirks.UTF16 {
		return 3 * size
	}
	return size
}

// testList lists whatever readers there are.
func testList(t *testing.T, s *suite) {
	ctx := s.establish(t)
	if len(s.readers) == 0 {
		for _, buf := range [][]byte{nil, make([]byte, 1), make([]byte, 1000)} {
			_, rc := s.listReaders(ctx, nil, buf)
			requireCode(t, winscard.ErrNoReadersAvailable, rc)
		}
	} else {
		s.multiString(t, s.readers, func(buf []byte) (int, winscard.Code) {
			return s.listReaders(ctx, nil, buf)
		})
		// pcsc-lite has one group and does not look at what is asked for.
		for _, groups := range [][]string{
			{},
			{winscard.DefaultReaders},
			{winscard.AllReaders, winscard.DefaultReaders},
			{"no such group"},
			{strings.Repeat("g", 10_000)},
		} {
			buf := make([]byte, 10_000)
			n, rc := s.listReaders(ctx, groups, buf)
			requireOK(t, rc)
			require.Equal(t, s.readers, split(t, buf[:n]))
		}
	}
	for _, groups := range [][]string{
		{"\x00"},
		{winscard.DefaultReaders, "a\x00b"},
	} {
		_, rc := s.Backend.ListReaders(ctx, groups, make([]byte, 10_000))
		requireCode(t, winscard.ErrInvalidParameter, rc, "%q", groups)
	}
	s.multiString(t, []string{winscard.DefaultReaders}, func(buf []byte) (int, winscard.Code) {
		return s.listed(func() (int, winscard.Code) { return s.Backend.ListReaderGroups(ctx, buf) })
	})
}

// testManyStates runs with as many readers as a service can have.
func testManyStates(t *testing.T, s *suite) {
	ctx := s.establish(t)
	states := s.current(t, ctx, s.readers...)
	for i := range states {
		require.Equal(t, uint32(winscard.StateEmpty), states[i].CurrentState&0xFFFF)
	}
	requireCode(t, winscard.ErrTimeout, s.Backend.GetStatusChange(ctx, 20, states))

	w := s.wait(ctx, winscard.Infinite, states...)
	card := NewCard()
	last := len(s.readers) - 1
	s.Service.Insert(last, card)
	requireOK(t, w.end(t))
	for i, st := range w.states {
		require.Equal(t, i == last, has(st.EventState, winscard.StateChanged), "reader %d", i)
		require.Equal(t, i == last, has(st.EventState, winscard.StatePresent), "reader %d", i)
	}
	require.Equal(t, card.ATR(), w.states[last].ATR[:w.states[last].ATRLen])
	s.Service.Remove(last)

	// The limit is on the length of the list, not on its readers: nothing is
	// left for the pseudo reader.
	for _, extra := range []string{winscard.PnPNotification, s.readers[0]} {
		requireCode(t, winscard.ErrInvalidParameter,
			s.Backend.GetStatusChange(ctx, 0, append(states, state(extra))), extra)
	}
	requireCode(t, winscard.ErrUnknownReader,
		s.Backend.GetStatusChange(ctx, 0, []winscard.ReaderState{state("")}))
}
