package pcsc

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// collect runs the garbage collector until done.
func collect(t *testing.T, done func() bool) {
	t.Helper()
	for range 1000 {
		runtime.GC()
		if done() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("not collected")
}

func TestForgottenContext(t *testing.T) {
	f := newFake(t)
	func() {
		c, err := EstablishContext(ScopeSystem, WithBackend(f))
		require.NoError(t, err)
		require.ErrorIs(t, c.GetStatusChangeTimeout(bg, time.Millisecond, unchanged("Reader 0")), ErrTimeout)
		_, err = c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
		require.NoError(t, err)
	}()
	collect(t, f.nothingOpen)
	f.requireNothingOpen()
	require.Contains(t, f.calls(), "Disconnect 1")
}

func TestForgottenCard(t *testing.T) {
	f := newFake(t)
	c, card := f.card()
	tx, err := card.BeginTransaction(bg)
	require.NoError(t, err)
	card = nil
	for range 10 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	require.Zero(t, f.count("Disconnect"), "the transaction keeps its card")
	require.NoError(t, tx.Close())
	tx = nil
	collect(t, func() bool { return f.count("Disconnect") == 1 })
	require.Contains(t, f.calls(), "Disconnect 1")
	require.NoError(t, c.IsValid(), "the context lives")
	require.NoError(t, c.Close())
	_, _ = card, tx
}

func TestForgottenTransaction(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	require.NoError(t, second(card.BeginTransaction(bg)))
	collect(t, func() bool { return f.count("EndTransaction") == 1 })
	require.Contains(t, f.calls(), "EndTransaction 0")
	require.NoError(t, card.Transact(bg, func(*Transaction) error { return nil }))
}

// A card keeps its context, also when only a call under way holds the card.
func TestCardKeepsContext(t *testing.T) {
	f := newFake(t)
	card := func() *Card {
		c, err := EstablishContext(ScopeSystem, WithBackend(f))
		require.NoError(t, err)
		card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
		require.NoError(t, err)
		return card
	}()
	f.transmit = func([]byte, []byte) (int, winscard.Code) {
		for range 10 {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		if f.count("Disconnect")+f.count("ReleaseContext") != 0 {
			t.Error("released under a call")
		}
		return 0, winscard.Success
	}
	_, err := card.Transmit(bg, apdu)
	require.NoError(t, err)
	_, err = card.Transmit(cancellable(t), apdu)
	require.NoError(t, err)
	collect(t, func() bool { return f.count("ReleaseContext") == 1 })
	f.requireNothingOpen()
}

// A wait keeps its context.
func TestWaitKeepsContext(t *testing.T) {
	f := newFake(t)
	c, err := EstablishContext(ScopeSystem, WithBackend(f))
	require.NoError(t, err)
	f.statusChange = func(winscard.Context, uint32, []winscard.ReaderState) winscard.Code {
		for range 10 {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		if f.count("ReleaseContext") != 0 || f.count("Cancel") != 0 {
			t.Error("ended under the wait")
		}
		return winscard.Success
	}
	require.NoError(t, c.GetStatusChange(bg, unchanged("Reader 0")))
	collect(t, f.nothingOpen)
}

// What was closed is not closed again when it is collected.
func TestClosedIsNotClosedAgain(t *testing.T) {
	f := newFake(t)
	func() {
		c, err := EstablishContext(ScopeSystem, WithBackend(f))
		require.NoError(t, err)
		card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
		require.NoError(t, err)
		require.NoError(t, card.Transact(bg, func(*Transaction) error { return nil }))
		require.NoError(t, card.Disconnect(LeaveCard))
		require.NoError(t, c.Release())
	}()
	for range 10 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	require.Equal(t, 1, f.count("EndTransaction"))
	require.Equal(t, 1, f.count("Disconnect"))
	require.Equal(t, 1, f.count("ReleaseContext"))
}

// A connection that comes about after its context.Context has ended is closed even if nobody is left to care.
func TestForgottenWhileConnecting(t *testing.T) {
	f := newFake(t)
	g := newGate()
	f.connect = func(string) (uint32, winscard.Code) { g.pass(); return 2, winscard.Success }
	func() {
		c, err := EstablishContext(ScopeSystem, WithBackend(f))
		require.NoError(t, err)
		ctx := newExpiring()
		go func() { <-g.reached; ctx.expire() }()
		_, err = c.Connect(ctx, "Reader 0", ShareShared, ProtocolAny)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}()
	for range 5 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	require.Zero(t, f.count("ReleaseContext"), "a call is under way")
	close(g.open)
	collect(t, func() bool { return f.count("ReleaseContext") == 1 })
	f.requireNothingOpen()
}

// A call keeps its Context, though nobody else does.
func TestCallKeepsContext(t *testing.T) {
	f := newFake(t)
	c, err := EstablishContext(ScopeSystem, WithBackend(f))
	require.NoError(t, err)
	require.ErrorIs(t, c.GetStatusChangeTimeout(bg, time.Millisecond, unchanged("Reader 0")), ErrTimeout)
	f.listReaders = func([]string, []byte) (int, winscard.Code) {
		for range 10 {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		if f.count("ReleaseContext") != 0 {
			t.Error("closed under the call")
		}
		return 0, winscard.Success
	}
	_, err = c.ListReaders(bg)
	require.NoError(t, err)
	collect(t, f.nothingOpen)
}

// Likewise a call that still waits for its turn.
func TestCallKeepsCard(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	s := card.s
	s.lock.acquire(nil)
	done := make(chan error)
	go func(card *Card) { done <- second(card.Transmit(bg, apdu)) }(card)
	card = nil
	for range 10 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	s.lock.release()
	require.NoError(t, <-done)
	_ = card
}
