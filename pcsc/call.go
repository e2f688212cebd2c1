package pcsc

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A native call can't be aborted: pcsc-lite has no way to, and Windows only for a wait. So a call whose context can
// end runs in a goroutine of its own, on memory of its own. When the context ends first, the method returns and the
// call goes on in the background, where whatever it achieves is undone.

// call runs f and returns its result, or false if ctx has ended first; then late gets the result when it is there.
// after runs when f and late are over, wherever that is. late and after may be nil.
func call[T any](ctx context.Context, f func() T, late func(T), after func()) (T, bool) {
	if ctx.Done() == nil {
		if after != nil {
			defer after()
		}
		return f(), true
	}
	result := make(chan T, 1)
	var decided atomic.Bool // by f's end or by ctx's end, whichever is first
	go func() {
		if after != nil {
			defer after()
		}
		v := f()
		switch {
		case decided.CompareAndSwap(false, true):
			result <- v
		case late != nil:
			late(v)
		}
	}()
	select {
	case v := <-result:
		return v, true
	case <-ctx.Done():
		if decided.CompareAndSwap(false, true) {
			var none T
			return none, false
		}
		return <-result, true // both at once: what was achieved counts
	}
}

// callsPerTurn is after how many calls the scheduler gets a turn.
const callsPerTurn = 64

var calls atomic.Uint32

// turn gives the scheduler a turn now and then; it is called after native calls, without a lock.
//
// A loop of nothing but calls into C looks to the runtime like one goroutine that runs for too long: after 10 ms its
// monitor begins to take the processor away in every call, which makes a call to a local service a third slower.
// A turn for the scheduler now and then prevents that, and costs nothing that shows.
func turn() {
	if calls.Add(1)%callsPerTurn == 0 {
		runtime.Gosched()
	}
}

// Details of errors whose native call goes on.
const (
	lateDetail = "the call goes on in the background"
	lateClose  = "closed, but a native call is under way: the rest is done in the background when it is over"
)

// endPatience is how long within waits for the end of f once ctx has ended: ending takes next to no
// time unless a call is under way or a card has to be reset.
const endPatience = 20 * time.Millisecond

// ending is the closing of something, for which any number of goroutines can wait, each with a context of its own.
type ending struct {
	once sync.Once
	over chan struct{}
	err  error
}

// within runs f, which closes something, unless an earlier call has, and leaves it to the background if it is not over
// soon after ctx has ended. It says whether f is over. err is f's for the one whose call ran it.
func (e *ending) within(ctx context.Context, f func() error) (over bool, err error) {
	if ctx.Done() == nil {
		return true, f()
	}
	first := false
	e.once.Do(func() {
		first = true
		e.over = make(chan struct{})
		go func() {
			e.err = f()
			close(e.over)
		}()
	})
	select {
	case <-e.over:
	case <-ctx.Done():
		late := time.NewTimer(endPatience)
		defer late.Stop()
		select {
		case <-e.over:
		case <-late.C:
			return false, nil
		}
	}
	if !first {
		return true, nil
	}
	return true, e.err
}

// contextCall makes a call on a native context of its own. reader is for the error. With keep the native context of a
// successful call stays leased: the result has it. late undoes a success that came after ctx had ended; it may be nil.
func contextCall[T any](ctx context.Context, c *Context, op, reader string, keep bool,
	f func(winscard.Backend, winscard.Context) (T, winscard.Code), late func(T),
) (T, error) {
	defer runtime.KeepAlive(c) // or the cleanup could release everything under the call
	type result struct {
		v  T
		op string
		rc winscard.Code
	}
	var none T
	s, err := c.enter(ctx, op, reader)
	if err != nil {
		return none, err
	}
	r, ok := call(ctx, func() (r result) {
		for {
			h, fresh, rc := s.lease()
			if rc != winscard.Success {
				return result{op: opEstablishContext, rc: rc}
			}
			r.op = op
			r.v, r.rc = f(s.backend, h)
			if !keep || r.rc != winscard.Success {
				s.giveBack(h, r.rc)
			}
			// A native context from before a restart of the service: nothing was done, so begin again with a new one.
			if fresh || !serviceGone(r.rc) || s.isClosed() {
				return r
			}
		}
	}, func(r result) {
		if late != nil && r.rc == winscard.Success {
			late(r.v)
		}
	}, s.leave)
	if !ok {
		return none, endedError(ctx, op, reader, lateDetail)
	}
	turn()
	if r.rc != winscard.Success {
		return r.v, &Error{Op: r.op, Reader: reader, Code: r.rc}
	}
	return r.v, nil
}

// do makes a call that needs no more than a native context. reader is for the error.
func (c *Context) do(ctx context.Context, op, reader string, f func(winscard.Backend, winscard.Context) winscard.Code) error {
	_, err := contextCall(ctx, c, op, reader, false, func(b winscard.Backend, h winscard.Context) (struct{}, winscard.Code) {
		return struct{}{}, f(b, h)
	}, nil)
	return err
}

// filled is what grow got: the part of the buffer that was written, or the length that is missing.
type filled[T any] struct {
	data   []T
	needed int
}

// grow calls f with larger and larger buffers, from start to limit elements, until its data fits. Asking for the length
// first would not do: readers come and go between the two calls. Lengths that f reports are taken as a hint, as some
// libraries report none. alloc returns a buffer of the given length.
func grow[T any](start, limit int, alloc func(int) []T, f func([]T) (int, winscard.Code)) (filled[T], winscard.Code) {
	needed := 0
	for size := start; ; {
		buf := alloc(size)
		n, rc := f(buf)
		switch {
		case means(rc, winscard.ErrInsufficientBuffer):
			if n > size { // else it is the size given, as pcsc-lite and wine return it
				needed = n
			}
			if size >= limit {
				return filled[T]{needed: needed}, rc
			}
			size = min(max(n, 2*size), limit)
		case rc != winscard.Success:
			return filled[T]{}, rc
		case n < 0 || n > len(buf):
			return filled[T]{}, winscard.ErrInternalError // a backend that breaks its contract
		default:
			return filled[T]{data: buf[:n]}, rc
		}
	}
}

func makeSlice[T any](n int) []T { return make([]T, n) }

// means says whether rc is code, or a code of the platform's own that means the same.
func means(rc, code winscard.Code) bool { return rc == code || rc.Is(code) }
