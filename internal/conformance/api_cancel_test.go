package conformance

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

// Calls that are given up while another program has a transaction.
var apiCancelTests = []apiTest{
	{"Connect", func(t *testing.T, s *apiSuite) {
		owner := s.connected(t, readerA)
		_, err := owner.Transmit(t.Context(), verify)
		require.NoError(t, err)
		tx := s.begin(t, owner)
		c := s.context(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := start(func() error {
			_, err := c.Connect(ctx, s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
			return err
		})
		requireNotYet(t, done, "Connect")
		cancel()
		require.ErrorIs(t, requireSoon(t, done, "Connect"), context.Canceled)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		// What comes about later is undone, and the card left alone.
		require.NoError(t, requireSoon(t, start(c.Close), "Close"))
		require.True(t, isSet(t, owner))
		require.NoError(t, owner.Reconnect(t.Context(), pcsc.ShareExclusive, pcsc.ProtocolAny, pcsc.LeaveCard), "nobody else is there")
	}},
	{"Transmit", func(t *testing.T, s *apiSuite) {
		owner := s.connected(t, readerA)
		other := s.connected(t, readerA)
		tx := s.begin(t, owner)
		before := s.a.Commands()
		ctx, cancel := context.WithCancel(t.Context())
		apdu := exchange(30, 40)
		done := start(func() error {
			_, err := other.Transmit(ctx, apdu)
			return err
		})
		requireNotYet(t, done, "Transmit")
		cancel()
		require.ErrorIs(t, requireSoon(t, done, "Transmit"), context.Canceled)
		clear(apdu) // is the caller's again
		// The next waits for the one that was given up, and does not get its answer.
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := other.Transmit(ctx, exchange(20, 20))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, before, s.a.Commands())
		require.NoError(t, tx.End(pcsc.LeaveCard))
		requireAPIExchange(t, other, 50, 60)
		require.Equal(t, before+2, s.a.Commands(), "the first and the third")
	}},
	{"BeginTransaction", func(t *testing.T, s *apiSuite) {
		owner := s.connected(t, readerA)
		other := s.connected(t, readerA)
		tx := s.begin(t, owner)
		ctx, cancel := context.WithCancel(t.Context())
		done := start(func() error {
			_, err := other.BeginTransaction(ctx)
			return err
		})
		requireNotYet(t, done, "BeginTransaction")
		cancel()
		require.ErrorIs(t, requireSoon(t, done, "BeginTransaction"), context.Canceled)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		// A transaction that comes about later is ended.
		requireAPIExchange(t, other, 10, 10)
		for _, card := range []*pcsc.Card{owner, other} {
			tx, err := card.BeginTransaction(t.Context())
			require.NoError(t, err)
			require.NoError(t, tx.End(pcsc.LeaveCard))
		}
	}},
	{"Status", func(t *testing.T, s *apiSuite) {
		owner := s.connected(t, readerA)
		other := s.connected(t, readerA)
		tx := s.begin(t, owner)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		done := start(func() error { _, err := other.Status(ctx); return err })
		require.ErrorIs(t, requireSoon(t, done, "Status"), context.DeadlineExceeded)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		st, err := other.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, s.a.ATR(), st.ATR)
	}},
	{"Reconnect", func(t *testing.T, s *apiSuite) {
		owner := s.connected(t, readerA)
		other := s.connected(t, readerA)
		tx := s.begin(t, owner)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		done := start(func() error {
			return other.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard)
		})
		require.ErrorIs(t, requireSoon(t, done, "Reconnect"), context.DeadlineExceeded)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		requireAPIExchange(t, other, 10, 10)
	}},
	{"SlowCard", func(t *testing.T, s *apiSuite) {
		// The card is at work; its answer comes too late.
		card := s.connected(t, readerA)
		held := s.a.Held()
		ctx, cancel := context.WithCancel(t.Context())
		done := start(func() error { _, err := card.Transmit(ctx, hold('h')); return err })
		await(t, held, "the command")
		cancel()
		require.ErrorIs(t, requireSoon(t, done, "Transmit"), context.Canceled)
		next := start(func() error { _, err := card.Transmit(t.Context(), mark('n')); return err })
		requireNotYet(t, next, "the next command")
		s.a.Release()
		require.NoError(t, await(t, next, "the next command"))
		require.Equal(t, "hn", s.a.Log())
	}},
	{"Ended", func(t *testing.T, s *apiSuite) {
		// With a context that has ended nothing is done.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c := s.context(t)
		card := s.connectedBy(t, c, readerA)
		before := s.a.Commands()
		_, err := card.Transmit(ctx, isVerified)
		require.ErrorIs(t, err, context.Canceled)
		_, err = card.Status(ctx)
		require.ErrorIs(t, err, context.Canceled)
		_, err = card.BeginTransaction(ctx)
		require.ErrorIs(t, err, context.Canceled)
		_, err = card.Control(ctx, unknownControl, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.ResetCard), context.Canceled)
		_, err = c.Connect(ctx, s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
		require.ErrorIs(t, err, context.Canceled)
		_, err = c.ListReaders(ctx)
		require.ErrorIs(t, err, context.Canceled)
		_, err = pcsc.EstablishContext(pcsc.ScopeSystem, append(s.options, pcsc.WithContext(ctx))...)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, before, s.a.Commands())
		requireAPIExchange(t, card, 10, 10)
	}},
}

