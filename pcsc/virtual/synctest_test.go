package virtual_test

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// The service and package pcsc on top of it take no real time in a bubble, however long they wait.

// bubble runs f in a bubble, with a service, its one reader and a context of package pcsc, and requires that the
// bubble's clock was put forward by exactly want.
func bubble(t *testing.T, want time.Duration, f func(*testing.T, *virtual.Service, *virtual.Reader, *pcsc.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s := virtual.New()
		pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(s))
		require.NoError(t, err)
		f(t, s, s.AddReader("Test Reader"), pc)
		require.NoError(t, pc.Close())
		require.Equal(t, want, time.Since(begin))
	})
}

// sleeper is a card that takes an hour for each APDU, and a minute to come up.
type sleeper struct{}

func (sleeper) PowerOn()  { time.Sleep(time.Minute) }
func (sleeper) PowerOff() {}
func (sleeper) Transmit([]byte) ([]byte, error) {
	time.Sleep(time.Hour)
	return []byte{0x90, 0x00}, nil
}

func TestSynctestWaitsTimeOut(t *testing.T) {
	bubble(t, time.Hour, func(t *testing.T, s *virtual.Service, r *virtual.Reader, pc *pcsc.Context) {
		states := []pcsc.ReaderState{{Reader: r.Name()}}
		require.NoError(t, pc.GetStatusChange(t.Context(), states))
		states[0].SyncCurrentState()
		err := pc.GetStatusChangeTimeout(t.Context(), time.Hour, states)
		require.ErrorIs(t, err, pcsc.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestSynctestWaitSeesLateCard(t *testing.T) {
	bubble(t, time.Hour, func(t *testing.T, s *virtual.Service, r *virtual.Reader, pc *pcsc.Context) {
		go func() {
			time.Sleep(time.Hour)
			r.Insert(virtual.NewDemoCard())
		}()
		// With a watch that goes on, there is none to end in the service when the card is there, which could take a
		// millisecond.
		next, stop := iter.Pull2(pc.Watch(t.Context()))
		defer stop()
		_, err, _ := next()
		require.NoError(t, err)
		synctest.Wait()
		reader, atr, err := pc.WaitCard(t.Context())
		require.NoError(t, err)
		require.Equal(t, r.Name(), reader)
		require.Equal(t, virtual.NewDemoCard().ATR(), atr)
		synctest.Wait()
	})
}

func TestSynctestCancelledWait(t *testing.T) {
	bubble(t, 2*time.Hour, func(t *testing.T, s *virtual.Service, r *virtual.Reader, pc *pcsc.Context) {
		states := []pcsc.ReaderState{{Reader: r.Name(), CurrentState: pcsc.StateEmpty}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		require.ErrorIs(t, pc.GetStatusChange(ctx, states), context.DeadlineExceeded)
		go func() {
			time.Sleep(time.Hour)
			require.NoError(t, pc.Cancel())
		}()
		require.ErrorIs(t, pc.GetStatusChange(t.Context(), states), pcsc.ErrCancelled)
	})
}

func TestSynctestSlowCard(t *testing.T) {
	bubble(t, 3*time.Hour+2*time.Minute, func(t *testing.T, s *virtual.Service, r *virtual.Reader, pc *pcsc.Context) {
		r.Insert(sleeper{}) // a minute
		card, err := pc.Connect(t.Context(), r.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
		require.NoError(t, err)
		response, err := card.Transmit(t.Context(), apdu)
		require.NoError(t, err)
		require.Equal(t, []byte{0x90, 0x00}, response)

		// The caller is let go after a minute, the card goes on for the rest of the hour, and Close waits for it.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		_, err = card.Transmit(ctx, apdu)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(begin))
		require.NoError(t, card.Disconnect(pcsc.LeaveCard))
		require.Equal(t, time.Hour, time.Since(begin))

		// A service that starts powers up the cards. A second Start waits for the first.
		s.Stop()
		first := async(func() pcsc.Code { s.Start(); return pcsc.Success })
		s.Start()
		<-first

		// Another goroutine's transaction is waited for.
		owner, err := pc.Connect(t.Context(), r.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
		require.NoError(t, err)
		other, err := pc.Connect(t.Context(), r.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
		require.NoError(t, err)
		tx, err := owner.BeginTransaction(t.Context())
		require.NoError(t, err)
		go func() {
			time.Sleep(time.Hour)
			require.NoError(t, tx.End(pcsc.LeaveCard))
		}()
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = other.BeginTransaction(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		tx, err = other.BeginTransaction(t.Context())
		require.NoError(t, err)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		require.NoError(t, owner.Disconnect(pcsc.LeaveCard))
		require.NoError(t, other.Disconnect(pcsc.LeaveCard))
	})
}

func TestSynctestWatch(t *testing.T) {
	bubble(t, 4*time.Hour, func(t *testing.T, s *virtual.Service, r *virtual.Reader, pc *pcsc.Context) {
		go func() {
			for _, step := range []func(){
				func() { r.Insert(virtual.NewDemoCard()) },
				func() { s.AddReader("Late Reader") },
				r.Remove,
				func() { s.RemoveReader(r) },
			} {
				time.Sleep(time.Hour)
				step()
			}
		}()
		var kinds []string
		for event, err := range pc.Watch(t.Context()) {
			require.NoError(t, err)
			kinds = append(kinds, event.Kind.String())
			synctest.Wait() // or the end of the watch could come right before its next wait, and take a millisecond
			if event.Kind == pcsc.ReaderRemoved {
				break
			}
		}
		require.Equal(t, []string{"reader added", "card inserted", "reader added", "card removed", "reader removed"}, kinds)
	})
}
