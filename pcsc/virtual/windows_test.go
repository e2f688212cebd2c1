package virtual_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// onWindows connects to card by way of the Windows view.
func onWindows(t *testing.T, card virtual.Card) (*virtual.Service, *virtual.Reader, winscard.Backend, winscard.Context, winscard.Card) {
	t.Helper()
	s, r := setup(t, card)
	w := s.Windows()
	ctx, rc := w.EstablishContext(0)
	ok(t, rc)
	mode := shared
	if card == nil {
		mode = direct
	}
	h, _, rc := w.Connect(ctx, r.Name(), mode, anyT)
	ok(t, rc)
	return s, r, w, ctx, h
}

func TestWindowsCodes(t *testing.T) {
	s, r, w, ctx, h := onWindows(t, echo(atrBoth))
	buf := make([]byte, 2)
	none := winscard.ErrWinInvalidHandle
	_, rc := w.Transmit(h+1, t1, apdu, buf)
	want(t, none, rc)
	want(t, none, w.IsValidContext(ctx+1))
	want(t, none, w.Cancel(ctx+1))
	want(t, none, w.ReleaseContext(ctx+1))
	want(t, none, w.FreeMemory(ctx+1, 0))
	want(t, none, w.BeginTransaction(h+1))
	want(t, none, w.EndTransaction(h+1, leave))
	want(t, none, w.Disconnect(h+1, leave))
	want(t, none, w.SetAttrib(h+1, 1, buf))
	_, rc = w.Reconnect(h+1, shared, anyT, leave)
	want(t, none, rc)
	_, _, rc = w.Connect(ctx+1, r.Name(), shared, anyT)
	want(t, none, rc)
	_, rc = w.ListReaders(ctx+1, nil, nil)
	want(t, none, rc)
	_, rc = w.ListReaderGroups(ctx+1, nil)
	want(t, none, rc)
	_, _, _, _, rc = w.Status(h+1, nil, nil)
	want(t, none, rc)
	want(t, none, w.GetStatusChange(ctx+1, 0, []winscard.ReaderState{{Reader: r.Name()}}))
	want(t, none, w.LocateCardsByATR(ctx+1, []winscard.ATRMask{{ATRLen: 1}}, []winscard.ReaderState{{Reader: r.Name()}}))

	_, rc = w.Control(h, 1, nil, nil)
	want(t, winscard.ErrWinNotSupported, rc)
	_, rc = w.GetAttrib(h, 0xFFFF, buf)
	want(t, winscard.ErrWinNotSupported, rc)
	_, rc = w.GetAttrib(h, uint32(winscard.AttrATRString), buf)
	want(t, winscard.ErrWinInsufficientBuffer, rc)
	_, rc = w.Transmit(h, t1, apdu, buf)
	want(t, winscard.ErrInsufficientBuffer, rc, "not the driver's")

	s.Stop()
	want(t, winscard.ErrServiceStopped, w.BeginTransaction(h))
	_, rc = w.ListReaders(ctx, nil, nil)
	want(t, winscard.ErrServiceStopped, rc)
	want(t, winscard.ErrServiceStopped, w.LocateCardsByATR(ctx, []winscard.ATRMask{{ATRLen: 1}}, []winscard.ReaderState{{Reader: r.Name()}}))
	_, rc = w.EstablishContext(0)
	want(t, winscard.ErrNoService, rc)
}

func TestWindowsStates(t *testing.T) {
	s, r, w, ctx, h := onWindows(t, echo(atrBoth))
	_, state, protocol, _, rc := w.Status(h, nil, nil)
	ok(t, rc)
	require.Equal(t, t1, protocol)
	require.Equal(t, winscard.CardSpecific|winscard.CardPowered|winscard.CardPresent, winscard.CardState(state))
	_, state, _, _, rc = s.Status(h, nil, nil)
	ok(t, rc)
	require.Equal(t, ready|1<<16, state, "for everybody else")
	direct, _, rc := w.Connect(ctx, s.AddReader("Empty").Name(), direct, 0)
	ok(t, rc)
	_, state, _, _, rc = w.Status(direct, nil, nil)
	ok(t, rc)
	require.Equal(t, uint32(winscard.CardAbsent), state)

	// A reader that is not there.
	states := []winscard.ReaderState{{Reader: "Nonesuch"}, {Reader: r.Name(), CurrentState: sPresent | sInUse}}
	ok(t, w.GetStatusChange(ctx, winscard.Infinite, states))
	require.Equal(t, sUnknown|sIgnore|sChanged, states[0].EventState)
	require.NotZero(t, states[1].EventState&sPresent)
	want(t, winscard.ErrUnknownReader, s.GetStatusChange(establish(t, s), 0, states[:1]))
}

