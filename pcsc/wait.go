package pcsc

import (
	"context"
	"runtime"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

const (
	// SCardCancel is lost when it comes just before the wait begins, so it is repeated until the wait is over.
	cancelFirst    = time.Millisecond
	cancelLast     = 50 * time.Millisecond
	cancelPatience = time.Second // then the caller is let go and the wait left to itself

	// maxNativeWait is the longest timeout given to a native call, in milliseconds: pcsc-lite calculates in a C long.
	// The largest value means for ever.
	maxNativeWait = 1<<31 - 1
)

// GetStatusChange waits until the state of a reader differs from what its CurrentState says, however long it takes,
// and updates all of states in place. It is the equivalent of SCardGetStatusChange ([pcsc-lite], [Windows]) without a
// timeout.
//
// It returns at once if a CurrentState is StateUnaware or already out of date, and for an empty list. After a return
// without an error call [ReaderState.SyncCurrentState] on each state before waiting again. Readers that arrive and
// leave are changes of the pseudo reader [PnPNotification].
//
// The wait ends early when ctx ends; the error then wraps ctx's. [Context.Cancel] ends it with [ErrCancelled], and so
// does closing the Context. A reader that does not exist is [ErrUnknownReader] or StateUnknown, by platform. An error
// leaves states as they were.
//
// Any number of waits can run at once, beside all other calls.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardgetstatuschangew
func (c *Context) GetStatusChange(ctx context.Context, states []ReaderState) error {
	return c.GetStatusChangeTimeout(ctx, -1, states)
}

// GetStatusChangeTimeout is [Context.GetStatusChange] that waits no longer than timeout, in steps of a millisecond,
// rounded up. Zero does not wait at all; less than zero waits for ever. After that time the error is [ErrTimeout],
// which is also context.DeadlineExceeded, and the states are up to date.
func (c *Context) GetStatusChangeTimeout(ctx context.Context, timeout time.Duration, states []ReaderState) error {
	defer runtime.KeepAlive(c)
	s, err := c.enter(ctx, opGetStatusChange, "")
	if err != nil {
		return err
	}
	s.leave() // a wait is ended by a close, not waited for; the call below enters again
	if len(states) == 0 {
		return nil // platforms differ: some wait for ever
	}
	for i := range states {
		if states[i].Reader == "" { // pcsc-lite takes it for an unused slot, which is always as it was
			return &Error{Op: opGetStatusChange, Code: winscard.ErrUnknownReader, Detail: "the name of a reader is empty"}
		}
	}
	list := nativeStates(states)
	if timeout == 0 {
		_, err := contextCall(ctx, c, opGetStatusChange, "", false,
			func(b winscard.Backend, h winscard.Context) (struct{}, winscard.Code) {
				return struct{}{}, b.GetStatusChange(h, 0, list)
			}, nil)
		e, failed := err.(*Error)
		if !failed || e.Code == ErrTimeout && e.cause == nil {
			updateStates(states, list)
		}
		return err
	}
	rc, err := s.wait(ctx, milliseconds(timeout), list)
	if rc == winscard.Success || rc == winscard.ErrTimeout {
		updateStates(states, list)
	}
	return err
}

// Cancel ends all waits of the context that are under way in other goroutines, with [ErrCancelled]. It is the
// equivalent of SCardCancel ([pcsc-lite], [Windows]), except that it reliably ends a wait that has only just begun.
// It does not block, and does nothing if there is no wait. To end one wait alone, end its context.Context.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardcancel
func (c *Context) Cancel() error {
	defer runtime.KeepAlive(c)
	s, err := c.enter(context.Background(), opCancel, "")
	if err != nil {
		return err
	}
	defer s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.waits {
		w.cancelLocked(endedByCancel)
	}
	return nil
}

// milliseconds is d rounded up; less than zero stands for ever.
func milliseconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond != 0 {
		ms++
	}
	return ms
}

// wait is one wait on a native context of its own. libpcsclite locks a context while it waits, so other calls on it
// would hang behind the wait, and SCardCancel ends all waits of a context, so waits that share one would end together.
type wait struct {
	s      *contextState
	states []winscard.ReaderState

	// Under s.mu.
	ended   ended            // why the wait was cancelled
	handle  winscard.Context // if opened
	opened  bool
	waiting bool // the native wait has begun or is about to

	stop chan struct{} // closed when the wait is cancelled
	done chan struct{} // closed when the native call is back; op and rc can then be read
	gone chan struct{} // closed when the native context has been given back or released

	op string
	rc winscard.Code
}

// ended is why a wait was cancelled.
type ended uint8

const (
	notEnded ended = iota
	endedByContext
	endedByCancel
	endedByClose
)

