package pcsc

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// resets makes a fake's first n calls fail with a reset, until a reconnect each.
func resets(n int) func() winscard.Code {
	return func() winscard.Code {
		if n > 0 {
			n--
			return winscard.ErrResetCard
		}
		return winscard.Success
	}
}

func TestTransactRetries(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		for _, test := range []struct {
			resets, retries int
			runs            int
			fails           bool
		}{
			{0, 0, 1, false},
			{0, 3, 1, false},
			{1, 0, 1, true},
			{1, -1, 1, true},
			{1, 1, 2, false},
			{2, 1, 2, true},
			{3, 3, 4, false},
			{9, 3, 4, true},
		} {
			t.Run(fmt.Sprintf("%d of %d", test.resets, test.retries), func(t *testing.T) {
				f := newFake(t)
				_, card := f.card()
				reset := resets(test.resets)
				f.transmit = func(_, recv []byte) (int, winscard.Code) {
					return copy(recv, fakeResponse), reset()
				}
				runs := 0
				err := card.Transact(ctx, func(tx *Transaction) error {
					runs++
					require.Equal(t, 1, f.depth(), "one transaction at a time")
					if _, err := tx.Transmit(ctx, apdu); err != nil {
						return fmt.Errorf("mine: %w", err)
					}
					return nil
				}, RetryAfterReset(test.retries), nil)
				require.Equal(t, test.runs, runs)
				require.Equal(t, test.runs, f.count("Transmit"))
				require.Equal(t, test.runs, f.count("BeginTransaction"))
				require.Equal(t, test.runs, f.count("EndTransaction"))
				require.Equal(t, test.runs-1, f.count("Reconnect"), "none after the last run")
				require.Zero(t, f.depth())
				if test.fails {
					require.ErrorIs(t, err, ErrResetCard)
					require.ErrorContains(t, err, "mine: ", "the error is f's")
				} else {
					require.NoError(t, err)
				}
			})
		}
	})
}

// A reset that beginning finds counts as one, and f is not called for it.
func TestTransactRetriesBegin(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		runs := 0
		count := func(*Transaction) error { runs++; return nil }

		f.begin = resets(1)
		require.NoError(t, card.Transact(ctx, count, RetryAfterReset(1)))
		require.Equal(t, 1, runs)
		require.Equal(t, 1, f.count("Reconnect"))

		f.begin = resets(2)
		requireCode(t, card.Transact(ctx, count, RetryAfterReset(1)), opBeginTransaction, ErrResetCard)
		require.Equal(t, 1, runs)
		require.Equal(t, 2, f.count("Reconnect"))
		require.Zero(t, f.depth())
	})
}

// A command that meets a reset under way is told by pcsc-lite that no protocol was agreed on. The caller is told of the
// reset.
func TestResetMismatch(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		for _, test := range []struct {
			name     string
			protocol Protocol // of Status
			rc       winscard.Code
			means    Code // to the caller
		}{
			{"protocol undone", ProtocolUndefined, winscard.Success, ErrResetCard},
			{"other protocol", ProtocolT0, winscard.Success, ErrResetCard},
			{"reset told of later", ProtocolT1, winscard.ErrResetCard, ErrResetCard},
			{"no reset", ProtocolT1, winscard.Success, ErrProtoMismatch},
			{"removed", ProtocolT1, winscard.ErrRemovedCard, ErrRemovedCard},
		} {
			t.Run(test.name, func(t *testing.T) {
				f := newFake(t)
				_, card := f.card() // T=1
				f.status = func(_, _ []byte) (int, uint32, uint32, int, winscard.Code) {
					return 0, 0, uint32(test.protocol), 0, test.rc
				}
				f.transmit = func(_, recv []byte) (int, winscard.Code) {
					if f.count("Reconnect") == 0 {
						return 0, winscard.ErrProtoMismatch
					}
					return copy(recv, fakeResponse), winscard.Success
				}
				_, err := card.Transmit(ctx, apdu)
				requireCode(t, err, opTransmit, test.means)
				require.Equal(t, 1, f.count("Transmit"), "not repeated")
				err = card.Transact(ctx, func(tx *Transaction) error { return second(tx.Transmit(ctx, apdu)) }, RetryAfterReset(1))
				if test.means == ErrResetCard {
					require.NoError(t, err)
					require.Equal(t, 3, f.count("Transmit"))
					return
				}
				requireCode(t, err, opTransmit, test.means)
				require.Equal(t, 2, f.count("Transmit"))
			})
		}
	})
	// A direct connection has no protocol.
	f := newFake(t)
	c := f.open()
	f.connect = func(string) (uint32, winscard.Code) { return uint32(winscard.ProtocolUndefined), winscard.Success }
	card, err := c.Connect(bg, "Reader 0", ShareDirect, ProtocolUndefined)
	require.NoError(t, err)
	err = card.Transact(bg, func(tx *Transaction) error { return second(tx.Transmit(bg, apdu)) }, RetryAfterReset(1))
	requireCode(t, err, opTransmit, ErrProtoMismatch)
	require.Zero(t, f.count("Reconnect"))
	require.Zero(t, f.count("Status"))
}