func TestWindowsLocate(t *testing.T) {
	s, r, w, ctx, _ := onWindows(t, echo(atrBoth))
	mask := winscard.ATRMask{ATRLen: uint32(len(atrBoth))}
	copy(mask.ATR[:], atrBoth)
	states := []winscard.ReaderState{{Reader: "Nonesuch"}, {Reader: r.Name()}}
	ok(t, w.LocateCardsByATR(ctx, []winscard.ATRMask{mask}, states))
	require.Equal(t, sUnknown|sIgnore|sChanged, states[0].EventState)
	require.NotZero(t, states[1].EventState&uint32(winscard.StateATRMatch))
	want(t, winscard.ErrUnknownReader, s.LocateCardsByATR(establish(t, s), []winscard.ATRMask{mask}, states[:1]), "for everybody else")
	want(t, winscard.ErrUnsupportedFunction, w.LocateCards(ctx, []string{"card"}, states))
}

func TestWindowsPnP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, w, ctx, _ := onWindows(t, nil)
		states := []winscard.ReaderState{{Reader: virtualPnP}}
		ok(t, w.GetStatusChange(ctx, winscard.Infinite, states)) // a program that passes 0 goes round and round
		require.Equal(t, sChanged|1<<16, states[0].EventState)
		states[0].CurrentState = states[0].EventState &^ sChanged
		want(t, winscard.ErrTimeout, w.GetStatusChange(ctx, 1000, states))
		require.Equal(t, uint32(1<<16), states[0].EventState)
		done := async(func() winscard.Code { return w.GetStatusChange(ctx, winscard.Infinite, states) })
		synctest.Wait()
		pending(t, done)
		s.AddReader("Another")
		ok(t, <-done)
		require.Equal(t, sChanged|2<<16, states[0].EventState)
		states[0].CurrentState = 2 << 16
		done = async(func() winscard.Code { return w.GetStatusChange(ctx, winscard.Infinite, states) })
		synctest.Wait()
		s.Stop()
		want(t, winscard.ErrServiceStopped, <-done)
	})
}

func TestWindowsGroups(t *testing.T) {
	_, _, w, ctx, _ := onWindows(t, nil)
	for group, code := range map[string]winscard.Code{
		winscard.DefaultReaders: winscard.Success, winscard.AllReaders: winscard.Success, "scard$allreaders": winscard.Success,
		winscard.LocalReaders: winscard.ErrNoReadersAvailable, "Mine": winscard.ErrNoReadersAvailable,
	} {
		n, rc := w.ListReaders(ctx, []string{group}, nil)
		want(t, code, rc, group)
		require.Equal(t, code == winscard.Success, n > 0)
	}
}

func TestWindowsSharing(t *testing.T) {
	s, r, w, ctx, h := onWindows(t, echo(atrBoth))
	other, _, rc := w.Connect(ctx, r.Name(), shared, anyT)
	ok(t, rc)
	ok(t, w.BeginTransaction(other))
	want(t, winscard.ErrSharingViolation, w.Disconnect(h, reset))
	_, rc = w.Reconnect(h, shared, anyT, leave)
	want(t, winscard.ErrSharingViolation, rc)
	ok(t, w.EndTransaction(other, leave))
	_, rc = w.Reconnect(h, shared, anyT, leave)
	ok(t, rc)
	ok(t, w.BeginTransaction(other))
	ok(t, w.Disconnect(h, leave))
	_ = s
}

// Nor do they wait if the transaction begins while they are on their way.
func TestWindowsSharingLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r, w, ctx, h := onWindows(t, echo(atrBoth))
		other, _, rc := w.Connect(ctx, r.Name(), shared, anyT)
		ok(t, rc)
		for op, call := range map[virtual.Op]func() winscard.Code{
			virtual.OpReconnect:  func() winscard.Code { _, rc := w.Reconnect(h, shared, anyT, leave); return rc },
			virtual.OpDisconnect: func() winscard.Code { return w.Disconnect(h, reset) },
		} {
			r.Inject(virtual.Delay(time.Second), virtual.On(op))
			done := async(call)
			synctest.Wait()
			ok(t, w.BeginTransaction(other))
			time.Sleep(time.Second)
			synctest.Wait()
			select {
			case rc := <-done:
				want(t, winscard.ErrSharingViolation, rc, op)
			default:
				require.Fail(t, "it waits", op)
			}
			ok(t, w.EndTransaction(other, leave))
		}
	})
}

// resetCounter is a card that counts its resets.
type resetCounter struct{ n atomic.Int32 }

func (c *resetCounter) Reset()                          { c.n.Add(1) }
func (c *resetCounter) Transmit([]byte) ([]byte, error) { return []byte{0x90, 0x00}, nil }

