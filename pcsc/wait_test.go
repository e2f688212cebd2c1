package pcsc

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// unchanged is a state from which the fake's reader has not changed.
func unchanged(reader string) []ReaderState {
	s := NewReaderState(reader)
	s.CurrentState = StateEmpty
	if reader == "Reader 0" {
		s.CurrentState = StatePresent
	}
	return []ReaderState{s}
}

func TestGetStatusChange(t *testing.T) {
	for name, ctx := range map[string]context.Context{"direct": bg, "background": cancellable(t)} {
		t.Run(name, func(t *testing.T) {
			for _, timeout := range []time.Duration{-1, 0, time.Hour} {
				f := newFake(t)
				c := f.open()
				states := []ReaderState{NewReaderState("Reader 0"), NewReaderState("Léser 1")}
				require.NoError(t, c.GetStatusChangeTimeout(ctx, timeout, states))
				require.Equal(t, StatePresent|StateChanged, states[0].Flags())
				require.EqualValues(t, 7, states[0].EventCount())
				require.Equal(t, fakeATR, states[0].ATR())
				require.Equal(t, StateEmpty|StateChanged, states[1].Flags())
				require.Nil(t, states[1].ATR())

				states[0].SyncCurrentState()
				require.Equal(t, StatePresent|7<<16, states[0].CurrentState)

				// The ATR is the caller's own copy.
				states[0].ATR()[0] = 0
				require.Equal(t, fakeATR, states[0].ATR())

				// The card leaves: so does its ATR, though the library leaves it where it is.
				f.present["Reader 0"] = false
				require.NoError(t, c.GetStatusChangeTimeout(ctx, timeout, states))
				require.Nil(t, states[0].ATR())
				states[0].EventState |= StatePresent // not even when the caller plays with the state
				require.Nil(t, states[0].ATR())
			}
		})
	}
}

// States that were copied before the wait stay as they were; those given to the wait change.
func TestReaderStateCopies(t *testing.T) {
	f := newFake(t)
	c := f.open()
	before := NewReaderState("Reader 0")
	states := []ReaderState{before}
	require.NoError(t, c.GetStatusChange(bg, states))
	require.Zero(t, before.EventState)
	require.NotZero(t, states[0].EventState)
	after := states[0]
	require.Equal(t, fakeATR, after.ATR())
}

func TestLongATR(t *testing.T) {
	f := newFake(t)
	c := f.open()
	for _, n := range []uint32{36, 37, math.MaxUint32} {
		f.statusChange = func(_ winscard.Context, _ uint32, states []winscard.ReaderState) winscard.Code {
			states[0].EventState, states[0].ATRLen = uint32(winscard.StatePresent), n
			return winscard.Success
		}
		states := []ReaderState{NewReaderState("Reader 0")}
		require.NoError(t, c.GetStatusChange(bg, states))
		require.Len(t, states[0].ATR(), 36)
	}
}

func TestWaitSeesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.open()
		go func() {
			time.Sleep(time.Hour)
			f.change("Léser 1", true)
		}()
		states := unchanged("Léser 1")
		require.NoError(t, c.GetStatusChange(t.Context(), states))
		require.Equal(t, StatePresent|StateChanged, states[0].Flags())
		require.Zero(t, f.count("Cancel"))
	})
}

func TestWaitTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.open()
		for _, tt := range []struct{ timeout, want time.Duration }{
			{1, time.Millisecond}, // rounded up
			{time.Millisecond, time.Millisecond},
			{1500 * time.Microsecond, 2 * time.Millisecond},
			{time.Minute, time.Minute},
			{60 * 24 * time.Hour, 60 * 24 * time.Hour}, // more milliseconds than 32 bits hold
			{0, 0},
		} {
			start := time.Now()
			states := unchanged("Reader 0")
			err := c.GetStatusChangeTimeout(bg, tt.timeout, states)
			requireCode(t, err, opGetStatusChange, ErrTimeout)
			require.Equal(t, tt.want, time.Since(start))
			require.Equal(t, StatePresent, states[0].Flags(), "up to date")
		}
		require.Equal(t, int64(math.MaxInt64/1_000_000)+1, milliseconds(math.MaxInt64))
	})
}

func TestNoReadersToWaitFor(t *testing.T) {
	f := newFake(t)
	c := f.open()
	require.NoError(t, c.GetStatusChange(bg, nil))
	require.Zero(t, f.count("GetStatusChange"))
}

