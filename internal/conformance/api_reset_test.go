package conformance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

// Another program's reset, and the function of a transaction that is run again.
var apiResetTests = []apiTest{
	{"BetweenTransactions", func(t *testing.T, s *apiSuite) {
		for _, ctx := range []context.Context{context.Background(), t.Context()} { // can't end, can end
			card := s.connected(t, readerA)
			runs := 0
			count := func(tx *pcsc.Transaction) error {
				runs++
				_, err := tx.Transmit(ctx, verify)
				return err
			}
			require.NoError(t, s.connected(t, readerA).Close())
			require.ErrorIs(t, card.Transact(ctx, count), pcsc.ErrResetCard)
			require.Zero(t, runs)
			require.ErrorIs(t, card.Transact(ctx, count, pcsc.RetryAfterReset(0)), pcsc.ErrResetCard)
			require.NoError(t, card.Transact(ctx, count, pcsc.RetryAfterReset(1)))
			require.Equal(t, 1, runs)
			require.NoError(t, card.Transact(ctx, count))
			require.Equal(t, 2, runs)
			require.NoError(t, card.Close())
		}
	}},
	{"WithinFunction", func(t *testing.T, s *apiSuite) {
		for _, ctx := range []context.Context{context.Background(), t.Context()} {
			card, observer := s.connected(t, readerA), s.connected(t, readerA)
			runs := 0
			// The service lets nobody reset the card under a transaction, so f gives its own up.
			disturbed := func(times int) func(*pcsc.Transaction) error {
				runs = 0
				return func(tx *pcsc.Transaction) error {
					runs++
					if set := isSet(t, card); set {
						return errors.New("the card was not reset")
					}
					if _, err := tx.Transmit(ctx, verify); err != nil {
						return err
					}
					if runs <= times {
						if err := tx.End(pcsc.LeaveCard); err != nil {
							return err
						}
						if err := s.connected(t, readerA).Close(); err != nil { // resets the card
							return err
						}
					}
					_, err := card.Transmit(ctx, isVerified)
					return err
				}
			}
			require.NoError(t, card.Transact(ctx, disturbed(2), pcsc.RetryAfterReset(2)))
			require.Equal(t, 3, runs)
			requireAPIExchange(t, card, 10, 10)
			_, err := card.Transmit(ctx, isVerified)
			require.NoError(t, err)

			require.NoError(t, card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.ResetCard))
			require.ErrorIs(t, card.Transact(ctx, disturbed(2), pcsc.RetryAfterReset(1)), pcsc.ErrResetCard)
			require.Equal(t, 2, runs)

			// No transaction is left over.
			require.NoError(t, card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
			require.NoError(t, observer.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
			done := start(func() error { return observer.Transact(ctx, func(*pcsc.Transaction) error { return nil }) })
			require.NoError(t, requireSoon(t, done, "Transact"))
			require.NoError(t, observer.Disconnect(pcsc.LeaveCard))
			require.NoError(t, card.Close())
		}
	}},
	{"InTheMidst", func(t *testing.T, s *apiSuite) {
		// Another goroutine resets the card whenever it can. Every run sees the card as it left it, or ErrResetCard.
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c := s.context(t)
		stopped := start(func() error {
			for ctx.Err() == nil {
				other, err := c.Connect(context.Background(), s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
				if err == nil {
					err = other.Close()
				}
				if err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return nil
		})
		card := s.connected(t, readerA)
		succeeded := 0
		for ctx.Err() == nil {
			err := card.Transact(t.Context(), func(tx *pcsc.Transaction) error {
				if _, err := tx.Transmit(t.Context(), verify); err != nil {
					return err
				}
				got, err := tx.Transmit(t.Context(), isVerified)
				if err == nil && got[0] != 1 {
					return errors.New("a reset went unnoticed")
				}
				return err
			}, pcsc.RetryAfterReset(1000))
			require.NoError(t, err)
			succeeded++
		}
		require.NoError(t, requireSoon(t, stopped, "the other"))
		require.NotZero(t, succeeded)
		// It may be reset still.
		require.NoError(t, card.Transact(t.Context(), func(*pcsc.Transaction) error { return nil }, pcsc.RetryAfterReset(1)))
	}},
	{"Removal", func(t *testing.T, s *apiSuite) {
		_, remove := s.insert(t)
		card := s.connected(t, readerSlot)
		runs := 0
		err := card.Transact(t.Context(), func(tx *pcsc.Transaction) error {
			runs++
			remove()
			_, err := tx.Transmit(t.Context(), isVerified)
			return err
		}, pcsc.RetryAfterReset(5))
		require.ErrorIs(t, err, pcsc.ErrRemovedCard)
		require.Equal(t, 1, runs)
	}},
}

var apiAttributeTests = []apiTest{
	{"Table", func(t *testing.T, s *apiSuite) {
		ctx := t.Context()
		card := s.connected(t, readerA)
		table, err := card.Attributes(ctx)
		require.NoError(t, err)
		require.NotEmpty(t, table)
		values := 0
		for _, v := range table {
			raw, err := card.GetAttrib(ctx, v.ID)
			if err == nil {
				require.NoError(t, v.Err)
				require.Equal(t, raw, v.Raw)
				values++
				continue
			}
			require.Equal(t, err, v.Err, "%v", v.ID)
			require.Nil(t, v.Value)
			if v.Absent() {
				continue
			}
			// vpcd says "unknown, length 0", and pcscd, which knows the name, then finds the length too small.
			require.ErrorIs(t, v.Err, pcsc.ErrInsufficientBuffer, "%v", v.ID)
			require.Contains(t, []pcsc.Attribute{pcsc.AttrDeviceFriendlyName, pcsc.AttrDeviceSystemName}, v.ID)
		}
		name, err := card.DeviceFriendlyName(ctx)
		if s.Backend == nil { // vpcd has no attribute
			require.ErrorIs(t, err, pcsc.ErrInsufficientBuffer)
			require.Zero(t, values)
		} else {
			require.NoError(t, err)
			require.Equal(t, s.readers[readerA], name)
			require.NotZero(t, values)
		}
		_, err = card.CurrentBWT(ctx)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}},
	{"Reset", func(t *testing.T, s *apiSuite) {
		card := s.connected(t, readerA)
		require.NoError(t, s.connected(t, readerA).Close())
		table, err := card.Attributes(t.Context())
		if err == nil { // it is the reader that was asked
			require.NotEmpty(t, table)
			return
		}
		require.ErrorIs(t, err, pcsc.ErrResetCard)
	}},
}
