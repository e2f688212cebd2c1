package pcsc

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// cardState is what a Card and its transactions are about. It must refer to neither, nor to the Context: they would
// never be collected.
//
// A native call is made by whoever holds the lock. Where its context can end, a goroutine makes it on memory of the
// card; if the context ends first, that goroutine gets the lock, and frees it when the call is over.
type cardState struct {
	context *contextState
	backend winscard.Backend
	native  winscard.Context // leased for the card alone
	handle  winscard.Card
	reader  string

	protocol atomic.Uint32 // active; written under the lock
	closing  atomic.Bool   // close was called: whoever gets the lock now finds the card closed
	ending   ending        // of CloseContext
	lock     lock
	gate     lock // held from before SCardBeginTransaction until the transaction is over; taken before lock

	// Under the lock.
	closed bool
	wanted terms  // of the last Connect or Reconnect that succeeded
	tx     uint64 // the running transaction, or 0
	lastTx uint64
	call   nativeCall
	send   []byte // for input that a background call works on
	recv   []byte // for responses; only what came is copied out of it
}

// terms are what a program asks of a connection.
type terms struct {
	share     ShareMode
	protocols Protocol
}

// nativeCall is the one call that a card has under way: what goes in and what comes out. It lies in the card, so a
// call needs no closure.
type nativeCall struct {
	arg  uint32 // protocol, control code or attribute
	in   []byte
	out  []byte
	n    int
	rc   winscard.Code
	need int

	decided atomic.Bool   // by the call's end or by its context's, whichever is first
	back    chan struct{} // the call's end was first
}

func newCardState(s *contextState, native winscard.Context, handle winscard.Card, reader string, protocol uint32) *cardState {
	card := &cardState{
		context: s,
		backend: s.backend,
		native:  native,
		handle:  handle,
		reader:  reader,
		call:    nativeCall{back: make(chan struct{}, 1)},
	}
	card.protocol.Store(protocol)
	return card
}

// add registers the card with its context. It says false if the context is closed: then the card will not be closed
// with it.
func (s *contextState) add(card *cardState) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.cards[card] = struct{}{}
	return true
}

// target is a cardState as its Card (tx is 0) or as one of its transactions sees it.
type target struct {
	*cardState
	tx uint64
}

// acquire locks the card for a native call.
func (t target) acquire(ctx context.Context, op string) error {
	s := t.cardState
	if s == nil {
		return invalidUse(op, "", "use of a nil or zero Card or Transaction")
	}
	if err := checkContext(ctx, op, s.reader); err != nil {
		return err
	}
	if !s.lock.acquire(ctx.Done()) {
		return endedError(ctx, op, s.reader, "another call on the card is under way")
	}
	switch {
	case s.closed || s.closing.Load():
		s.lock.release()
		return invalidUse(op, s.reader, "use of a closed Card")
	case t.tx != 0 && t.tx != s.tx:
		s.lock.release()
		return invalidUse(op, s.reader, "use of an ended Transaction")
	}
	return nil
}

// own returns in for use by run: in itself if the call ends before the method returns, else a copy.
func (s *cardState) own(ctx context.Context, in []byte) []byte {
	if ctx.Done() == nil {
		return in
	}
	s.send = append(s.send[:0], in...)
	return s.send
}

// response returns the first n bytes of the response buffer.
func (s *cardState) response(n int) []byte {
	if s.recv == nil {
		s.recv = make([]byte, winscard.MaxBufferSizeExtended)
	}
	return s.recv[:n]
}

// forget clears what a call leaves in the card's memory: commands hold PINs, and responses what they protect.
func (s *cardState) forget() {
	clear(s.send)
	s.send = s.send[:0]
	k := &s.call
	if k.rc == winscard.Success && k.n >= 0 && k.n <= len(k.out) {
		clear(k.out[:k.n])
	} else {
		clear(k.out) // who knows what was written
	}
	k.in, k.out = nil, nil
}

// run makes the native call do, in the background if ctx can end. It needs the lock. When it returns an error, ctx
// has ended first and the lock is the background's, which calls late with the outcome, if late is not nil.
func (s *cardState) run(ctx context.Context, op string, do, late func(*cardState)) error {
	if ctx.Done() == nil {
		s.make(do)
		return nil
	}
	k := &s.call
	k.decided.Store(false)
	go s.background(do, late)
	select {
	case <-k.back:
		return nil
	case <-ctx.Done():
		if k.decided.CompareAndSwap(false, true) {
			return endedError(ctx, op, s.reader, lateDetail+" and may still take effect")
		}
		<-k.back // both at once: what was achieved counts
		return nil
	}
}

// make makes the native call do.
func (s *cardState) make(do func(*cardState)) {
	do(s)
	if s.call.rc == winscard.ErrInvalidValue {
		s.call.rc = s.whyRefused(s.call.rc)
	}
}

func (s *cardState) background(do, late func(*cardState)) {
	s.make(do)
	if s.call.decided.CompareAndSwap(false, true) {
		s.call.back <- struct{}{}
		return
	}
	if late != nil {
		late(s)
	}
	s.forget()
	s.lock.release()
}

// finishCall ends a call that was not given up: it frees the lock.
func (s *cardState) finishCall() {
	s.forget()
	s.lock.release()
	turn()
}

// failed is the error for the code rc.
func (s *cardState) failed(op string, rc winscard.Code) *Error {
	return &Error{Op: op, Reader: s.reader, Code: rc}
}

// refuse is the error of a call that is not made.
func (s *cardState) refuse(op string, code Code, detail string) *Error {
	return &Error{Op: op, Reader: s.reader, Code: code, Detail: detail}
}