func TestWaitEndsWithContext(t *testing.T) {
	for _, lost := range []int{0, 1, 7} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			f.lost = lost
			c := f.open()
			ctx, cancel := context.WithCancel(bg)
			go func() { time.Sleep(time.Second); cancel() }()
			start := time.Now()
			states := unchanged("Reader 0")
			before := states[0]
			err := c.GetStatusChange(ctx, states)
			requireCode(t, err, opGetStatusChange, ErrCancelled)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, before, states[0])
			require.Less(t, time.Since(start), time.Second+200*time.Millisecond)
			synctest.Wait()
			require.Equal(t, lost+1, f.count("Cancel"))

			ctx, cancel = context.WithTimeout(bg, time.Second)
			defer cancel()
			err = c.GetStatusChange(ctx, states)
			requireCode(t, err, opGetStatusChange, ErrTimeout)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

// A service that does not end the wait: the caller is let go after a second, and the context can be closed.
func TestWaitThatCannotBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		g := newGate()
		f.statusChange = func(_ winscard.Context, _ uint32, states []winscard.ReaderState) winscard.Code {
			g.pass()
			states[0].EventState = 0xFFFF // too late to be seen
			return winscard.Success
		}
		c := f.open()
		ctx, cancel := context.WithCancel(bg)
		go func() { <-g.reached; cancel() }()
		start := time.Now()
		states := unchanged("Reader 0")
		before := states[0]
		err := c.GetStatusChange(ctx, states)
		e := requireCode(t, err, opGetStatusChange, ErrCancelled)
		require.ErrorIs(t, err, context.Canceled)
		require.NotEmpty(t, e.Detail)
		require.Equal(t, cancelPatience, time.Since(start))
		n := f.count("Cancel")
		require.Greater(t, n, 20)
		require.Less(t, n, 60) // it backs off

		start = time.Now()
		require.NoError(t, c.Close())
		require.Equal(t, cancelPatience, time.Since(start))
		close(g.open)
		synctest.Wait()
		time.Sleep(time.Minute)
		require.Equal(t, before, states[0])
		f.requireNothingOpen()
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lost = 3
		c := f.open()
		require.NoError(t, c.Cancel()) // no wait: no effect, not even later
		require.Zero(t, f.count("Cancel"))
		errs := make(chan error, 3)
		for range 3 {
			go func() { errs <- c.GetStatusChange(bg, unchanged("Reader 0")) }()
		}
		synctest.Wait()
		require.NoError(t, c.Cancel())
		require.NoError(t, c.Cancel())
		for range 3 {
			err := <-errs
			requireCode(t, err, opGetStatusChange, ErrCancelled)
			require.NotErrorIs(t, err, context.Canceled)
		}
	})
}

// One wait's context ends: the others go on.
func TestWaitsAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.open()
		other := make(chan error, 1)
		states := unchanged("Léser 1")
		go func() { other <- c.GetStatusChange(bg, states) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		require.Error(t, c.GetStatusChange(ctx, unchanged("Reader 0")))
		time.Sleep(time.Minute)
		select {
		case err := <-other:
			t.Fatal(err)
		default:
		}
		// Nor do other calls hang behind it: the native context is another.
		require.NoError(t, c.IsValid())
		f.change("Léser 1", true)
		require.NoError(t, <-other)
	})
}

func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.lost = 5
		c := f.open()
		errs := make(chan error, 2)
		go func() { errs <- c.GetStatusChange(bg, unchanged("Reader 0")) }()
		go func() { errs <- c.GetStatusChange(t.Context(), unchanged("Reader 0")) }()
		synctest.Wait()
		require.NoError(t, c.Close())
		for range 2 {
			err := <-errs
			requireCode(t, err, opGetStatusChange, ErrCancelled)
			require.ErrorContains(t, err, "closed")
		}
		f.requireNothingOpen()
	})
}

