package pcsc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

func TestListReaders(t *testing.T) {
	for name, ctx := range map[string]context.Context{"direct": bg, "background": cancellable(t)} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			c := f.open()
			got, err := c.ListReaders(ctx)
			require.NoError(t, err)
			require.Equal(t, []string{"Reader 0", "Léser 1"}, got)

			got, err = c.ListReadersWithCard(ctx)
			require.NoError(t, err)
			require.Equal(t, []string{"Reader 0"}, got)

			got, err = c.ListReaderGroups(ctx)
			require.NoError(t, err)
			require.Equal(t, []string{"SCard$DefaultReaders"}, got)

			_, err = c.ListReadersInGroups(ctx, "a", "b")
			require.NoError(t, err)
			require.Contains(t, f.calls(), "ListReaders [a b]")

			f.readers = nil
			for _, list := range []func(context.Context) ([]string, error){c.ListReaders, c.ListReadersWithCard} {
				got, err = list(ctx)
				require.NoError(t, err)
				require.NotNil(t, got)
				require.Empty(t, got)
			}
		})
	}
}

// The list grows with every call, as it does when readers are being plugged in.
func TestListGrows(t *testing.T) {
	f := newFake(t)
	c := f.open()
	readers := []string{strings.Repeat("x", listSize)}
	f.listReaders = func(_ []string, buf []byte) (int, winscard.Code) {
		n, rc := fillMulti(buf, readers)
		if len(readers) < 4 {
			readers = append(readers, strings.Repeat("y", 8000*len(readers)))
		}
		return n, rc
	}
	got, err := c.ListReaders(bg)
	require.NoError(t, err)
	require.Len(t, got, 4)
	require.Equal(t, readers, got)
}

func TestListGrowsWithoutALength(t *testing.T) {
	f := newFake(t)
	c := f.open()
	f.readers = []string{strings.Repeat("x", 100_000)}
	f.listReaders = func(_ []string, buf []byte) (int, winscard.Code) {
		n, rc := fillMulti(buf, f.readers)
		if rc != winscard.Success {
			n = 0
		}
		return n, rc
	}
	got, err := c.ListReaders(bg)
	require.NoError(t, err)
	require.Equal(t, f.readers, got)
}

func TestListGrowthIsBounded(t *testing.T) {
	f := newFake(t)
	c := f.open()
	f.listReaders = func(_ []string, buf []byte) (int, winscard.Code) {
		return len(buf) + 1, winscard.ErrInsufficientBuffer
	}
	_, err := c.ListReaders(bg)
	e := requireCode(t, err, opListReaders, ErrInsufficientBuffer)
	require.Equal(t, listMaxSize+1, e.Needed)
	require.Less(t, f.count("ListReaders"), 12)
}

func TestListBrokenBackend(t *testing.T) {
	f := newFake(t)
	c := f.open()
	for _, n := range []int{-1, 1 << 30} {
		f.listReaders = func([]string, []byte) (int, winscard.Code) { return n, winscard.Success }
		_, err := c.ListReaders(bg)
		requireCode(t, err, opListReaders, ErrInternalError)
	}
}

// A list that was given up goes on with its own copy of the groups.
func TestAbandonedListKeepsGroups(t *testing.T) {
	f := newFake(t)
	c := f.open()
	g := newGate()
	f.listReaders = func(_ []string, buf []byte) (int, winscard.Code) {
		g.pass()
		return fillMulti(buf, []string{strings.Repeat("x", 2*listSize)})
	}
	ctx, cancel := context.WithCancel(bg)
	go func() { <-g.reached; cancel() }()
	groups := []string{"mine"}
	_, err := c.ListReadersInGroups(ctx, groups...)
	require.ErrorIs(t, err, context.Canceled)
	groups[0] = "changed"
	close(g.open)
	require.NoError(t, c.Close())
	require.Equal(t, 2, f.count("ListReaders"))
	require.NotContains(t, f.calls(), "ListReaders [changed]")
}

func TestReadersIterator(t *testing.T) {
	f := newFake(t)
	c := f.open()
	var got []string
	for name, err := range c.Readers(bg) {
		require.NoError(t, err)
		got = append(got, name)
	}
	require.Equal(t, f.readers, got)
	for range c.Readers(bg) {
		break
	}
	f.listReaders = func([]string, []byte) (int, winscard.Code) { return 0, winscard.ErrNoService }
	n := 0
	for name, err := range c.Readers(bg) {
		require.Empty(t, name)
		requireCode(t, err, opListReaders, ErrNoService)
		n++
	}
	require.Equal(t, 1, n)
}