// Any call on a reader that was unplugged is told by pcsc-lite that a value is invalid.
func TestReaderUnplugged(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		for now, want := range map[winscard.Code]Code{
			winscard.ErrReaderUnavailable: ErrReaderUnavailable,
			winscard.Success:              ErrInvalidValue, // then it means what it says
		} {
			f := newFake(t)
			_, card := f.card()
			tx, err := card.BeginTransaction(ctx)
			require.NoError(t, err)
			const bad = winscard.ErrInvalidValue
			f.status = func(_, _ []byte) (int, uint32, uint32, int, winscard.Code) { return 0, 0, 0, 0, now }
			f.transmit = func(_, _ []byte) (int, winscard.Code) { return 0, bad }
			f.control = func(uint32, []byte, []byte) (int, winscard.Code) { return 0, bad }
			f.getAttrib = func(uint32, []byte) (int, winscard.Code) { return 0, bad }
			f.setAttrib = func(uint32, []byte) winscard.Code { return bad }
			f.begin = func() winscard.Code { return bad }
			f.endTx = func(uint32) winscard.Code { return bad }
			f.reconnect = func() (uint32, winscard.Code) { return 0, bad }
			_, err = card.Transmit(ctx, apdu)
			requireCode(t, err, opTransmit, want)
			require.Equal(t, 1, f.count("Transmit"))
			_, err = card.Control(ctx, 42, nil)
			requireCode(t, err, opControl, want)
			_, err = card.GetAttrib(ctx, AttrATRString)
			requireCode(t, err, opGetAttrib, want)
			requireCode(t, card.SetAttrib(ctx, 7, []byte{1}), opSetAttrib, want)
			requireCode(t, tx.End(LeaveCard), opEndTransaction, want)
			_, err = card.BeginTransaction(ctx)
			requireCode(t, err, opBeginTransaction, want)
			requireCode(t, card.Reconnect(ctx, ShareShared, ProtocolAny, LeaveCard), opReconnect, want)
			_, err = card.Features(ctx)
			if want == ErrReaderUnavailable {
				requireCode(t, err, opControl, want) // and not a reader without features
			} else {
				require.NoError(t, err)
			}
		}
	})
}

// No other error makes f run again, and neither does a panic.
func TestTransactNoRetry(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		for _, err := range []error{
			errors.New("mine"), ErrRemovedCard, ErrUnpoweredCard, ErrNoSmartcard, ErrNotTransacted, ErrTimeout,
			ErrSharingViolation, ErrInvalidHandle, ErrNoService, context.Canceled,
		} {
			runs := 0
			require.Equal(t, err, card.Transact(ctx, func(*Transaction) error { runs++; return err }, RetryAfterReset(5)))
			require.Equal(t, 1, runs)
		}
		require.PanicsWithValue(t, "mine", func() {
			_ = card.Transact(ctx, func(*Transaction) error { panic("mine") }, RetryAfterReset(5))
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = card.Transact(ctx, func(*Transaction) error { runtime.Goexit(); return nil }, RetryAfterReset(5))
		}()
		<-done
		require.Zero(t, f.depth())

		// f has done its work: it is not done twice.
		f.endTx = func(uint32) winscard.Code { return winscard.ErrResetCard }
		runs := 0
		err := card.Transact(ctx, func(*Transaction) error { runs++; return nil }, RetryAfterReset(5))
		requireCode(t, err, opEndTransaction, ErrResetCard)
		require.Equal(t, 1, runs)
		require.Zero(t, f.count("Reconnect"))

		// Not done, and the end fails for the same reason.
		f.transmit = func(_, recv []byte) (int, winscard.Code) { return 0, winscard.ErrResetCard }
		runs = 0
		err = card.Transact(ctx, func(tx *Transaction) error { runs++; return second(tx.Transmit(ctx, apdu)) }, RetryAfterReset(2))
		requireCode(t, err, opTransmit, ErrResetCard)
		require.Equal(t, 3, runs)
	})
}

