package pcsc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// patience is how long anything may take that has to happen, on a machine under load.
const patience = 20 * time.Second

// cancellable is a context that can end and does not.
func cancellable(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(bg)
	t.Cleanup(cancel)
	return ctx
}

// ended is a context that has ended.
func endedContext() context.Context {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	return ctx
}

// expiring is a context whose deadline passes when expire is called, whatever the clock says: how long it takes until a
// call is under way, nobody knows.
type expiring struct {
	context.Context
	done chan struct{}
}

func newExpiring() *expiring { return &expiring{bg, make(chan struct{})} }

func (e *expiring) expire() { close(e.done) }

func (e *expiring) Done() <-chan struct{} { return e.done }

func (e *expiring) Err() error {
	select {
	case <-e.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// fake is a scriptable backend. It fails the test when a call is made on a handle that is not open, and when a handle
// is still open at the end.
type fake struct {
	winscard.Unimplemented
	t testing.TB

	mu       sync.Mutex
	last     uint64
	contexts map[winscard.Context]*fakeContext
	cards    map[winscard.Card]*fakeCard
	counts   map[string]int
	log      []string
	readers  []string
	present  map[string]bool
	lost     int           // cancels to lose
	event    chan struct{} // closed and replaced on a change

	// Scripts, in place of the default behaviour.
	establish      func() winscard.Code
	connect        func(reader string) (uint32, winscard.Code)
	transmit       func(send, recv []byte) (int, winscard.Code)
	control        func(code uint32, in, out []byte) (int, winscard.Code)
	getAttrib      func(id uint32, attr []byte) (int, winscard.Code)
	setAttrib      func(id uint32, attr []byte) winscard.Code
	begin          func() winscard.Code
	endTx          func(disposition uint32) winscard.Code
	disconnect     func(disposition uint32) winscard.Code
	disconnectCard func(winscard.Card)
	reconnect      func() (uint32, winscard.Code)
	reconnectAs    func(share, protocols, init uint32)
	status         func(readers, atr []byte) (int, uint32, uint32, int, winscard.Code)
	listReaders    func(groups []string, buf []byte) (int, winscard.Code)
	statusChange   func(ctx winscard.Context, timeout uint32, states []winscard.ReaderState) winscard.Code
	release        func() winscard.Code
}

type fakeContext struct {
	cancel  chan struct{}
	waiting bool
}

type fakeCard struct {
	context winscard.Context
	reader  string
	tx      int
}

func newFake(t testing.TB) *fake {
	f := &fake{
		t:        t,
		contexts: map[winscard.Context]*fakeContext{},
		cards:    map[winscard.Card]*fakeCard{},
		counts:   map[string]int{},
		readers:  []string{"Reader 0", "Léser 1"},
		present:  map[string]bool{"Reader 0": true},
		event:    make(chan struct{}),
	}
	return f
}

// open establishes a context that is closed when the test ends, and then looks for what was left open.
func (f *fake) open() *Context {
	f.t.Helper()
	c, err := EstablishContext(ScopeSystem, WithBackend(f))
	require.NoError(f.t, err)
	f.t.Cleanup(func() {
		_ = c.Close()
		f.requireNothingOpen()
	})
	return c
}

func (f *fake) card() (*Context, *Card) {
	f.t.Helper()
	c := f.open()
	card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(f.t, err)
	return c, card
}

func (f *fake) requireNothingOpen() {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.contexts) == 0 && len(f.cards) == 0
	}, patience, time.Millisecond, "handles left open")
}

func (f *fake) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[name]
}

// calls is the log of calls without those that ask.
func (f *fake) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

func (f *fake) called(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	name, _, _ := strings.Cut(line, " ")
	f.counts[name]++
	f.log = append(f.log, line)
}

// change makes waits return.
func (f *fake) change(reader string, present bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.present[reader] = present
	close(f.event)
	f.event = make(chan struct{})
}

