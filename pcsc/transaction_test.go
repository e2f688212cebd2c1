package pcsc

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

func TestTransaction(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		tx, err := card.BeginTransaction(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, f.depth())
		require.Equal(t, "Reader 0", tx.Reader())
		require.Equal(t, ProtocolT1, tx.ActiveProtocol())
		for _, err := range cardCalls(ctx, tx) {
			require.NoError(t, err)
		}
		for _, err := range cardCalls(ctx, card) {
			require.NoError(t, err)
		}
		requireCode(t, tx.End(99), opEndTransaction, ErrInvalidValue)
		require.Equal(t, 1, f.depth())
		require.NoError(t, tx.End(ResetCard))
		require.Zero(t, f.depth())
		require.Equal(t, "EndTransaction 1", last(f.calls()))

		before := len(f.calls())
		e := requireCode(t, tx.End(LeaveCard), opEndTransaction, ErrInvalidHandle)
		require.Equal(t, "Reader 0", e.Reader)
		require.NoError(t, tx.Close())
		for _, err := range cardCalls(ctx, tx) {
			require.ErrorIs(t, err, ErrInvalidHandle)
			require.ErrorContains(t, err, "ended Transaction")
		}
		require.Len(t, f.calls(), before)

		// The next one is another: the first can't be used for it.
		tx2, err := card.BeginTransaction(ctx)
		require.NoError(t, err)
		require.NoError(t, tx.Close())
		require.ErrorIs(t, second(tx.Transmit(ctx, apdu)), ErrInvalidHandle)
		require.Equal(t, 1, f.depth())
		require.NoError(t, tx2.Close())
		require.Equal(t, "EndTransaction 0", last(f.calls()), "the card is left as it is")
		require.NoError(t, tx2.Close())
	})
}

func TestTransact(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		require.NoError(t, card.Transact(ctx, func(tx *Transaction) error {
			require.Equal(t, 1, f.depth())
			return second(tx.Transmit(ctx, apdu))
		}))
		require.Zero(t, f.depth())

		mine := errors.New("mine")
		require.Equal(t, mine, card.Transact(ctx, func(*Transaction) error { return mine }))
		require.Zero(t, f.depth())

		require.PanicsWithValue(t, "mine", func() {
			_ = card.Transact(ctx, func(*Transaction) error { panic("mine") })
		})
		require.Zero(t, f.depth())

		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = card.Transact(ctx, func(*Transaction) error { runtime.Goexit(); return nil })
		}()
		<-done
		require.Zero(t, f.depth())

		require.NoError(t, card.Transact(ctx, func(tx *Transaction) error { return tx.End(ResetCard) }))
		require.Equal(t, "EndTransaction 1", last(f.calls()), "ended once")

		f.endTx = func(uint32) winscard.Code { return winscard.ErrResetCard }
		requireCode(t, card.Transact(ctx, func(*Transaction) error { return nil }), opEndTransaction, ErrResetCard)
		require.Equal(t, mine, card.Transact(ctx, func(*Transaction) error { return mine }))

		f.begin = func() winscard.Code { return winscard.ErrResetCard }
		err := card.Transact(ctx, func(*Transaction) error { panic("called") })
		requireCode(t, err, opBeginTransaction, ErrResetCard)
		f.begin = nil
		require.NoError(t, second(card.BeginTransaction(ctx)), "the gate is open")
	})
}

// A transaction that failed to end is over all the same: the next one can begin.
func TestEndFails(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	f.endTx = func(uint32) winscard.Code { return winscard.ErrRemovedCard }
	for range 2 {
		tx, err := card.BeginTransaction(bg)
		require.NoError(t, err)
		requireCode(t, tx.End(LeaveCard), opEndTransaction, ErrRemovedCard)
		require.NoError(t, tx.Close())
	}
}

func TestReconnectInTransaction(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	tx, err := card.BeginTransaction(bg)
	require.NoError(t, err)
	require.NoError(t, tx.Reconnect(bg, ShareShared, ProtocolAny, ResetCard))
	require.Equal(t, ProtocolT0, tx.ActiveProtocol())
	_, err = tx.Transmit(bg, apdu)
	require.NoError(t, err)
	require.NoError(t, tx.End(LeaveCard))
	require.Equal(t, 1, f.count("EndTransaction"))
}

