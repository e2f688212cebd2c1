package conformance

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

// apiWait is a GetStatusChange under way.
func apiWait(ctx context.Context, c *pcsc.Context, states []pcsc.ReaderState) <-chan error {
	states = slices.Clone(states)
	return start(func() error { return c.GetStatusChange(ctx, states) })
}

var apiWaitTests = []apiTest{
	{"CancelledBefore", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			err := requireSoon(t, apiWait(ctx, c, states), "wait")
			require.ErrorIs(t, err, context.Canceled)
		}
		require.ErrorIs(t, c.GetStatusChangeTimeout(t.Context(), 20*time.Millisecond, states), pcsc.ErrTimeout)
	}},
	{"CancelledDuring", func(t *testing.T, s *apiSuite) {
		// At any moment: SCardCancel is lost when it comes too early.
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		for i := range 150 {
			ctx, cancel := context.WithCancel(t.Context())
			done := apiWait(ctx, c, states)
			time.Sleep(time.Duration(i*10) * time.Microsecond)
			cancel()
			require.ErrorIs(t, requireSoon(t, done, "wait"), context.Canceled)
		}
		require.ErrorIs(t, c.GetStatusChangeTimeout(t.Context(), 20*time.Millisecond, states), pcsc.ErrTimeout)
	}},
	{"CancelledAfter", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			unaware := []pcsc.ReaderState{pcsc.NewReaderState(s.readers[readerA])}
			require.NoError(t, c.GetStatusChange(ctx, unaware))
			cancel()
		}
		states := s.known(t, c, s.readers...)
		require.ErrorIs(t, c.GetStatusChangeTimeout(t.Context(), 50*time.Millisecond, states), pcsc.ErrTimeout)
	}},
	{"Deadline", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := requireSoon(t, apiWait(ctx, c, states), "wait")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.GreaterOrEqual(t, time.Since(begin), 50*time.Millisecond)
	}},
	{"Timeout", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		for _, timeout := range []time.Duration{0, 1, time.Millisecond, 80 * time.Millisecond} {
			begin := time.Now()
			err := c.GetStatusChangeTimeout(t.Context(), timeout, states)
			require.ErrorIs(t, err, pcsc.ErrTimeout)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.GreaterOrEqual(t, time.Since(begin)+time.Millisecond, timeout)
		}
	}},
	{"Cancel", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		for range 20 {
			var waits []<-chan error
			for range 4 {
				waits = append(waits, apiWait(t.Context(), c, states))
			}
			// Cancel ends the waits that are under way: ask until they are.
			for len(waits) > 0 {
				require.NoError(t, c.Cancel())
				select {
				case err := <-waits[0]:
					require.ErrorIs(t, err, pcsc.ErrCancelled)
					require.NotErrorIs(t, err, context.Canceled)
					waits = waits[1:]
				case <-time.After(time.Millisecond):
				}
			}
		}
	}},
	{"WaitsDoNotDisturb", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		kept := apiWait(ctx, c, states)
		other, cancelOther := context.WithCancel(t.Context())
		ended := apiWait(other, c, states)
		card := s.connectedBy(t, c, readerA)
		for range 10 {
			requireAPIExchange(t, card, 100, 100)
		}
		cancelOther()
		require.ErrorIs(t, requireSoon(t, ended, "the cancelled wait"), context.Canceled)
		requireNotYet(t, kept, "the other wait")
		cancel()
		require.ErrorIs(t, requireSoon(t, kept, "wait"), context.Canceled)
	}},
	{"InsertAndRemove", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		const waiters = 6
		type result struct {
			err    error
			states []pcsc.ReaderState
		}
		wait := func() []<-chan result {
			var all []<-chan result
			for range waiters {
				mine := slices.Clone(states)
				all = append(all, start(func() result {
					return result{c.GetStatusChange(t.Context(), mine), mine}
				}))
			}
			return all
		}
		all := wait()
		card, remove := s.insert(t)
		for _, done := range all {
			r := await(t, done, "the insertion")
			require.NoError(t, r.err)
			st := &r.states[readerSlot]
			require.Equal(t, pcsc.StateChanged|pcsc.StatePresent, st.Flags())
			require.Equal(t, card.ATR(), st.ATR())
			require.Equal(t, states[readerSlot].EventCount()+1, st.EventCount())
			require.Zero(t, r.states[readerEmpty].EventState&pcsc.StateChanged)
		}
		states = s.known(t, c, s.readers...)
		all = wait()
		remove()
		for _, done := range all {
			r := await(t, done, "the removal")
			require.NoError(t, r.err)
			require.Equal(t, pcsc.StateChanged|pcsc.StateEmpty, r.states[readerSlot].Flags())
			require.Nil(t, r.states[readerSlot].ATR())
		}
	}},
	{"Close", func(t *testing.T, s *apiSuite) {
		// At any moment, like a cancel.
		for i := range 40 {
			c := s.context(t)
			states := s.known(t, c, s.readers...)
			var waits []<-chan error
			for range 3 {
				waits = append(waits, apiWait(t.Context(), c, states))
			}
			time.Sleep(time.Duration(i*20) * time.Microsecond)
			require.NoError(t, requireSoon(t, start(c.Close), "Close"))
			for _, done := range waits {
				require.Error(t, requireSoon(t, done, "wait"))
			}
		}
	}},
	{"Storm", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		states := s.known(t, c, s.readers...)
		var f failures
		together(t, 12, func(i int) {
			for j := range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*j*20)*time.Microsecond)
				err := c.GetStatusChange(ctx, slices.Clone(states))
				if ctx.Err() == nil || err == nil {
					f.add("ended early: %v", err)
				}
				cancel()
			}
		})
		f.require(t)
	}},
}