func (f *fake) EstablishContext(scope uint32) (winscard.Context, winscard.Code) {
	f.mu.Lock()
	f.called("EstablishContext")
	script := f.establish
	f.mu.Unlock()
	if script != nil {
		if rc := script(); rc != winscard.Success {
			return 0, rc
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	h := winscard.Context(f.last)
	f.contexts[h] = &fakeContext{cancel: make(chan struct{}, 1)}
	return h, winscard.Success
}

func (f *fake) context(name string, h winscard.Context) *fakeContext {
	c := f.contexts[h]
	if c == nil {
		f.t.Errorf("%s on a context that is not open", name)
	}
	return c
}

func (f *fake) ReleaseContext(h winscard.Context) winscard.Code {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called("ReleaseContext %d", h)
	if c := f.context("ReleaseContext", h); c != nil && c.waiting {
		f.t.Errorf("ReleaseContext while a wait is under way")
	}
	for _, card := range f.cards {
		if card.context == h {
			f.t.Errorf("ReleaseContext with a card")
		}
	}
	delete(f.contexts, h)
	if f.release != nil {
		return f.release()
	}
	return winscard.Success
}

func (f *fake) IsValidContext(h winscard.Context) winscard.Code {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called("IsValidContext")
	f.context("IsValidContext", h)
	return winscard.Success
}

func (f *fake) ListReaders(h winscard.Context, groups []string, buf []byte) (int, winscard.Code) {
	f.mu.Lock()
	f.called("ListReaders %v", groups)
	f.context("ListReaders", h)
	script, readers := f.listReaders, f.readers
	f.mu.Unlock()
	if script != nil {
		return script(groups, buf)
	}
	if len(readers) == 0 {
		return 0, winscard.ErrNoReadersAvailable
	}
	return fillMulti(buf, readers)
}

func (f *fake) ListReaderGroups(h winscard.Context, buf []byte) (int, winscard.Code) {
	return fillMulti(buf, []string{"SCard$DefaultReaders"})
}

func fillMulti(buf []byte, list []string) (int, winscard.Code) {
	m, err := cstring.AppendMulti(nil, list)
	if err != nil {
		panic(err)
	}
	if len(m) > len(buf) {
		return len(m), winscard.ErrInsufficientBuffer
	}
	return copy(buf, m), winscard.Success
}

func (f *fake) GetStatusChange(h winscard.Context, timeout uint32, states []winscard.ReaderState) winscard.Code {
	f.mu.Lock()
	f.called("GetStatusChange %d", timeout)
	c := f.context("GetStatusChange", h)
	script := f.statusChange
	if c == nil {
		f.mu.Unlock()
		return winscard.ErrInvalidHandle
	}
	if c.waiting {
		f.t.Errorf("two waits on one native context")
	}
	c.waiting = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		c.waiting = false
		f.mu.Unlock()
	}()
	if script != nil {
		return script(h, timeout, states)
	}
	var after <-chan time.Time
	if timeout != winscard.Infinite {
		timer := time.NewTimer(time.Duration(timeout) * time.Millisecond)
		defer timer.Stop()
		after = timer.C
	}
	for {
		f.mu.Lock()
		changed := f.look(states)
		event := f.event
		f.mu.Unlock()
		if changed {
			return winscard.Success
		}
		if timeout == 0 {
			return winscard.ErrTimeout
		}
		select {
		case <-event:
		case <-c.cancel:
			return winscard.ErrCancelled
		case <-after:
			return winscard.ErrTimeout
		}
	}
}

func (f *fake) look(states []winscard.ReaderState) (changed bool) {
	for i := range states {
		s := &states[i]
		now := winscard.StateEmpty
		if f.present[s.Reader] {
			now = winscard.StatePresent | 7<<16
			s.ATRLen = uint32(copy(s.ATR[:], fakeATR))
		} // else the old ATR stays, as in pcsc-lite
		if winscard.State(s.CurrentState)&0xFFFF != now&0xFFFF {
			now |= winscard.StateChanged
			changed = true
		}
		s.EventState = uint32(now)
	}
	return changed
}

var fakeATR = []byte{0x3B, 0x80, 0x01, 0x81}

// Cancel is lost unless a wait is under way.
func (f *fake) Cancel(h winscard.Context) winscard.Code {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called("Cancel %d", h)
	c := f.context("Cancel", h)
	if f.lost > 0 {
		f.lost--
		return winscard.Success
	}
	if c != nil && c.waiting {
		select {
		case c.cancel <- struct{}{}:
		default:
		}
	}
	return winscard.Success
}

func (f *fake) Connect(h winscard.Context, reader string, share, protocols uint32) (winscard.Card, uint32, winscard.Code) {
	f.mu.Lock()
	f.called("Connect %s", reader)
	f.context("Connect", h)
	script := f.connect
	f.mu.Unlock()
	protocol := uint32(winscard.ProtocolT1)
	if script != nil {
		var rc winscard.Code
		if protocol, rc = script(reader); rc != winscard.Success {
			return 0, 0, rc
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	card := winscard.Card(f.last)
	f.cards[card] = &fakeCard{context: h, reader: reader}
	return card, protocol, winscard.Success
}

// onCard notes a call on a card.
func (f *fake) onCard(name string, h winscard.Card, args ...any) *fakeCard {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called("%s", strings.TrimSpace(name+" "+fmt.Sprint(args...)))
	c := f.cards[h]
	if c == nil {
		f.t.Errorf("%s on a card that is not open", name)
		c = &fakeCard{}
	}
	return c
}

func (f *fake) Disconnect(h winscard.Card, disposition uint32) winscard.Code {
	f.onCard("Disconnect", h, disposition)
	if f.disconnectCard != nil {
		f.disconnectCard(h)
	}
	if f.disconnect != nil {
		if rc := f.disconnect(disposition); rc == winscard.ErrSharingViolation {
			return rc
		} else if rc != winscard.Success {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.cards, h)
			return rc
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.cards, h)
	return winscard.Success
}

func (f *fake) Reconnect(h winscard.Card, share, protocols, init uint32) (uint32, winscard.Code) {
	f.onCard("Reconnect", h)
	if f.reconnectAs != nil {
		f.reconnectAs(share, protocols, init)
	}
	if f.reconnect != nil {
		return f.reconnect()
	}
	return uint32(winscard.ProtocolT0), winscard.Success
}

func (f *fake) BeginTransaction(h winscard.Card) winscard.Code {
	c := f.onCard("BeginTransaction", h)
	if f.begin != nil {
		if rc := f.begin(); rc != winscard.Success {
			return rc
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.tx++
	return winscard.Success
}

func (f *fake) EndTransaction(h winscard.Card, disposition uint32) winscard.Code {
	c := f.onCard("EndTransaction", h, disposition)
	f.mu.Lock()
	c.tx--
	f.mu.Unlock()
	if f.endTx != nil {
		return f.endTx(disposition)
	}
	return winscard.Success
}

func (f *fake) CancelTransaction(h winscard.Card) winscard.Code {
	f.onCard("CancelTransaction", h)
	return winscard.Success
}

// depth is the number of transactions of the only card.
func (f *fake) depth() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.cards {
		return c.tx
	}
	return 0
}

func (f *fake) Status(h winscard.Card, readers, atr []byte) (int, uint32, uint32, int, winscard.Code) {
	c := f.onCard("Status", h)
	if f.status != nil {
		return f.status(readers, atr)
	}
	n, rc := fillMulti(readers, []string{c.reader})
	return n, uint32(winscard.CardPresent|winscard.CardPowered) | 9<<16, uint32(winscard.ProtocolT1), copy(atr, fakeATR), rc
}

// Transmit keeps no log: it must not allocate.
func (f *fake) Transmit(h winscard.Card, pci uint32, send, recv []byte) (int, winscard.Code) {
	f.mu.Lock()
	f.counts["Transmit"]++
	if f.cards[h] == nil {
		f.t.Errorf("Transmit on a card that is not open")
	}
	f.mu.Unlock()
	if f.transmit != nil {
		return f.transmit(send, recv)
	}
	return copy(recv, fakeResponse), winscard.Success
}

var fakeResponse = []byte{0x01, 0x02, 0x90, 0x00}

func (f *fake) Control(h winscard.Card, code uint32, in, out []byte) (int, winscard.Code) {
	f.onCard("Control", h, code)
	if f.control != nil {
		return f.control(code, in, out)
	}
	return copy(out, in), winscard.Success
}

func (f *fake) GetAttrib(h winscard.Card, id uint32, attr []byte) (int, winscard.Code) {
	f.onCard("GetAttrib", h, len(attr))
	if f.getAttrib != nil {
		return f.getAttrib(id, attr)
	}
	return copy(attr, "attribute"), winscard.Success
}

func (f *fake) SetAttrib(h winscard.Card, id uint32, attr []byte) winscard.Code {
	f.onCard("SetAttrib", h)
	if f.setAttrib != nil {
		return f.setAttrib(id, attr)
	}
	return winscard.Success
}

// requireCode requires an *Error of the operation with the code.
func requireCode(t testing.TB, err error, op string, code Code) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, op, e.Op)
	require.Equal(t, code, e.Code, "%v", err)
	require.ErrorIs(t, err, code)
	return e
}

// gate lets a script block until it is opened, and says that it is there.
type gate struct {
	reached chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{reached: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) pass() {
	g.reached <- struct{}{}
	<-g.open
}

// nothingOpen says whether every native context has been released.
func (f *fake) nothingOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.contexts) == 0
}