// A reader leaves between the list and the question for its state.
func TestListReadersWithCardRetries(t *testing.T) {
	f := newFake(t)
	c := f.open()
	f.statusChange = func(_ winscard.Context, _ uint32, states []winscard.ReaderState) winscard.Code {
		if len(states) == 2 {
			f.mu.Lock()
			f.readers = f.readers[:1]
			f.mu.Unlock()
			return winscard.ErrUnknownReader
		}
		states[0].EventState = uint32(winscard.StatePresent)
		return winscard.Success
	}
	got, err := c.ListReadersWithCard(bg)
	require.NoError(t, err)
	require.Equal(t, []string{"Reader 0"}, got)

	f.statusChange = func(winscard.Context, uint32, []winscard.ReaderState) winscard.Code {
		return winscard.ErrUnknownReader
	}
	_, err = c.ListReadersWithCard(bg)
	requireCode(t, err, opGetStatusChange, ErrUnknownReader)
	require.Equal(t, 2+3, f.count("ListReaders"))
}

func TestListReadersWithCardManyReaders(t *testing.T) {
	f := newFake(t)
	c := f.open()
	f.readers = nil
	for i := range 25 {
		name := fmt.Sprint("Reader ", i)
		f.readers = append(f.readers, name)
		f.present[name] = true
	}
	most := 0
	f.statusChange = func(_ winscard.Context, _ uint32, states []winscard.ReaderState) winscard.Code {
		most = max(most, len(states))
		f.look(states)
		return winscard.Success
	}
	got, err := c.ListReadersWithCard(bg)
	require.NoError(t, err)
	require.Equal(t, f.readers, got)
	require.LessOrEqual(t, most, 10)
}

func TestNilAndZero(t *testing.T) {
	for _, c := range []*Context{nil, {}} {
		for _, err := range []error{
			c.Close(), c.Release(), c.Cancel(), c.IsValid(),
			c.GetStatusChange(bg, nil), c.GetStatusChangeTimeout(bg, 0, make([]ReaderState, 1)),
			second(c.ListReaders(bg)), second(c.ListReadersWithCard(bg)), second(c.ListReaderGroups(bg)),
			second(c.Connect(bg, "R", ShareShared, ProtocolAny)),
		} {
			require.ErrorIs(t, err, ErrInvalidHandle)
		}
		for _, err := range c.Readers(bg) {
			require.ErrorIs(t, err, ErrInvalidHandle)
		}
	}
	for _, card := range []*Card{nil, {}} {
		require.Empty(t, card.Reader())
		require.Equal(t, ProtocolUndefined, card.ActiveProtocol())
		for _, err := range append(cardCalls(bg, card),
			card.Close(), card.Disconnect(LeaveCard),
			second(card.BeginTransaction(bg)),
			card.Transact(bg, func(*Transaction) error { panic("called") }),
		) {
			require.ErrorIs(t, err, ErrInvalidHandle)
		}
	}
	for _, tx := range []*Transaction{nil, {}, {card: &Card{}}} {
		require.Empty(t, tx.Reader())
		require.Equal(t, ProtocolUndefined, tx.ActiveProtocol())
		for _, err := range append(cardCalls(bg, tx), tx.Close(), tx.End(LeaveCard)) {
			require.ErrorIs(t, err, ErrInvalidHandle)
		}
	}
	var state *ReaderState
	require.Nil(t, state.ATR())
	require.Zero(t, state.EventCount())
	require.Zero(t, state.Flags())
	state.SyncCurrentState()
}

func TestNilContextArgument(t *testing.T) {
	f := newFake(t)
	c, card := f.card()
	before := len(f.calls())
	for _, err := range append(cardCalls(nilContext, card),
		c.GetStatusChange(nilContext, make([]ReaderState, 1)), second(c.ListReaders(nilContext)),
		second(c.Connect(nilContext, "R", ShareShared, ProtocolAny)), second(card.BeginTransaction(nilContext)),
	) {
		require.ErrorIs(t, err, ErrInvalidParameter)
	}
	require.Len(t, f.calls(), before)
	require.Zero(t, f.count("Transmit"))
}

func second[T any](_ T, err error) error { return err }

// cardLike is what Card and Transaction have in common.
type cardLike interface {
	Transmit(context.Context, []byte) ([]byte, error)
	TransmitAppend(context.Context, []byte, []byte) ([]byte, error)
	Control(context.Context, uint32, []byte) ([]byte, error)
	ControlAppend(context.Context, []byte, uint32, []byte) ([]byte, error)
	GetAttrib(context.Context, Attribute) ([]byte, error)
	GetAttribAppend(context.Context, []byte, Attribute) ([]byte, error)
	SetAttrib(context.Context, Attribute, []byte) error
	Status(context.Context) (Status, error)
	Reconnect(context.Context, ShareMode, Protocol, Disposition) error
}

var (
	_ cardLike = (*Card)(nil)
	_ cardLike = (*Transaction)(nil)
)