// The service would let both begin.
func TestTransactionsExclude(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		_, card := f.card()
		tx, err := card.BeginTransaction(bg)
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		_, err = card.BeginTransaction(ctx)
		requireCode(t, err, opBeginTransaction, ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		begun := make(chan *Transaction)
		go func() {
			tx, err := card.BeginTransaction(bg)
			if err != nil {
				t.Error(err)
			}
			begun <- tx
		}()
		time.Sleep(time.Hour)
		require.Equal(t, 1, f.depth())
		require.Equal(t, 1, f.count("BeginTransaction"))
		require.NoError(t, tx.Close())
		require.NoError(t, (<-begun).Close())
		require.Equal(t, 2, f.count("BeginTransaction"))
	})
}

// Beginning is given up; a transaction that begins later is ended.
func TestAbandonedBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		_, card := f.card()
		n := 0
		f.begin = func() winscard.Code { // under the card's lock
			n++
			switch n {
			case 1:
				time.Sleep(time.Hour)
			case 3:
				time.Sleep(time.Hour)
				return winscard.ErrRemovedCard
			}
			return winscard.Success
		}
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		start := time.Now()
		_, err := card.BeginTransaction(ctx)
		requireCode(t, err, opBeginTransaction, ErrTimeout)
		require.Equal(t, time.Second, time.Since(start))
		tx, err := card.BeginTransaction(bg) // waits until the first one is undone
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(start))
		require.Contains(t, f.calls(), "EndTransaction 0")
		require.Equal(t, 1, f.depth())
		require.NoError(t, tx.Close())

		// One that fails later has nothing to end.
		ctx, cancel = context.WithTimeout(bg, time.Second)
		defer cancel()
		_, err = card.BeginTransaction(ctx)
		requireCode(t, err, opBeginTransaction, ErrTimeout)
		require.NoError(t, card.Transact(bg, func(*Transaction) error { return nil }))
		require.Equal(t, 3, f.count("EndTransaction"))
	})
}

// Closing the card ends its transaction, and wakes who waits for one.
func TestCloseInTransaction(t *testing.T) {
	for _, end := range []func(*Context, *Card) error{
		func(_ *Context, card *Card) error { return card.Close() },
		func(_ *Context, card *Card) error { return card.Disconnect(LeaveCard) },
		func(c *Context, _ *Card) error { return c.Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			c, card := f.card()
			tx, err := card.BeginTransaction(bg)
			require.NoError(t, err)
			waiting := make(chan error, 1)
			go func() { waiting <- second(card.BeginTransaction(bg)) }()
			synctest.Wait()
			require.NoError(t, end(c, card))
			requireCode(t, <-waiting, opBeginTransaction, ErrInvalidHandle)
			require.NoError(t, tx.Close())
			requireCode(t, tx.End(LeaveCard), opEndTransaction, ErrInvalidHandle)
			_, err = tx.Transmit(bg, apdu)
			require.ErrorIs(t, err, ErrInvalidHandle)
			require.Zero(t, f.count("EndTransaction"), "the service ends it with the connection")
		})
	}
}

// Transact returns when its context ends, also while the card does not answer; the transaction ends when it has.
func TestTransactGivenUp(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	g := newGate()
	f.transmit = func(_, recv []byte) (int, winscard.Code) {
		g.pass()
		return copy(recv, []byte{0x90, 0x00}), winscard.Success
	}
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	returned := make(chan error, 1)
	go func() {
		returned <- card.Transact(ctx, func(tx *Transaction) error {
			_, err := tx.Transmit(ctx, apdu)
			return err
		})
	}()
	<-g.reached
	cancel()
	select {
	case err := <-returned:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(patience):
		t.Fatal("waits for the card")
	}
	require.Zero(t, f.count("EndTransaction"), "the call is under way")
	close(g.open)
	require.Eventually(t, func() bool { return f.count("EndTransaction") == 1 }, patience, time.Millisecond)
	require.NoError(t, card.Transact(bg, func(*Transaction) error { return nil }), "the next one can begin")
}

func TestTransactNothing(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	requireCode(t, card.Transact(bg, nil), opBeginTransaction, ErrInvalidParameter)
	require.Zero(t, f.count("BeginTransaction"))
}
