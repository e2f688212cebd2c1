package pcsc

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A Context is a connection to the smart card service. It is made by [EstablishContext] and is safe for use by many
// goroutines at once.
//
// Nothing that is done with it holds up anything else: every card, every wait and every other call has a native
// context of its own while it lasts. pcsc-lite serves the calls of one native context one after the other, waits
// included, so that on a shared one a slow card would stop all others, and a card that waits for the end of a
// transaction would stop the very call that ends it. Native contexts are made when there are not enough, and a few are
// kept for further use; a program that does one thing at a time has one.
//
// A Context survives a restart of the service: calls fail while it is down, and work again afterwards.
// Cards have to be connected again.
type Context struct {
	_       noCopy
	s       *contextState
	cleanup runtime.Cleanup
}

// contextState is what a Context is about. It must not refer to the Context, which would then never be collected.
type contextState struct {
	backend winscard.Backend
	scope   uint32
	closing lock   // held by close; not a sync.Once, for which a testing/synctest bubble's time stands still
	shut    bool   // by close
	ending  ending // of CloseContext

	mu     sync.Mutex
	closed bool
	calls  int           // of the Context itself, under way
	idling chan struct{} // made by shutdown, closed when calls is 0
	cards  map[*cardState]struct{}
	waits  map[*wait]struct{}
	idle   []winscard.Context // native contexts that nothing uses now
}

// EstablishContext connects to the smart card service. It is the equivalent of SCardEstablishContext ([pcsc-lite],
// [Windows]).
//
// Use [ScopeSystem] unless there is a reason not to: pcsc-lite treats all scopes alike, on Windows [ScopeUser] is
// common too. The call does not block for long, but a service that hangs can hold it; see [WithContext].
//
// The library is loaded by the first call. Where that fails the error is [ErrUnavailable] and its Detail says why and
// what to install. [ErrNoService] says that the service is not running.
//
// The Context must be closed with [Context.Close]; one that is forgotten is closed some time after it became
// unreachable.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardestablishcontext
func EstablishContext(scope Scope, opts ...Option) (*Context, error) {
	o := options{ctx: context.Background()}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if err := checkContext(o.ctx, opEstablishContext, ""); err != nil {
		return nil, err
	}
	b, err := o.open()
	if err != nil {
		return nil, err
	}
	type result struct {
		handle winscard.Context
		rc     winscard.Code
	}
	r, ok := call(o.ctx, func() (r result) {
		r.handle, r.rc = b.EstablishContext(uint32(scope))
		return r
	}, func(r result) {
		if r.rc == winscard.Success {
			b.ReleaseContext(r.handle)
		}
	}, nil)
	if !ok {
		return nil, endedError(o.ctx, opEstablishContext, "", lateDetail)
	}
	if r.rc != winscard.Success {
		return nil, &Error{Op: opEstablishContext, Code: r.rc}
	}
	c := &Context{s: &contextState{
		backend: b,
		scope:   uint32(scope),
		idle:    []winscard.Context{r.handle},
		cards:   make(map[*cardState]struct{}),
		waits:   make(map[*wait]struct{}),
	}}
	// In a goroutine, as native calls block and the runtime's cleanups must not.
	c.cleanup = runtime.AddCleanup(c, func(s *contextState) { go s.close() }, c.s)
	return c, nil
}

// Release disconnects the context's cards, ends its waits and releases it. It is the equivalent of
// SCardReleaseContext ([pcsc-lite], [Windows]), and like it says [ErrInvalidHandle] the second time.
//
// Cards are reset, as [Card.Close] does. Release blocks while a native call of the context is under way. Whatever it
// returns, the context is closed.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardreleasecontext
func (c *Context) Release() error {
	if c == nil || c.s == nil {
		return invalidUse(opReleaseContext, "", zeroContext)
	}
	first, rc := c.s.close()
	c.cleanup.Stop()
	runtime.KeepAlive(c)
	switch {
	case !first:
		return invalidUse(opReleaseContext, "", closedContext)
	case rc != winscard.Success:
		return &Error{Op: opReleaseContext, Code: rc}
	}
	return nil
}

// Close is [Context.Release], except that closing again is no error: it waits until the first Close or Release is
// over and returns nil.
func (c *Context) Close() error {
	if c == nil || c.s == nil {
		return invalidUse(opReleaseContext, "", zeroContext)
	}
	_, rc := c.s.close()
	c.cleanup.Stop()
	runtime.KeepAlive(c)
	if rc != winscard.Success {
		return &Error{Op: opReleaseContext, Code: rc}
	}
	return nil
}

// CloseContext is [Context.Close] that does not wait longer than ctx. If ctx ends first, or has ended, what is left to
// do is done in the background, as soon as the native calls that are under way are over, and the error is ctx's.
//
// Whatever it returns, the context is closed, and with it its cards and waits. Close can still wait for the end of what
// goes on. A program that ends meanwhile leaves it to the service, which cleans up after it.
func (c *Context) CloseContext(ctx context.Context) error {
	if c == nil || c.s == nil {
		return invalidUse(opReleaseContext, "", zeroContext)
	}
	if ctx == nil {
		return checkContext(ctx, opReleaseContext, "")
	}
	c.s.refuse()
	c.cleanup.Stop()
	over, err := c.s.ending.within(ctx, c.Close)
	if !over {
		return endedError(ctx, opReleaseContext, "", lateClose)
	}
	return err
}