// A transaction in which nothing happens for five seconds is over, and the card is reset.
func TestWindowsIdleTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := &resetCounter{}
		s, r, w, ctx, h := onWindows(t, card)
		buf := make([]byte, 10)
		send := func() winscard.Code { _, rc := w.Transmit(h, t1, apdu, buf); return rc }
		ok(t, w.BeginTransaction(h))
		for range 3 {
			time.Sleep(4 * time.Second)
			ok(t, send())
		}
		_, other := connect(t, s, s.AddReader("Other"), direct)
		ok(t, s.BeginTransaction(other)) // not Windows'
		resets := card.n.Load()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, resets+1, card.n.Load())
		want(t, winscard.ErrResetCard, send())
		want(t, winscard.ErrResetCard, w.EndTransaction(h, leave))
		ok(t, s.EndTransaction(other, leave))

		// Another program's turn comes, and the clock of a transaction that was ended has stopped.
		_, rc := w.Reconnect(h, shared, anyT, leave)
		ok(t, rc)
		ok(t, w.BeginTransaction(h))
		next, _, rc := w.Connect(ctx, s.AddReader("Third").Name(), direct, 0)
		ok(t, rc)
		ok(t, w.BeginTransaction(next))
		ok(t, w.EndTransaction(next, leave))
		ok(t, w.EndTransaction(h, leave))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, resets+1, card.n.Load())

		// The next transaction has a clock of its own.
		for range 3 {
			ok(t, w.BeginTransaction(h))
			time.Sleep(3 * time.Second)
			ok(t, send())
			ok(t, w.EndTransaction(h, leave))
		}

		// A card that is at work is not idle, however long it takes, nor just after; nor is a reader that waits for a PIN.
		ok(t, w.BeginTransaction(h))
		for range 1000 {
			r.Inject(virtual.Delay(10 * time.Second))
			ok(t, send())
			ok(t, send())
		}
		r.SetController(virtual.ControlFunc(func(uint32, []byte) ([]byte, error) {
			time.Sleep(time.Minute)
			return nil, nil
		}))
		_, rc = w.Control(h, 1, nil, nil)
		ok(t, rc)
		ok(t, send())
		ok(t, w.Disconnect(h, leave))
		time.Sleep(time.Minute)
		ok(t, w.ReleaseContext(ctx))
	})
}

// Exclusive access is no transaction, and lasts longer than one.
func TestWindowsIdleExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := &resetCounter{}
		_, r, w, ctx, h := onWindows(t, card)
		ok(t, w.Disconnect(h, leave))
		h, _, rc := w.Connect(ctx, r.Name(), exclusive, anyT)
		ok(t, rc)
		resets := card.n.Load()
		ok(t, w.BeginTransaction(h))
		ok(t, w.EndTransaction(h, leave))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, resets, card.n.Load())

		ok(t, w.BeginTransaction(h))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, resets+1, card.n.Load())
		_, _, rc = w.Connect(ctx, r.Name(), shared, anyT)
		want(t, winscard.ErrSharingViolation, rc)
		_, rc = w.Reconnect(h, exclusive, anyT, leave)
		ok(t, rc)
		ok(t, w.BeginTransaction(h))
		ok(t, w.EndTransaction(h, leave))
		want(t, winscard.ErrNotTransacted, w.EndTransaction(h, leave))
		ok(t, w.Disconnect(h, leave))
	})
}

// Package pcsc begins again after Windows has reset the card.
func TestWindowsTransact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, virtual.NewDemoCard())
		pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(s.Windows()))
		require.NoError(t, err)
		defer pc.Close()
		card, err := pc.Connect(t.Context(), r.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
		require.NoError(t, err)
		runs := 0
		require.NoError(t, card.Transact(t.Context(), func(tx *pcsc.Transaction) error {
			runs++
			if runs == 1 {
				time.Sleep(6 * time.Second) // asks for the PIN, which it should not do here
			}
			_, err := tx.Transmit(t.Context(), selectApp)
			return err
		}, pcsc.RetryAfterReset(1)))
		require.Equal(t, 2, runs)
		status, err := card.Status(t.Context())
		require.NoError(t, err)
		require.NotZero(t, status.State&pcsc.CardSpecific)
		require.Zero(t, status.EventCount)
	})
}

// A program is tested with what it would see on Windows: here a loop that waits for readers, and must tell the service
// how many it knows.
func ExampleService_Windows() {
	service := virtual.New()
	service.AddReader("Test Reader")
	backend := service.Windows()
	ctx, _ := backend.EstablishContext(uint32(winscard.ScopeSystem))
	defer backend.ReleaseContext(ctx)
	states := []winscard.ReaderState{{Reader: winscard.PnPNotification}}
	fmt.Println(backend.GetStatusChange(ctx, 0, states) == winscard.Success, states[0].EventState>>16)
	states[0].CurrentState = states[0].EventState
	fmt.Println(backend.GetStatusChange(ctx, 0, states) == winscard.ErrTimeout)
	// Output:
	// true 1
	// true
}