// Reconnecting is as the connection was made, or last remade.
func TestTransactReconnects(t *testing.T) {
	f := newFake(t)
	c := f.open()
	card, err := c.Connect(bg, "Reader 0", ShareExclusive, ProtocolT1)
	require.NoError(t, err)
	var got [][3]uint32
	f.reconnectAs = func(share, protocols, init uint32) { got = append(got, [3]uint32{share, protocols, init}) }
	again := func() {
		runs := 0
		require.NoError(t, card.Transact(bg, func(*Transaction) error {
			if runs++; runs == 1 {
				return ErrResetCard
			}
			return nil
		}, RetryAfterReset(1)))
	}
	again()
	require.NoError(t, card.Reconnect(bg, ShareShared, ProtocolAny, ResetCard))
	again()
	f.reconnect = func() (uint32, winscard.Code) { return 0, winscard.ErrSharingViolation }
	require.Error(t, card.Reconnect(bg, ShareExclusive, ProtocolT0, UnpowerCard))
	f.reconnect = nil
	again()
	leave, reset, unpower := uint32(LeaveCard), uint32(ResetCard), uint32(UnpowerCard)
	require.Equal(t, [][3]uint32{
		{uint32(ShareExclusive), uint32(ProtocolT1), leave},
		{uint32(ShareShared), uint32(ProtocolAny), reset},
		{uint32(ShareShared), uint32(ProtocolAny), leave},
		{uint32(ShareExclusive), uint32(ProtocolT0), unpower},
		{uint32(ShareShared), uint32(ProtocolAny), leave},
	}, got)
}

// What keeps Transact from beginning again is its error.
func TestTransactReconnectFails(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		f.reconnect = func() (uint32, winscard.Code) { return 0, winscard.ErrNoSmartcard }
		runs := 0
		err := card.Transact(ctx, func(*Transaction) error { runs++; return ErrResetCard }, RetryAfterReset(5))
		requireCode(t, err, opReconnect, ErrNoSmartcard)
		require.Equal(t, 1, runs)
		require.NoError(t, card.Transact(ctx, func(*Transaction) error { return nil }), "the gate is open")
	})
	f := newFake(t)
	_, card := f.card()
	ctx, cancel := context.WithCancel(bg)
	err := card.Transact(ctx, func(*Transaction) error { cancel(); return ErrResetCard }, RetryAfterReset(5))
	requireCode(t, err, opReconnect, ErrCancelled)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, f.count("Reconnect"))

	err = card.Transact(bg, func(*Transaction) error { _ = card.Close(); return ErrResetCard }, RetryAfterReset(5))
	requireCode(t, err, opReconnect, ErrInvalidHandle)

	require.ErrorIs(t, (*Card)(nil).Transact(bg, func(*Transaction) error { return nil }, RetryAfterReset(5)), ErrInvalidHandle)
	require.ErrorIs(t, new(Card).Transact(bg, func(*Transaction) error { return nil }, RetryAfterReset(5)), ErrInvalidHandle)
}

// The reconnecting keeps out of another goroutine's transaction, from which it would hide the reset, and an abandoned
// one opens the gate when it is over.
func TestTransactReconnectWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		_, card := f.card()
		var other *Transaction
		first := true
		begun := make(chan struct{})
		go func() {
			_ = card.Transact(bg, func(tx *Transaction) error {
				if !first {
					return nil
				}
				first = false
				go func() {
					other, _ = card.BeginTransaction(bg) // is next in the gate
					close(begun)
				}()
				time.Sleep(time.Second)
				return ErrResetCard
			}, RetryAfterReset(1))
		}()
		<-begun
		time.Sleep(time.Hour)
		require.Zero(t, f.count("Reconnect"))
		require.NoError(t, other.Close())
		synctest.Wait()
		require.Equal(t, 1, f.count("Reconnect"))
		require.Equal(t, 3, f.count("BeginTransaction"))

		f.reconnect = func() (uint32, winscard.Code) { time.Sleep(time.Hour); return 1, winscard.Success }
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		err := card.Transact(ctx, func(*Transaction) error { return ErrResetCard }, RetryAfterReset(1))
		requireCode(t, err, opReconnect, ErrTimeout)
		start := time.Now()
		require.NoError(t, card.Transact(bg, func(*Transaction) error { return nil }))
		require.Equal(t, time.Hour-time.Second, time.Since(start))
	})
}