// cardCalls calls everything that c and ctx are good for.
func cardCalls(ctx context.Context, c cardLike) []error {
	return []error{
		second(c.Transmit(ctx, apdu)),
		second(c.TransmitAppend(ctx, nil, apdu)),
		second(c.Control(ctx, 1, nil)),
		second(c.ControlAppend(ctx, nil, 1, []byte{1})),
		second(c.GetAttrib(ctx, 1)),
		second(c.GetAttribAppend(ctx, nil, 1)),
		c.SetAttrib(ctx, 1, []byte{1}),
		second(c.Status(ctx)),
		c.Reconnect(ctx, ShareShared, ProtocolAny, LeaveCard),
	}
}

// A context that has ended makes no native call.
func TestEndedContextMakesNoCall(t *testing.T) {
	f := newFake(t)
	c, card := f.card()
	before := len(f.calls())
	ctx := endedContext()
	for _, err := range append(cardCalls(ctx, card),
		c.GetStatusChange(ctx, make([]ReaderState, 1)), c.GetStatusChangeTimeout(ctx, 0, make([]ReaderState, 1)),
		second(c.ListReaders(ctx)), second(c.ListReadersWithCard(ctx)),
		second(c.Connect(ctx, "R", ShareShared, ProtocolAny)), second(card.BeginTransaction(ctx)),
	) {
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ErrCancelled)
	}
	require.Len(t, f.calls(), before)
	require.Zero(t, f.count("Transmit"))
}

func TestUseAfterClose(t *testing.T) {
	f := newFake(t)
	c, card := f.card()
	require.NoError(t, c.IsValid())
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	requireCode(t, c.Release(), opReleaseContext, ErrInvalidHandle)
	require.Contains(t, f.calls(), "Disconnect 1", "the card is reset")
	require.Equal(t, 2, f.count("ReleaseContext"), "the card's and that of IsValid")
	before := len(f.calls())
	for _, err := range append(cardCalls(bg, card),
		c.Cancel(), c.IsValid(), c.GetStatusChange(bg, make([]ReaderState, 1)), c.GetStatusChange(bg, nil),
		second(c.ListReaders(bg)), second(c.Connect(bg, "R", ShareShared, ProtocolAny)),
		second(card.BeginTransaction(bg)), card.Disconnect(LeaveCard),
	) {
		require.ErrorIs(t, err, ErrInvalidHandle)
		require.ErrorContains(t, err, "use of a closed")
	}
	require.NoError(t, card.Close())
	require.Len(t, f.calls(), before)
}

func TestRelease(t *testing.T) {
	f := newFake(t)
	c := f.open()
	require.NoError(t, c.Release())
	requireCode(t, c.Release(), opReleaseContext, ErrInvalidHandle)
	require.NoError(t, c.Close())

	f.release = func() winscard.Code { return winscard.ErrNoService }
	c, err := EstablishContext(ScopeSystem, WithBackend(f))
	require.NoError(t, err)
	requireCode(t, c.Close(), opReleaseContext, ErrNoService)
	require.NoError(t, c.Close())
}

// Close waits for a call that was given up, and lets no further one begin.
func TestCloseWaitsForCalls(t *testing.T) {
	f := newFake(t)
	c := f.open()
	g := newGate()
	f.listReaders = func([]string, []byte) (int, winscard.Code) { g.pass(); return 0, winscard.Success }
	ctx, cancel := context.WithCancel(bg)
	go func() { <-g.reached; cancel() }()
	_, err := c.ListReaders(ctx)
	require.ErrorIs(t, err, context.Canceled)

	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- c.Close() }()
	}
	require.Eventually(t, func() bool { return c.IsValid() != nil }, patience, time.Millisecond)
	select {
	case <-closed:
		t.Fatal("closed under a call")
	case <-time.After(20 * time.Millisecond):
	}
	close(g.open)
	require.NoError(t, <-closed)
	require.NoError(t, <-closed)
}

// Establishing is given up; what comes of it is released.
func TestAbandonedEstablish(t *testing.T) {
	f := newFake(t)
	g := newGate()
	f.establish = func() winscard.Code { g.pass(); return winscard.Success }
	ctx, cancel := context.WithCancel(bg)
	go func() { <-g.reached; cancel() }()
	_, err := EstablishContext(ScopeSystem, WithBackend(f), WithContext(ctx))
	requireCode(t, err, opEstablishContext, ErrCancelled)
	require.ErrorIs(t, err, context.Canceled)
	close(g.open)
	require.Eventually(t, func() bool { return f.count("ReleaseContext") == 1 }, patience, time.Millisecond)
	f.requireNothingOpen()
}

