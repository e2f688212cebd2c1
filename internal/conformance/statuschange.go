package conformance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

const (
	stateChanged = uint32(winscard.StateChanged)
	stateFlags   = 0xFFFF
)

var statusChangeTests = []subtest{
	{"Unaware", func(t *testing.T, s *suite) {
		// With any time-out it returns at once.
		ctx := s.establish(t)
		s.session(t, readerA)
		other := s.establish(t)
		s.connect(t, other, readerB, exclusive, anyT)
		for _, timeout := range []uint32{0, 1, 60_000, winscard.Infinite} {
			states := make([]winscard.ReaderState, sharedReaders)
			for i, name := range s.readers {
				states[i] = state(name)
			}
			w := s.wait(ctx, timeout, states...)
			requireOK(t, w.end(t))
			for i, want := range []struct {
				flags winscard.State
				card  *Card
			}{
				readerA:     {winscard.StateChanged | winscard.StatePresent | winscard.StateInUse, s.a},
				readerB:     {winscard.StateChanged | winscard.StatePresent | winscard.StateExclusive, s.b},
				readerSlot:  {winscard.StateChanged | winscard.StateEmpty, nil},
				readerEmpty: {winscard.StateChanged | winscard.StateEmpty, nil},
			} {
				st := w.states[i]
				require.Equal(t, uint32(want.flags), st.EventState&stateFlags, "reader %d", i)
				require.Equal(t, uint32(0), st.CurrentState)
				require.Equal(t, s.readers[i], st.Reader)
				if want.card == nil {
					require.Zero(t, st.ATRLen)
					continue
				}
				require.Equal(t, want.card.ATR(), st.ATR[:st.ATRLen])
				require.NotZero(t, counter(st.EventState))
			}
		}
	}},
	{"TimesOut", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		states := s.current(t, ctx, s.readers...)
		for _, timeout := range []uint32{0, 1, 50, 200} {
			begin := time.Now()
			w := s.wait(ctx, timeout, states...)
			requireCode(t, winscard.ErrTimeout, w.end(t))
			require.GreaterOrEqual(t, time.Since(begin)+2*time.Millisecond, time.Duration(timeout)*time.Millisecond)
			for i := range states {
				require.Zero(t, w.states[i].EventState&stateChanged)
			}
		}
	}},
	{"Ignore", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		states := s.current(t, ctx, s.readers[readerA], s.readers[readerEmpty])
		for i := range states {
			states[i].CurrentState |= uint32(winscard.StateIgnore)
		}
		// Nothing to wait for.
		requireOK(t, s.wait(ctx, winscard.Infinite, slices.Clone(states)...).end(t))
		// The others count, wrong or not the ignored does not.
		states[0].CurrentState = uint32(winscard.StateIgnore)
		states[1].CurrentState &^= uint32(winscard.StateIgnore)
		w := s.wait(ctx, 50, states...)
		requireCode(t, winscard.ErrTimeout, w.end(t))
		require.Zero(t, w.states[0].EventState)
		// An unknown name is an error even if it is ignored.
		w = s.wait(ctx, 50, states[1], winscard.ReaderState{Reader: "x", CurrentState: uint32(winscard.StateIgnore)})
		requireCode(t, winscard.ErrUnknownReader, w.end(t))
	}},
	{"Empty", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		for _, states := range [][]winscard.ReaderState{nil, {}} {
			requireOK(t, s.wait(ctx, winscard.Infinite, states...).end(t))
		}
	}},
	{"WrongBelief", func(t *testing.T, s *suite) {
		// What the caller believes differs from what is so: it returns at once.
		ctx := s.establish(t)
		states := s.current(t, ctx, s.readers...)
		for reader, wrong := range [][]winscard.State{
			readerA:     {winscard.StateEmpty, winscard.StateMute, winscard.StateUnknown, winscard.StateUnavailable, winscard.StateInUse, winscard.StateExclusive},
			readerEmpty: {winscard.StatePresent, winscard.StateUnknown, winscard.StateUnavailable},
		} {
			for _, belief := range wrong {
				st := states[reader]
				st.CurrentState = uint32(belief)
				w := s.wait(ctx, winscard.Infinite, st)
				requireOK(t, w.end(t))
				require.Equal(t, states[reader].CurrentState&stateFlags|stateChanged,
					w.states[0].EventState&stateFlags, "reader %d, belief %#x", reader, belief)
			}
			if len(wrong) > 0 {
				// The event counter counts, unless it is 0.
				st := states[reader]
				st.CurrentState += 5 << 16
				w := s.wait(ctx, winscard.Infinite, st)
				requireOK(t, w.end(t))
				require.Equal(t, states[reader].CurrentState|stateChanged, w.states[0].EventState)
				st.CurrentState &= stateFlags
				requireCode(t, winscard.ErrTimeout, s.wait(ctx, 30, st).end(t))
			}
		}
	}},
	{"OneOfSeveral", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		states := s.current(t, ctx, s.readers...)
		states[readerB].CurrentState = uint32(winscard.StateEmpty)
		w := s.wait(ctx, winscard.Infinite, states...)
		requireOK(t, w.end(t))
		for i, st := range w.states {
			require.Equal(t, i == readerB, has(st.EventState, winscard.StateChanged), "reader %d", i)
		}
		require.Equal(t, s.b.ATR(), w.states[readerB].ATR[:w.states[readerB].ATRLen])
		require.Equal(t, s.a.ATR(), w.states[readerA].ATR[:w.states[readerA].ATRLen])
	}},
	{"SameReaderTwice", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		w := s.wait(ctx, 0, state(s.readers[readerA]), state(s.readers[readerA]))
		requireOK(t, w.end(t))
		require.Equal(t, w.states[0], w.states[1])
	}},
	{"PnPAlone", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		for _, name := range []string{winscard.PnPNotification, strings.ToUpper(winscard.PnPNotification)} {
			w := s.wait(ctx, 50, state(name))
			requireCode(t, winscard.ErrTimeout, w.end(t))
			require.Zero(t, w.states[0].EventState&stateChanged)
			w = s.wait(ctx, winscard.Infinite, state(name), state(s.readers[readerA]))
			requireOK(t, w.end(t), "the reader is news")
			require.Zero(t, w.states[0].EventState&stateChanged)
			require.NotZero(t, w.states[1].EventState&stateChanged)
		}
	}},
	{"CancelBefore", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		states := s.current(t, ctx, s.readers...)
		requireOK(t, s.Backend.Cancel(ctx))
		requireCode(t, winscard.ErrTimeout, s.wait(ctx, 50, states...).end(t), "a cancel before the wait is lost")
	}},
	{"CancelDuring", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		other := s.establish(t)
		states := s.current(t, ctx, s.readers...)
		for range 20 {
			w := s.wait(ctx, winscard.Infinite, states...)
			requireCode(t, winscard.ErrCancelled, s.cancel(t, ctx, w))
		}
		// The others are not disturbed, and it can wait again.
		w := s.wait(other, 200, slices.Clone(states)...)
		requireCode(t, winscard.ErrCancelled, s.cancel(t, ctx, s.wait(ctx, winscard.Infinite, states...)))
		requireCode(t, winscard.ErrTimeout, w.end(t))
		requireCode(t, winscard.ErrTimeout, s.wait(ctx, 20, states...).end(t))
	}},
	{"CancelAfter", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		states := s.current(t, ctx, s.readers...)
		for range 3 {
			requireCode(t, winscard.ErrTimeout, s.wait(ctx, 10, states...).end(t))
			requireOK(t, s.Backend.Cancel(ctx))
		}
		requireCode(t, winscard.ErrTimeout, s.wait(ctx, 30, states...).end(t))
	}},
	{"WaitsWhileOthersWork", func(t *testing.T, s *suite) {
		// A wait keeps its context busy, and no other.
		ctx := s.establish(t)
		w := s.wait(ctx, winscard.Infinite, s.current(t, ctx, s.readers[readerEmpty])...)
		_, card := s.session(t, readerA)
		for range 20 {
			s.requireExchange(t, card, t1, s.a, 100, 100)
		}
		requireOK(t, s.Backend.IsValidContext(ctx))
		requireCode(t, winscard.ErrCancelled, s.cancel(t, ctx, w))
	}},
	{"InsertAndRemove", func(t *testing.T, s *suite) {
		ctx := s.establish(t)
		// The other readers are there to be told apart.
		before := s.current(t, ctx, s.readers...)
		w := s.wait(ctx, winscard.Infinite, slices.Clone(before)...)
		card, remove := s.insert(t)
		requireOK(t, w.end(t))
		for i, st := range w.states {
			want := before[i].CurrentState & stateFlags
			if i == readerSlot {
				want = uint32(winscard.StateChanged | winscard.StatePresent)
				require.Equal(t, card.ATR(), st.ATR[:st.ATRLen])
				require.Equal(t, counter(before[i].CurrentState)+1, counter(st.EventState), "one event")
			}
			require.Equal(t, want, st.EventState&stateFlags, "reader %d", i)
		}

		st := w.states[readerSlot]
		st.CurrentState = st.EventState &^ stateChanged
		requireCode(t, winscard.ErrTimeout, s.wait(ctx, 0, st).end(t), "no more news")
		w = s.wait(ctx, winscard.Infinite, st)
		remove()
		requireOK(t, w.end(t))
		st = w.states[0]
		require.Equal(t, uint32(winscard.StateChanged|winscard.StateEmpty), st.EventState&stateFlags)
		require.Equal(t, counter(before[readerSlot].CurrentState)+2, counter(st.EventState))
		require.Zero(t, st.ATRLen)

		// A visit that nobody watched shows in the counter.
		st.CurrentState = st.EventState &^ stateChanged
		_, remove = s.insert(t)
		remove()
		w = s.wait(ctx, winscard.Infinite, st)
		requireOK(t, w.end(t))
		require.Equal(t, uint32(winscard.StateChanged|winscard.StateEmpty), w.states[0].EventState&stateFlags)
		require.Equal(t, counter(st.CurrentState)+2, counter(w.states[0].EventState))
	}},
}

