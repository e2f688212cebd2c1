package pcsc

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLockIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lock
		require.True(t, l.acquire(nil))
		var order []int
		var wg sync.WaitGroup
		for i := range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			wg.Go(func() {
				if !l.acquire(ctx.Done()) {
					return
				}
				order = append(order, i)
				l.release()
			})
			synctest.Wait()
			if i == 4 {
				cancel() // one gives up
				synctest.Wait()
			}
		}
		l.release()
		wg.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 5, 6, 7, 8, 9}, order)
		require.Empty(t, l.waiters)
		require.True(t, l.acquire(nil))
	})
}

func TestLockExcludes(t *testing.T) {
	var l lock
	inside := 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				ctx, cancel := context.WithTimeout(bg, time.Duration((i+j)%7)*time.Microsecond)
				if l.acquire(ctx.Done()) {
					inside++ // the race detector looks
					inside--
					l.release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.True(t, l.acquire(nil))
	require.Zero(t, inside)
	require.Empty(t, l.waiters)
}

// A cleanup runs outside of the bubble in which the card was made, where channels of the bubble must not be used.
func TestForgottenInBubble(t *testing.T) {
	f := newFake(t)
	synctest.Test(t, func(t *testing.T) {
		c, err := EstablishContext(ScopeSystem, WithBackend(f))
		require.NoError(t, err)
		card, err := c.Connect(t.Context(), "Reader 0", ShareShared, ProtocolAny)
		require.NoError(t, err)
		_, err = card.Transmit(t.Context(), apdu)
		require.NoError(t, err)
		_, err = card.BeginTransaction(bg)
		require.NoError(t, err)
	})
	collect(t, func() bool { return f.count("ReleaseContext") == 1 })
	runtime.GC()
	f.requireNothingOpen()
}