// wait waits for at most ms milliseconds and writes to list. list holds the outcome if the returned code is Success
// or ErrTimeout; otherwise the wait may still be writing to it.
func (s *contextState) wait(ctx context.Context, ms int64, list []winscard.ReaderState) (winscard.Code, error) {
	w := &wait{
		s:      s,
		states: list,
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
		gone:   make(chan struct{}),
		op:     opGetStatusChange,
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return winscard.ErrInvalidHandle, invalidUse(opGetStatusChange, "", closedContext)
	}
	s.waits[w] = struct{}{}
	s.mu.Unlock()
	go w.run(ms)

	select {
	case <-w.done:
		return w.outcome(ctx)
	case <-w.stop:
	case <-ctx.Done():
		s.mu.Lock()
		w.cancelLocked(endedByContext)
		s.mu.Unlock()
	}
	patience := time.NewTimer(cancelPatience)
	defer patience.Stop()
	select {
	case <-w.done:
		return w.outcome(ctx)
	case <-patience.C:
		return winscard.ErrCancelled, w.failed(ctx, winscard.ErrCancelled,
			"the service did not end the wait, which goes on in the background")
	}
}

// outcome is the result of a wait that is done.
func (w *wait) outcome(ctx context.Context) (winscard.Code, error) {
	if w.rc == winscard.Success {
		return w.rc, nil
	}
	return w.rc, w.failed(ctx, w.rc, "")
}

// failed is the error for the native code rc.
func (w *wait) failed(ctx context.Context, rc winscard.Code, detail string) error {
	w.s.mu.Lock()
	why := w.ended
	w.s.mu.Unlock()
	e := &Error{Op: opGetStatusChange, Code: rc, Detail: detail}
	switch why {
	case endedByContext:
		e = endedError(ctx, opGetStatusChange, "", detail)
		if rc != winscard.ErrCancelled && rc != winscard.ErrTimeout {
			e.Code = rc // not because of the cancelling, and worth knowing
		}
	case endedByClose:
		if detail == "" {
			e.Detail = "the Context was closed"
		}
	}
	// A wait that was given up is still running: its op is not to be read.
	select {
	case <-w.done:
		e.Op = w.op
	default:
	}
	return e
}

// run is the wait's goroutine.
func (w *wait) run(ms int64) {
	w.op, w.rc = w.native(ms)
	w.s.mu.Lock()
	cancelling := w.waiting && w.ended != notEnded
	w.waiting = false // from here on nobody sends SCardCancel
	w.s.mu.Unlock()
	switch {
	case cancelling:
		close(w.done) // cancel finishes, after its last SCardCancel
	case healthy(w.rc):
		w.finish(w.rc) // before the method returns, so that its caller's next call finds the native context
		close(w.done)
	default:
		close(w.done)
		w.finish(w.rc)
	}
}

// native leases a native context and waits on it. One from before a restart of the service is exchanged for a new one.
func (w *wait) native(ms int64) (op string, rc winscard.Code) {
	for {
		handle, fresh, rc := w.s.lease()
		if rc != winscard.Success {
			return opEstablishContext, rc
		}
		rc = w.on(handle, ms)
		if fresh || !serviceGone(rc) || !w.detach() {
			return opGetStatusChange, rc
		}
		w.s.giveBack(handle, rc)
	}
}

// detach takes the native context from the wait, so that nobody sends SCardCancel to it. It says false if the wait has
// been cancelled.
func (w *wait) detach() bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.ended != notEnded {
		return false
	}
	w.opened, w.waiting = false, false
	return true
}

// on waits on a native context.
func (w *wait) on(handle winscard.Context, ms int64) (rc winscard.Code) {
	s := w.s
	s.mu.Lock()
	w.handle, w.opened = handle, true
	cancelled := w.ended != notEnded
	w.waiting = !cancelled
	s.mu.Unlock()
	for !cancelled {
		part := uint32(winscard.Infinite)
		if ms >= 0 {
			part = uint32(min(ms, maxNativeWait))
			ms -= int64(part)
		}
		rc = s.backend.GetStatusChange(handle, part, w.states)
		if rc != winscard.ErrTimeout || ms <= 0 {
			return rc
		}
		s.mu.Lock()
		cancelled = w.ended != notEnded
		s.mu.Unlock()
	}
	return winscard.ErrCancelled
}

// cancelLocked cancels the wait, unless it already is.
func (w *wait) cancelLocked(why ended) {
	if w.ended != notEnded {
		return
	}
	select {
	case <-w.done:
		return
	default:
	}
	w.ended = why
	close(w.stop)
	if w.waiting {
		go w.cancel()
	}
}

// cancel sends SCardCancel until the wait is over, and then finishes it. The native context is released, not used
// again: on Windows a cancellation that came late could end the next wait.
func (w *wait) cancel() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for next := cancelFirst; ; next = min(2*next, cancelLast) {
		select {
		case <-w.done:
			w.finish(winscard.ErrCancelled)
			return
		case <-pause.C:
		}
		w.s.backend.Cancel(w.handle)
		pause.Reset(next)
	}
}

// finish gives the native context back. No SCardCancel can be under way. rc is how the wait ended.
func (w *wait) finish(rc winscard.Code) {
	s := w.s
	if w.opened {
		s.giveBack(w.handle, rc)
	}
	s.mu.Lock()
	delete(s.waits, w)
	s.mu.Unlock()
	close(w.gone)
}
