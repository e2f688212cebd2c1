package conformance

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/pcsc"
)

// bound is how long after the end of its context a call may take to return.
const bound = 50 * time.Millisecond

// boundTries is how often a call is given the chance to keep the bound: a call
// that waits for what it can't abort never does, one on a machine that is busy
// with something else does not always.
const boundTries = 5

// requireBound requires that call returns in time once its context has ended.
// blocked makes everything anew that the call needs to be held up. It returns
// what became of the call: an error of the context, or, where the service does
// not hold the call up, anything else.
func requireBound(t *testing.T, name string, blocked func(t *testing.T) (call func(context.Context) error)) error {
	t.Helper()
	for try := 1; ; try++ {
		call := blocked(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := start(func() error { return call(ctx) })
		select {
		case err := <-done:
			return err
		case <-time.After(150 * time.Millisecond): // pcscd polls every 100 ms
		}
		begin := time.Now()
		cancel()
		err := requireSoon(t, done, name)
		took := time.Since(begin)
		require.ErrorIs(t, err, context.Canceled, name)
		if took <= bound {
			t.Logf("%s: returned %v after the end of its context", name, took)
			return err
		}
		if try == boundTries {
			t.Fatalf("%s: returned %v after the end of its context, at the best of %d tries", name, took, try)
		}
	}
}

func init() { apiCancelTests = append(apiCancelTests, apiBoundTests...) }

// What waits for another program, or for a card that does not answer, lets go
// of its caller in time, and everything works afterwards.
var apiBoundTests = []apiTest{
	{"BoundInAnothersTransaction", func(t *testing.T, s *apiSuite) {
		owner := s.connected(t, readerA)
		tx := s.begin(t, owner)
		var others []*pcsc.Card
		other := func(t *testing.T) *pcsc.Card {
			// Shared and left alone: to connect waits for the transaction too.
			card := s.connected(t, readerA)
			others = append(others, card)
			return card
		}
		require.NoError(t, tx.Close())
		for _, test := range []struct {
			name string
			call func(context.Context, *pcsc.Card) error
		}{
			{"BeginTransaction", func(ctx context.Context, card *pcsc.Card) error {
				_, err := card.BeginTransaction(ctx)
				return err
			}},
			{"Transact", func(ctx context.Context, card *pcsc.Card) error {
				return card.Transact(ctx, func(*pcsc.Transaction) error { return nil })
			}},
			{"Transmit", func(ctx context.Context, card *pcsc.Card) error {
				_, err := card.Transmit(ctx, exchange(30, 40))
				return err
			}},
			{"Status", func(ctx context.Context, card *pcsc.Card) error {
				_, err := card.Status(ctx)
				return err
			}},
			{"Reconnect", func(ctx context.Context, card *pcsc.Card) error {
				return card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard)
			}},
			{"CloseContext", func(ctx context.Context, card *pcsc.Card) error { return card.CloseContext(ctx) }},
		} {
			err := requireBound(t, test.name, func(t *testing.T) func(context.Context) error {
				card := other(t)
				tx, err := owner.BeginTransaction(t.Context())
				for errors.Is(err, pcsc.ErrResetCard) { // by what a try left to do that came too late
					require.NoError(t, owner.Reconnect(t.Context(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
					tx, err = owner.BeginTransaction(t.Context())
				}
				require.NoError(t, err)
				t.Cleanup(func() { _ = tx.Close() })
				return func(ctx context.Context) error {
					err := test.call(ctx, card)
					go func() { _ = tx.Close() }() // ends what goes on
					return err
				}
			})
			require.ErrorIs(t, err, context.Canceled, "%s has to wait", test.name)
			if test.name == "CloseContext" { // what it left to do resets the card
				require.NoError(t, others[len(others)-1].Close())
				require.NoError(t, owner.Reconnect(t.Context(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
				for _, card := range others[:len(others)-1] {
					_ = card.Disconnect(pcsc.LeaveCard)
				}
				continue
			}
			requireAPIExchange(t, others[len(others)-1], 50, 60)
		}
		tx = s.begin(t, owner)
		c := s.context(t)
		err := requireBound(t, "Connect", func(*testing.T) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := c.Connect(ctx, s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
				return err
			}
		})
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		requireAPIExchange(t, owner, 50, 60)
	}},
	{"BoundOnAMuteCard", func(t *testing.T, s *apiSuite) {
		// One command is never answered. Whoever sent it and whoever else uses
		// the card can let go.
		victim := s.connected(t, readerA)
		c := s.context(t)
		bystander := s.connected(t, readerA)
		held := s.a.Held()
		sent := start(func() error { _, err := victim.Transmit(t.Context(), hold('h')); return err })
		await(t, held, "the command")
		for _, test := range []struct {
			name string
			call func(context.Context) error
		}{
			{"Transmit, the same card", func(ctx context.Context) error {
				_, err := victim.Transmit(ctx, mark('v'))
				return err
			}},
			{"Status, the same card", func(ctx context.Context) error { _, err := victim.Status(ctx); return err }},
			{"BeginTransaction, the same card", func(ctx context.Context) error {
				_, err := victim.BeginTransaction(ctx)
				return err
			}},
			{"Control, the same card", func(ctx context.Context) error {
				_, err := victim.Control(ctx, unknownControl, nil)
				return err
			}},
		} {
			err := requireBound(t, test.name, func(*testing.T) func(context.Context) error { return test.call })
			require.ErrorIs(t, err, context.Canceled, "%s has to wait", test.name)
		}
		// These may or may not have to wait, as the service likes.
		requireBound(t, "Connect", func(*testing.T) func(context.Context) error {
			return func(ctx context.Context) error {
				card, err := c.Connect(ctx, s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
				if err == nil {
					err = card.Disconnect(pcsc.LeaveCard)
				}
				return err
			}
		})
		requireBound(t, "Status", func(*testing.T) func(context.Context) error {
			return func(ctx context.Context) error { _, err := bystander.Status(ctx); return err }
		})
		requireBound(t, "Transmit", func(*testing.T) func(context.Context) error {
			return func(ctx context.Context) error { _, err := bystander.Transmit(ctx, mark('b')); return err }
		})
		require.ErrorIs(t, requireBound(t, "CloseContext", func(*testing.T) func(context.Context) error {
			return victim.CloseContext
		}), context.Canceled)
		_, err := victim.Transmit(closeSoon(t), mark('x'))
		require.Error(t, err)
		s.a.Release()
		require.NoError(t, await(t, sent, "the answer"), "it was not disturbed")
		require.NoError(t, requireSoon(t, start(victim.Close), "Close"))
		// Whatever they were, the next begins anew.
		require.Eventually(t, func() bool {
			err := bystander.Reconnect(t.Context(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard)
			return err == nil
		}, patience, time.Millisecond)
		requireAPIExchange(t, bystander, 50, 60)
	}},
	{"BoundOfContext", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		card := s.connectedBy(t, c, readerA)
		held := s.a.Held()
		sent := start(func() error { _, err := card.Transmit(t.Context(), hold('h')); return err })
		await(t, held, "the command")
		require.ErrorIs(t, requireBound(t, "CloseContext", func(*testing.T) func(context.Context) error {
			return c.CloseContext
		}), context.Canceled)
		_, err := c.ListReaders(t.Context())
		require.ErrorIs(t, err, pcsc.ErrInvalidHandle)
		s.a.Release()
		require.NoError(t, await(t, sent, "the answer"))
		require.NoError(t, requireSoon(t, start(c.Close), "Close"))
	}},
	{"MemoryIsTheCallers", func(t *testing.T, s *apiSuite) {
		// Once a call has returned, its caller's memory is neither read nor
		// written, although the call goes on.
		owner := s.connected(t, readerA)
		other := s.connected(t, readerA)
		tx := s.begin(t, owner)
		dst := bytes.Repeat([]byte{0xA5}, 1000)
		apdu := mark('m')
		s.a.Log() // of earlier tests
		ctx, cancel := context.WithCancel(t.Context())
		done := start(func() error {
			_, err := other.TransmitAppend(ctx, dst[:3], apdu)
			return err
		})
		requireNotYet(t, done, "TransmitAppend")
		cancel()
		require.ErrorIs(t, requireSoon(t, done, "TransmitAppend"), context.Canceled)
		copy(apdu, mark('x'))
		require.NoError(t, tx.End(pcsc.LeaveCard))
		requireAPIExchange(t, other, 10, 500)
		require.Equal(t, "m", s.a.Log(), "the command as it was when it was sent")
		require.Equal(t, bytes.Repeat([]byte{0xA5}, 1000), dst)

		c := s.context(t)
		states := s.known(t, c, s.readers[readerSlot])
		before := states[0]
		ctx, cancel = context.WithCancel(t.Context())
		done = start(func() error { return c.GetStatusChange(ctx, states) })
		requireNotYet(t, done, "GetStatusChange")
		cancel()
		require.ErrorIs(t, requireSoon(t, done, "GetStatusChange"), context.Canceled)
		_, remove := s.insert(t)
		require.Equal(t, before, states[0])
		remove()
	}},
}

// padBound is the same for what the driver holds up: control codes, and what
// waits for the driver.
func padBound(t *testing.T, s *padSuite) {
	other, _ := s.connect(t, s.readers[0])
	escape := ifdtest.FeatureCode(ifdtest.Escape)
	s.pad.Answer(ifdtest.Escape, ifdtest.OK, padTime, 1, 2, 3)
	in := []byte{4, 5, 6}
	dst := bytes.Repeat([]byte{0xA5}, 1000)
	err := requireBound(t, "ControlAppend", func(*testing.T) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.card.ControlAppend(ctx, dst[:3], escape, in)
			clear(in)
			return err
		}
	})
	require.ErrorIs(t, err, context.Canceled, "Control has to wait")
	attribute := bytes.Repeat([]byte{0x5A}, 1000)
	untouched := bytes.Clone(attribute)
	for _, test := range []struct {
		name string
		call func(context.Context) error
	}{
		{"Control, the same card", func(ctx context.Context) error {
			_, err := s.card.Control(ctx, escape, []byte{7})
			return err
		}},
		{"GetAttribAppend", func(ctx context.Context) error {
			_, err := other.GetAttribAppend(ctx, attribute[:3], pcsc.AttrVendorName)
			if err == nil { // a service that does not ask the driver
				untouched = bytes.Clone(attribute)
			}
			return err
		}},
		{"SetAttrib", func(ctx context.Context) error {
			return other.SetAttrib(ctx, pcsc.AttrSuppressT1IFSRequest, []byte{1})
		}},
		{"Status", func(ctx context.Context) error { _, err := other.Status(ctx); return err }},
	} {
		requireBound(t, test.name, func(*testing.T) func(context.Context) error { return test.call })
	}
	got, err := s.card.Control(t.Context(), escape, []byte{8})
	require.NoError(t, err, "once the driver is done")
	require.Equal(t, []byte{1, 2, 3}, got)
	require.Equal(t, bytes.Repeat([]byte{0xA5}, 1000), dst)
	require.Equal(t, untouched, attribute)
}