// testHotPlug runs on services whose readers come and go.
func testHotPlug(t *testing.T, s *suite) {
	plug, ok := s.Service.(HotPlugger)
	require.True(t, ok)
	ctx := s.establish(t)
	for _, alone := range []bool{true, false} {
		states := []winscard.ReaderState{state(winscard.PnPNotification)}
		if !alone {
			states = append(states, s.current(t, ctx, s.readers...)...)
		}
		await := func(change func()) {
			t.Helper()
			// The wait has to be under way before the change, or there is
			// none: the count it starts from is its own.
			other := s.establish(t)
			w := s.wait(ctx, winscard.Infinite, slices.Clone(states)...)
			s.settle(t, other)
			change()
			requireOK(t, w.end(t))
			require.NotZero(t, w.states[0].EventState&stateChanged)
			for _, st := range w.states[1:] {
				require.Zero(t, st.EventState&stateChanged)
			}
		}
		await(plug.AddReader)
		names := split(t, s.list(t, ctx))
		require.Len(t, names, sharedReaders+1)
		added := names[sharedReaders]
		require.Equal(t, uint32(winscard.StateEmpty), s.current(t, ctx, added)[0].CurrentState&stateFlags)

		gone := s.wait(ctx, winscard.Infinite, s.current(t, ctx, added)...)
		s.settle(t, s.establish(t))
		plug.RemoveReader()
		requireOK(t, gone.end(t))
		require.True(t, has(gone.states[0].EventState, winscard.StateUnknown, winscard.StateUnavailable, winscard.StateChanged))
		require.Equal(t, s.readers, split(t, s.list(t, ctx)))
		requireCode(t, winscard.ErrUnknownReader, s.Backend.GetStatusChange(ctx, 0, []winscard.ReaderState{state(added)}))

		plug.AddReader()
		await(plug.RemoveReader)
	}
}

// settle lets a wait that was just begun get under way.
func (s *suite) settle(t *testing.T, ctx winscard.Context) {
	t.Helper()
	requireCode(t, winscard.ErrTimeout, s.wait(ctx, 100, s.current(t, ctx, s.readers...)...).end(t))
}