var apiConcurrencyTests = []apiTest{
	{"OneCard", func(t *testing.T, s *apiSuite) {
		// Commands with contexts that end at any moment, on one card: an
		// answer never goes to another command.
		stop := pressure()
		defer stop()
		card := s.connected(t, readerA)
		var f failures
		var mu sync.Mutex
		sent, answered := 0, 0
		before := s.a.Commands()
		together(t, 8, func(i int) {
			for j := range 60 {
				ctx, cancel := context.Background(), func() {}
				if j%3 != 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(i*j)*time.Microsecond)
				}
				apdu := exchange(10+100*i+j, 2+j*50)
				want := Answer(apdu)
				got, err := card.Transmit(ctx, apdu)
				clear(apdu) // is the caller's again
				switch {
				case err == nil && !slices.Equal(got, want):
					f.add("another answer")
				case err != nil && ctx.Err() == nil:
					f.add("%v", err)
				}
				cancel()
				mu.Lock()
				sent++
				if err == nil {
					answered++
				}
				mu.Unlock()
			}
		})
		f.require(t)
		requireAPIExchange(t, card, 10, 10) // waits for what goes on in the background
		n := s.a.Commands() - before - 1
		require.GreaterOrEqual(t, n, answered)
		require.LessOrEqual(t, n, sent, "nothing was sent twice")
	}},
	{"ContextsOfTheirOwn", func(t *testing.T, s *apiSuite) {
		stop := pressure()
		defer stop()
		var f failures
		together(t, 8, func(i int) {
			for j := range 5 {
				c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
				if err != nil {
					f.add("EstablishContext: %v", err)
					return
				}
				card, err := c.Connect(t.Context(), clone(s.readers[readerA]), pcsc.ShareShared, pcsc.ProtocolAny)
				if err != nil {
					f.add("Connect: %v", err)
				} else {
					err = card.Transact(t.Context(), func(tx *pcsc.Transaction) error {
						apdu := exchange(20+i, 30+j)
						got, err := tx.Transmit(t.Context(), apdu)
						if err == nil && !slices.Equal(got, Answer(apdu)) {
							f.add("another answer")
						}
						return err
					})
					if err != nil {
						f.add("Transact: %v", err)
					}
					if err := card.Disconnect(pcsc.LeaveCard); err != nil {
						f.add("Disconnect: %v", err)
					}
				}
				if err := c.Close(); err != nil {
					f.add("Close: %v", err)
				}
			}
		})
		f.require(t)
	}},
	{"TransactionsTakeTurns", func(t *testing.T, s *apiSuite) {
		// On one Card, on cards of one Context, and across contexts.
		c := s.context(t)
		one := s.connectedBy(t, c, readerA)
		cards := []*pcsc.Card{one, one, s.connectedBy(t, c, readerA), s.connected(t, readerA)}
		var f failures
		s.a.Log()
		together(t, len(cards), func(i int) {
			for range 3 {
				err := cards[i].Transact(t.Context(), func(tx *pcsc.Transaction) error {
					for range 4 {
						if _, err := tx.Transmit(t.Context(), mark('0'+byte(i))); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					f.add("%v", err)
				}
			}
		})
		f.require(t)
		log := []byte(s.a.Log())
		require.Len(t, log, len(cards)*3*4)
		for turn := range slices.Chunk(log, 4) {
			require.Equal(t, slices.Repeat(turn[:1], 4), turn, "in %s", log)
		}
	}},
}

var apiOutageTests = []apiTest{
	{"RestartUnnoticed", func(t *testing.T, s *apiSuite) {
		// The first call after a restart finds a native context from before it, whatever the call is.
		for _, first := range []func(c *pcsc.Context) error{
			func(c *pcsc.Context) error { return second(s.names(t.Context(), c.ListReaders)) },
			func(c *pcsc.Context) error {
				return c.GetStatusChange(t.Context(), []pcsc.ReaderState{pcsc.NewReaderState(s.readers[readerA])})
			},
			func(c *pcsc.Context) error {
				return c.GetStatusChangeTimeout(t.Context(), 0, []pcsc.ReaderState{pcsc.NewReaderState(s.readers[readerA])})
			},
			func(c *pcsc.Context) error {
				return c.GetStatusChangeTimeout(t.Context(), time.Minute, []pcsc.ReaderState{pcsc.NewReaderState(s.readers[readerA])})
			},
			func(c *pcsc.Context) error {
				card, err := c.Connect(t.Context(), s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
				if err == nil {
					err = card.Close()
				}
				return err
			},
		} {
			c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
			require.NoError(t, err)
			s.Service.Kill()
			s.Service.Restart()
			require.NoError(t, first(c))
			require.NoError(t, c.Close())
		}
	}},
	{"Killed", func(t *testing.T, s *apiSuite) { s.outage(t, s.Service.Kill) }},
	{"Stopped", func(t *testing.T, s *apiSuite) { s.outage(t, s.Service.Stop) }},
}

func (s *apiSuite) outage(t *testing.T, end func()) {
	requireOutage := func(err error) {
		t.Helper()
		var e *pcsc.Error
		require.ErrorAs(t, err, &e)
		requireOneOf(t, e.Code, outageCodes...)
	}
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
	require.NoError(t, err)
	card, err := c.Connect(t.Context(), s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	tx, err := card.BeginTransaction(t.Context())
	require.NoError(t, err)
	var waits []<-chan error
	for range 3 {
		waits = append(waits, apiWait(t.Context(), c, s.known(t, c, s.readers[readerEmpty])))
	}
	requireNotYet(t, waits[0], "wait")
	end()
	for _, done := range waits {
		requireOutage(requireSoon(t, done, "wait"))
	}
	_, err = tx.Transmit(t.Context(), isVerified)
	requireOutage(err)
	_, err = s.names(t.Context(), c.ListReaders)
	requireOutage(err)
	requireOutage(requireSoon(t, apiWait(t.Context(), c, []pcsc.ReaderState{pcsc.NewReaderState(s.readers[readerA])}), "wait"))
	_, err = pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
	require.ErrorIs(t, err, pcsc.ErrNoService)

	s.Service.Restart()
	// The Context lives on, the connection does not.
	names, err := s.names(t.Context(), c.ListReaders)
	require.NoError(t, err)
	require.Equal(t, s.readers, names)
	_, err = tx.Transmit(t.Context(), isVerified)
	requireOutage(err)
	again, err := c.Connect(t.Context(), s.readers[readerA], pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	require.NoError(t, again.Close())
	_ = tx.Close()
	_ = card.Close()
	_ = c.Close()
	requireAPIExchange(t, s.connected(t, readerA), 10, 10)
}