// Native contexts for waits are used again, but not after a cancel or when the service may be gone.
func TestWaitPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.open()
		wait := func() error { return c.GetStatusChangeTimeout(bg, time.Second, unchanged("Reader 0")) }
		for range 5 {
			require.ErrorIs(t, wait(), ErrTimeout)
			synctest.Wait()
		}
		require.Equal(t, 1, f.count("EstablishContext"))

		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		defer cancel()
		require.Error(t, c.GetStatusChange(ctx, unchanged("Reader 0")))
		synctest.Wait()
		require.Equal(t, 1, f.count("ReleaseContext"))
		require.ErrorIs(t, wait(), ErrTimeout)
		synctest.Wait()
		require.Equal(t, 2, f.count("EstablishContext"))

		for i, gone := range []Code{ErrNoService, ErrServiceStopped, ErrInvalidHandle, ErrCommError, 6} {
			f.statusChange = func(winscard.Context, uint32, []winscard.ReaderState) winscard.Code { return gone }
			err := wait()
			requireCode(t, err, opGetStatusChange, gone)
			synctest.Wait()
			require.Equal(t, 3+i, f.count("ReleaseContext"), "the first was from before, and exchanged for another")
			require.Equal(t, 3+i, f.count("EstablishContext"))
		}
		f.statusChange = nil

		// Many at once: only a few are kept.
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { require.ErrorIs(t, wait(), ErrTimeout) })
		}
		wg.Wait()
		synctest.Wait()
		f.mu.Lock()
		require.Len(t, f.contexts, maxIdle)
		f.mu.Unlock()
	})
}

func TestWaitCannotEstablish(t *testing.T) {
	f := newFake(t)
	c, _ := f.card()
	f.establish = func() winscard.Code { return winscard.ErrNoService }
	err := c.GetStatusChange(bg, unchanged("Reader 0"))
	requireCode(t, err, opEstablishContext, ErrNoService)
}

// The wait is cancelled while its native context is being established.
func TestCancelDuringEstablish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c, _ := f.card()
		f.establish = func() winscard.Code { time.Sleep(time.Second / 2); return winscard.Success }
		go func() { time.Sleep(time.Millisecond); _ = c.Cancel() }()
		err := c.GetStatusChange(bg, unchanged("Reader 0"))
		requireCode(t, err, opGetStatusChange, ErrCancelled)
		require.Zero(t, f.count("GetStatusChange"))
	})
}

// The code of a service that goes away while the wait is being cancelled is not lost.
func TestServiceGoneDuringCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.open()
		f.statusChange = func(winscard.Context, uint32, []winscard.ReaderState) winscard.Code {
			time.Sleep(time.Second)
			return winscard.ErrNoService
		}
		ctx, cancel := context.WithTimeout(bg, time.Second/2)
		defer cancel()
		err := c.GetStatusChange(ctx, unchanged("Reader 0"))
		requireCode(t, err, opGetStatusChange, ErrNoService)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestWaitsConcurrently(t *testing.T) {
	f := newFake(t)
	c := f.open()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				ctx, cancel := context.WithTimeout(bg, time.Duration(j%5)*time.Millisecond)
				_ = c.GetStatusChange(ctx, unchanged("Reader 0"))
				cancel()
				if i == 0 {
					_ = c.Cancel()
				}
				_ = c.GetStatusChangeTimeout(bg, time.Millisecond, unchanged("Reader 0"))
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.Close())
	f.requireNothingOpen()
}

// A wait on a native context from before a restart of the service begins again on a new one, once, unless it was
// cancelled meanwhile.
func TestWaitAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c := f.open()
		var handles []winscard.Context
		f.statusChange = func(h winscard.Context, _ uint32, _ []winscard.ReaderState) winscard.Code {
			handles = append(handles, h)
			if len(handles) == 1 {
				return winscard.ErrServiceStopped
			}
			return winscard.Success
		}
		require.NoError(t, c.GetStatusChange(bg, unchanged("Reader 0")))
		require.Len(t, handles, 2)
		require.NotEqual(t, handles[0], handles[1])
		synctest.Wait()
		require.Equal(t, 1, f.count("ReleaseContext"))

		handles = nil
		go func() { time.Sleep(time.Millisecond); _ = c.Cancel() }()
		f.statusChange = func(h winscard.Context, _ uint32, _ []winscard.ReaderState) winscard.Code {
			handles = append(handles, h)
			time.Sleep(time.Second)
			return winscard.ErrServiceStopped
		}
		requireCode(t, c.GetStatusChange(bg, unchanged("Reader 0")), opGetStatusChange, ErrServiceStopped)
		require.Len(t, handles, 1)
	})
}