// Connecting is given up; what comes of it is disconnected, and the card left as it is.
func TestAbandonedConnect(t *testing.T) {
	f := newFake(t)
	c := f.open()
	g := newGate()
	f.connect = func(string) (uint32, winscard.Code) { g.pass(); return 2, winscard.Success }
	ctx := newExpiring()
	go func() { <-g.reached; ctx.expire() }()
	_, err := c.Connect(ctx, "Reader 0", ShareShared, ProtocolAny)
	e := requireCode(t, err, opConnect, ErrTimeout)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, "Reader 0", e.Reader)
	close(g.open)
	require.Eventually(t, func() bool { return f.count("Disconnect") == 1 }, patience, time.Millisecond)
	require.Contains(t, f.calls(), "Disconnect 0")
	require.NoError(t, c.Close())
}

// The context is closed while a card is being connected.
func TestCloseDuringConnect(t *testing.T) {
	f := newFake(t)
	c := f.open()
	g := newGate()
	f.connect = func(string) (uint32, winscard.Code) { g.pass(); return 2, winscard.Success }
	connected := make(chan error, 1)
	go func() { connected <- second(c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)) }()
	<-g.reached
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	require.Eventually(t, func() bool { return c.IsValid() != nil }, patience, time.Millisecond)
	close(g.open)
	requireCode(t, <-connected, opConnect, ErrInvalidHandle)
	require.NoError(t, <-closed)
	f.requireNothingOpen()
}

func TestConnectError(t *testing.T) {
	f := newFake(t)
	c := f.open()
	f.connect = func(string) (uint32, winscard.Code) { return 0, winscard.ErrNoSmartcard }
	for _, ctx := range []context.Context{bg, cancellable(t)} {
		_, err := c.Connect(ctx, "Reader 0", ShareShared, ProtocolAny)
		e := requireCode(t, err, opConnect, ErrNoSmartcard)
		require.Equal(t, "Reader 0", e.Reader)
	}
}

func TestCallBothAtOnce(t *testing.T) {
	// The call ends and its context does too: one of them decides, and a result is never lost.
	for range 2000 {
		ctx, cancel := context.WithCancel(bg)
		var late, after sync.WaitGroup
		after.Add(1)
		got := 0
		late.Add(1)
		go cancel()
		v, ok := call(ctx, func() int { return 1 }, func(v int) { got = v; late.Done() }, after.Done)
		if ok {
			require.Equal(t, 1, v)
		} else {
			late.Wait()
			require.Equal(t, 1, got)
		}
		after.Wait()
		cancel()
	}
}

func TestServiceGone(t *testing.T) {
	f := newFake(t)
	c := f.open()
	f.listReaders = func([]string, []byte) (int, winscard.Code) { return 0, winscard.ErrServiceStopped }
	_, err := c.ListReaders(bg)
	requireCode(t, err, opListReaders, ErrServiceStopped)
	require.False(t, errors.Is(err, context.Canceled))
}

// A Context lives on after a restart of the service: what is left of native contexts from before is dropped, and a call
// that finds one begins again, once. Nothing is tried again when the service is gone.
func TestServiceRestart(t *testing.T) {
	f := newFake(t)
	c := f.open()
	_, err := c.ListReaders(bg)
	require.NoError(t, err)
	stale := map[winscard.Context]bool{}
	f.mu.Lock()
	for h := range f.contexts {
		stale[h] = true
	}
	f.mu.Unlock()
	require.Len(t, stale, 1)
	calls := 0
	f.connect = func(string) (uint32, winscard.Code) {
		if calls++; calls == 1 {
			return 0, winscard.ErrServiceStopped
		}
		return 2, winscard.Success
	}
	card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(t, err)
	require.Equal(t, 2, calls)
	require.Equal(t, 2, f.count("EstablishContext"))
	f.mu.Lock()
	for h := range f.contexts {
		require.NotContains(t, stale, h)
	}
	f.mu.Unlock()

	f.connect = func(string) (uint32, winscard.Code) { calls++; return 0, winscard.ErrServiceStopped }
	calls = 0
	_, err = c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	requireCode(t, err, opConnect, ErrServiceStopped)
	require.Equal(t, 1, calls, "the native context was new")
	require.NoError(t, card.Close())
}

// Every card has a native context of its own, and so has a call while a card is connected.
func TestNativeContexts(t *testing.T) {
	f := newFake(t)
	c, one := f.card()
	require.Equal(t, 1, f.count("EstablishContext"), "a program that does one thing at a time has one")
	two, err := c.Connect(bg, "Reader 1", ShareShared, ProtocolAny)
	require.NoError(t, err)
	require.NotEqual(t, one.s.native, two.s.native)
	require.NoError(t, c.IsValid())
	require.Equal(t, 3, f.count("EstablishContext"))
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	for range 10 {
		card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
		require.NoError(t, err)
		require.NoError(t, card.Close())
	}
	require.Equal(t, 3, f.count("EstablishContext"), "they are used again")
}