// exchange makes a call that sends in and fills a buffer: prepare checks the call and says how it goes; do is the call
// itself. What comes is appended to dst.
func (t target) exchange(ctx context.Context, op string, dst, in []byte,
	prepare func(s *cardState, in []byte) *Error, arg uint32, do func(*cardState),
) ([]byte, error) {
	if err := t.acquire(ctx, op); err != nil {
		return dst, err
	}
	s := t.cardState
	k := &s.call
	k.arg, k.n, k.need, k.rc = arg, 0, 0, winscard.ErrInternalError
	if prepare != nil {
		if err := prepare(s, in); err != nil {
			s.lock.release()
			return dst, err
		}
	}
	k.in = s.own(ctx, in)
	k.out = s.response(winscard.MaxBufferSizeExtended)
	if err := s.run(ctx, op, do, nil); err != nil {
		return dst, err
	}
	if k.rc == winscard.Success && (k.n < 0 || k.n > len(k.out)) {
		k.rc = winscard.ErrInternalError // a backend that breaks its contract
	}
	var err error
	if k.rc == winscard.Success {
		dst = append(dst, k.out[:k.n]...)
	} else {
		e := s.failed(op, k.rc)
		if means(k.rc, winscard.ErrInsufficientBuffer) {
			if e.Needed = k.need; k.n > len(k.out) {
				e.Needed = k.n
			}
		}
		err = e
	}
	s.finishCall()
	return dst, err
}

// do makes a call that needs no more than the handle and perhaps input.
func (t target) do(ctx context.Context, op string, in []byte, f func(winscard.Backend, winscard.Card, []byte) winscard.Code) error {
	if err := t.acquire(ctx, op); err != nil {
		return err
	}
	s := t.cardState
	s.call.in = s.own(ctx, in)
	err := s.run(ctx, op, func(s *cardState) { s.call.rc = f(s.backend, s.handle, s.call.in) }, nil)
	if err != nil {
		return err
	}
	rc := s.call.rc
	s.finishCall()
	if rc != winscard.Success {
		return s.failed(op, rc)
	}
	return nil
}

// cardCall is do for a call that gives something.
func cardCall[T any](ctx context.Context, t target, op string, in []byte,
	f func(winscard.Backend, winscard.Card, []byte) (T, winscard.Code),
) (T, error) {
	var result, none T
	err := t.do(ctx, op, in, func(b winscard.Backend, h winscard.Card, in []byte) (rc winscard.Code) {
		result, rc = f(b, h, in)
		return rc
	})
	if err != nil { // a call that goes on in the background may be writing to result
		return none, err
	}
	return result, nil
}

// disconnect is [Card.Disconnect]. It says whether the card is closed now.
func (t target) disconnect(disposition Disposition) (closed bool, err error) {
	if err := t.acquire(context.Background(), opDisconnect); err != nil {
		return false, err
	}
	s := t.cardState
	defer s.lock.release()
	if disposition > EjectCard {
		return false, s.refuse(opDisconnect, ErrInvalidValue, "no such disposition")
	}
	rc := s.backend.Disconnect(s.handle, uint32(disposition))
	closed = !means(rc, winscard.ErrSharingViolation) // with it the handle lives on, and the caller can try again
	if closed {
		s.finish(rc)
	}
	if rc != winscard.Success {
		return closed, s.failed(opDisconnect, rc)
	}
	return closed, nil
}

// close disconnects the card for good. It says false when the card is closed already.
func (s *cardState) close(disposition Disposition) (first bool, err error) {
	s.closing.Store(true)
	s.lock.acquire(nil)
	defer s.lock.release()
	if s.closed {
		return false, nil
	}
	rc := s.backend.Disconnect(s.handle, uint32(disposition))
	// A card is not reset under another program's transaction. libpcsclite waits for its end; others, and libpcsclite
	// if told so by PCSCLITE_NO_BLOCKING, refuse.
	start := time.Now()
	for pause := cancelFirst; means(rc, winscard.ErrSharingViolation) && time.Since(start) < closePatience; {
		time.Sleep(pause)
		pause = min(2*pause, cancelLast)
		rc = s.backend.Disconnect(s.handle, uint32(disposition))
	}
	var e *Error
	if rc != winscard.Success {
		e = s.failed(opDisconnect, rc)
	}
	if means(rc, winscard.ErrSharingViolation) {
		e.Detail = "another program's transaction is under way: disconnected without resetting the card"
		s.backend.Disconnect(s.handle, uint32(winscard.LeaveCard))
	}
	s.finish(rc)
	if e != nil {
		return true, e
	}
	return true, nil
}

// closePatience is how long close waits for another program's transaction to end.
const closePatience = time.Second

// finish makes the card closed. rc is what the disconnecting gave. It needs the lock.
func (s *cardState) finish(rc winscard.Code) {
	s.closed = true
	s.endTransaction()
	s.forget()
	s.send, s.recv = nil, nil
	if rc != winscard.Success && !serviceGone(rc) {
		rc = winscard.ErrInternalError // not to be used again: its release is what frees the handle
	}
	s.context.giveBack(s.native, rc)
	s.context.mu.Lock()
	delete(s.context.cards, s)
	s.context.mu.Unlock()
}

// endTransaction opens the gate for the next transaction. It needs the lock. If the card is closed, those who wait for
// a transaction find that out one after the other.
func (s *cardState) endTransaction() {
	if s.tx != 0 {
		s.tx = 0
		s.gate.release()
	}
}