var apiCloseTests = []apiTest{
	{"ResetsTheCard", func(t *testing.T, s *apiSuite) {
		observer := s.connected(t, readerA)
		again := func() {
			t.Helper()
			require.NoError(t, observer.Reconnect(t.Context(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
		}
		for _, test := range []struct {
			name string
			end  func(*pcsc.Context, *pcsc.Card) error
			left bool
		}{
			{"Card.Close", func(_ *pcsc.Context, card *pcsc.Card) error { return card.Close() }, false},
			{"Context.Close", func(c *pcsc.Context, _ *pcsc.Card) error { return c.Close() }, false},
			{"Context.Release", func(c *pcsc.Context, _ *pcsc.Card) error { return c.Release() }, false},
			{"Disconnect", func(_ *pcsc.Context, card *pcsc.Card) error { return card.Disconnect(pcsc.LeaveCard) }, true},
		} {
			c := s.context(t)
			card := s.connectedBy(t, c, readerA)
			_, err := card.Transmit(t.Context(), verify)
			require.NoError(t, err)
			require.NoError(t, test.end(c, card), test.name)
			if !test.left {
				again()
			}
			require.Equal(t, test.left, isSet(t, observer), test.name)
		}
	}},
	{"CardUnderWay", func(t *testing.T, s *apiSuite) {
		s.closeUnderWay(t, func(_ *pcsc.Context, card *pcsc.Card) error { return card.Close() })
	}},
	{"ContextUnderWay", func(t *testing.T, s *apiSuite) {
		s.closeUnderWay(t, func(c *pcsc.Context, _ *pcsc.Card) error { return c.Close() })
	}},
	{"WhileAnotherHasATransaction", func(t *testing.T, s *apiSuite) {
		owner := s.connected(t, readerA)
		other := s.connected(t, readerA)
		tx := s.begin(t, owner)
		closed := start(other.Close)
		requireNotYet(t, closed, "Close")
		require.NoError(t, tx.End(pcsc.LeaveCard))
		require.NoError(t, requireSoon(t, closed, "Close"))
	}},
	{"SiblingInATransaction", func(t *testing.T, s *apiSuite) {
		// Two cards of one Context on one reader. To pcscd a context is one
		// thread: if Close waits there for the end of the transaction, nobody
		// is left to end it.
		c := s.context(t)
		card, sibling := s.connectedBy(t, c, readerA), s.connectedBy(t, c, readerA)
		tx, err := card.BeginTransaction(t.Context())
		require.NoError(t, err)
		closed := start(sibling.Close)
		requireNotYet(t, closed, "Close")
		ended := start(func() error { return tx.End(pcsc.LeaveCard) })
		require.NoError(t, requireSoon(t, ended, "the transaction's end"))
		require.NoError(t, requireSoon(t, closed, "Close"))
	}},
	{"SiblingConnects", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		card := s.connectedBy(t, c, readerA)
		tx, err := card.BeginTransaction(t.Context())
		require.NoError(t, err)
		connected := start(func() error {
			sibling, err := c.Connect(t.Context(), s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
			if err == nil {
				err = sibling.Disconnect(pcsc.LeaveCard)
			}
			return err
		})
		requireNotYet(t, connected, "Connect")
		ended := start(func() error { return tx.End(pcsc.LeaveCard) })
		require.NoError(t, requireSoon(t, ended, "the transaction's end"))
		require.NoError(t, requireSoon(t, connected, "Connect"))
	}},
	{"ContextOfTwoCards", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		card, _ := s.connectedBy(t, c, readerA), s.connectedBy(t, c, readerA)
		_, err := card.BeginTransaction(t.Context())
		require.NoError(t, err)
		require.NoError(t, requireSoon(t, start(c.Close), "Close"))
		requireAPIExchange(t, s.connected(t, readerA), 10, 10)
	}},
	{"Forgotten", func(t *testing.T, s *apiSuite) {
		before := descriptors(t)
		func() {
			// None is cleaned up while the next connects: pcscd's Connect may
			// find no protocol while a card is reset.
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			for i := range 10 {
				c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
				require.NoError(t, err)
				states := s.known(t, c, s.readers...)
				require.ErrorIs(t, c.GetStatusChangeTimeout(t.Context(), time.Millisecond, states), pcsc.ErrTimeout)
				if i%2 == 0 {
					card, err := c.Connect(t.Context(), s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
					require.NoError(t, err)
					if i == 8 {
						_, err = card.BeginTransaction(t.Context())
						require.NoError(t, err)
					}
				}
			}
		}()
		c := s.context(t)
		freed := start(func() error {
			for {
				runtime.GC()
				// Exclusive: not before the last forgotten card is gone.
				card, err := c.Connect(context.Background(), s.readers[readerA], pcsc.ShareExclusive, pcsc.ProtocolAny)
				if err == nil {
					return card.Close()
				}
				time.Sleep(time.Millisecond)
			}
		})
		require.NoError(t, await(t, freed, "the clean-up"))
		requireDescriptors(t, append(before, "the new context's"))
	}},
	{"ForgottenTransaction", func(t *testing.T, s *apiSuite) {
		card := s.connected(t, readerA)
		other := s.connected(t, readerA)
		func() {
			_, err := card.BeginTransaction(t.Context())
			require.NoError(t, err)
		}()
		done := start(func() error { _, err := other.Transmit(t.Context(), mark('x')); return err })
		for {
			runtime.GC()
			select {
			case err := <-done:
				require.NoError(t, err)
				requireAPIExchange(t, card, 10, 10)
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}},
}

func (s *apiSuite) closeUnderWay(t *testing.T, end func(*pcsc.Context, *pcsc.Card) error) {
	for _, ctx := range []context.Context{context.Background(), t.Context()} {
		c := s.context(t)
		card := s.connectedBy(t, c, readerA)
		held := s.a.Held()
		done := start(func() error { _, err := card.Transmit(ctx, hold('h')); return err })
		await(t, held, "the command")
		closed := start(func() error { return end(c, card) })
		requireNotYet(t, closed, "the closing")
		requireNotYet(t, done, "Transmit")
		_, err := card.Transmit(closeSoon(t), isVerified)
		require.Error(t, err)
		s.a.Release()
		require.NoError(t, requireSoon(t, done, "Transmit"))
		require.NoError(t, requireSoon(t, closed, "the closing"))
		_, err = card.Transmit(t.Context(), isVerified)
		require.ErrorIs(t, err, pcsc.ErrInvalidHandle)
	}
}

// closeSoon is a context that ends soon.
func closeSoon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