// IsValid says, with a nil error, whether the context can be used. It is the equivalent of SCardIsValidContext
// ([pcsc-lite], [Windows]). On pcsc-lite the answer comes from the library, which may not have noticed yet that the
// service is gone.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardisvalidcontext
func (c *Context) IsValid() error {
	return c.do(context.Background(), opIsValidContext, "", func(b winscard.Backend, h winscard.Context) winscard.Code {
		return b.IsValidContext(h)
	})
}

// close closes everything and says whether it was the first to do so; else it waits for the first to be through.
func (s *contextState) close() (first bool, rc winscard.Code) {
	s.closing.acquire(nil)
	defer s.closing.release()
	if s.shut {
		return false, winscard.Success
	}
	s.shut = true
	return true, s.shutdown()
}

// refuse makes the context take no further calls.
func (s *contextState) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for card := range s.cards {
		card.closing.Store(true)
	}
}

// shutdown closes everything in the order in which the native library wants it: waits, cards, contexts.
func (s *contextState) shutdown() winscard.Code {
	s.mu.Lock()
	s.closed = true
	waits := make([]*wait, 0, len(s.waits))
	for w := range s.waits {
		w.cancelLocked(endedByClose)
		waits = append(waits, w)
	}
	cards := make([]*cardState, 0, len(s.cards))
	for card := range s.cards {
		cards = append(cards, card)
	}
	// Not a WaitGroup: a cleanup can't wait for one that was used in a testing/synctest bubble.
	if s.calls > 0 {
		s.idling = make(chan struct{})
	}
	idling := s.idling
	s.mu.Unlock()

	// All at once: one card's reset may wait for the end of another's transaction.
	var closing sync.WaitGroup
	for _, card := range cards {
		closing.Go(func() { card.close(winscard.ResetCard) })
	}
	closing.Wait()
	late := time.NewTimer(cancelPatience)
	defer late.Stop()
	for _, w := range waits {
		select {
		case <-w.gone:
		case <-late.C:
			late.Reset(0) // for the others; each releases its native context when it is back
		}
	}
	if idling != nil {
		<-idling
	}
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	result := winscard.Success
	for _, handle := range idle {
		if rc := s.backend.ReleaseContext(handle); result == winscard.Success {
			result = rc
		}
	}
	return result
}

// maxIdle is how many native contexts are kept for further use.
const maxIdle = 4

// lease returns a native context that nothing else uses until it is given back, and whether it was made for that.
func (s *contextState) lease() (h winscard.Context, fresh bool, rc winscard.Code) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		h = s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return h, false, winscard.Success
	}
	s.mu.Unlock()
	h, rc = s.backend.EstablishContext(s.scope)
	return h, true, rc
}

// giveBack ends a lease after a call that ended with rc. The native context is kept for another, unless the call was
// cancelled or the service may be gone.
func (s *contextState) giveBack(h winscard.Context, rc winscard.Code) {
	var release []winscard.Context
	s.mu.Lock()
	switch {
	case serviceGone(rc): // then the idle ones are no better
		release = append(s.idle, h)
		s.idle = nil
	case healthy(rc) && !s.closed && len(s.idle) < maxIdle:
		s.idle = append(s.idle, h)
	default:
		release = []winscard.Context{h}
	}
	s.mu.Unlock()
	for _, h := range release {
		s.backend.ReleaseContext(h)
	}
}

func (s *contextState) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// serviceGone says whether rc means that the service knows the native context no more: it was stopped, or started anew.
func serviceGone(rc winscard.Code) bool {
	switch rc {
	case winscard.ErrNoService, winscard.ErrServiceStopped, winscard.ErrCommError, winscard.ErrWinBrokenPipe,
		winscard.ErrSecurityViolation: // libpcsclite's for a connection that was reset: a service that was killed
		return true
	}
	return means(rc, winscard.ErrInvalidHandle) || means(rc, winscard.ErrNoService)
}

// healthy says whether a native context can be used again after a call on it ended with rc. A code that is not known
// to say something about the reader, the card or the arguments alone may mean that the service is gone, and the native
// context with it.
func healthy(rc winscard.Code) bool {
	switch rc {
	case winscard.Success, winscard.ErrTimeout, winscard.ErrUnknownReader, winscard.ErrInvalidParameter,
		winscard.ErrInvalidValue, winscard.ErrInsufficientBuffer, winscard.ErrNoSmartcard, winscard.ErrSharingViolation,
		winscard.ErrProtoMismatch, winscard.ErrNotReady, winscard.ErrReaderUnavailable, winscard.ErrUnresponsiveCard,
		winscard.ErrUnpoweredCard, winscard.ErrUnsupportedCard, winscard.ErrRemovedCard, winscard.ErrResetCard,
		winscard.ErrUnsupportedFeature, winscard.ErrUnsupportedFunction:
		return true
	}
	return false
}

// enter counts a call, which a close waits for until leave.
func (c *Context) enter(ctx context.Context, op, reader string) (*contextState, error) {
	if c == nil || c.s == nil {
		return nil, invalidUse(op, reader, zeroContext)
	}
	if err := checkContext(ctx, op, reader); err != nil {
		return nil, err
	}
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, invalidUse(op, reader, closedContext)
	}
	s.calls++
	return s, nil
}

func (s *contextState) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if s.calls == 0 && s.idling != nil {
		close(s.idling)
	}
}

const (
	closedContext = "use of a closed Context"
	zeroContext   = "use of a nil or zero Context: make one with EstablishContext"
)

// noCopy makes go vet report copies of what must not be copied: the original would be collected, and closed, while
// the copy is in use.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
