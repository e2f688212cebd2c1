package pcsc

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
)

const (
	// Native waits are of these lengths, and readers are listed after each. They need not end by themselves where the
	// service tells of all that happens after a look. But the count of readers that libpcsclite before 2.3 compares
	// with is taken when the wait begins, after the look; and no library compares a reader's counter with 0. What falls
	// between a look and a wait is found when the wait ends.
	sliceFirst = 50 * time.Millisecond
	sliceLast  = 10 * time.Second

	// Waits that end with nothing to tell are no reason to look again without a pause: some service or program
	// changes what does not matter here, again and again.
	idleReturns  = 3 // in a row that are allowed
	idlePauseMax = 200 * time.Millisecond

	// queryStates is the fewest readers that a platform takes in one call (MAXIMUM_SMARTCARD_READERS of Windows).
	queryStates = 10
)

// watcher asks the service, for all watches that agree on watcherKey. It is one goroutine with one native context. It
// begins with the first watch and ends with the last.
type watcher struct {
	watcherKey

	quit  chan struct{} // closed when the last watch has ended
	done  chan struct{} // closed when nothing is left
	asked chan struct{} // there may be a new request

	// The goroutine's own.
	handle  winscard.Context
	open    bool // there is a handle
	backoff time.Duration
	slice   time.Duration
	idle    int // waits in a row that ended for nothing

	pnp       bool  // the service tells of readers that come
	pnpState  State // what it last said: what to compare with next time
	maxStates int   // in one wait
	readers   []*watchedReader

	seen   []winscard.ReaderState // by the last look
	list   []byte
	states []winscard.ReaderState // of a wait

	// The goroutine holds mu to write what it shares with the watches: these, and what readers points to.
	mu            sync.Mutex
	subscriptions map[*subscription]struct{}
	requests      uint64      // for a look, so far
	looked        uint64      // those that the last look is for
	native        *nativeWait // under way
	down          *outage     // under way
	err           error       // with which the watcher has ended
}

func newWatcher(key watcherKey) *watcher {
	return &watcher{
		watcherKey:    key,
		quit:          make(chan struct{}),
		done:          make(chan struct{}),
		asked:         make(chan struct{}, 1),
		backoff:       key.backoffMin,
		maxStates:     winscard.MaxReaders,
		subscriptions: make(map[*subscription]struct{}),
	}
}

// errQuit ends the watcher, and nobody hears of it.
var errQuit = errors.New("pcsc: the last watch has ended")

// outageError is an error after which the service is given up, and then tried again.
type outageError struct{ cause *Error }

func (o outageError) Error() string { return o.cause.Error() }

func (w *watcher) run() {
	defer close(w.done)
	err := w.watch()
	w.end(err)
	w.release()
}

// watch watches until there is an error that is no outage.
func (w *watcher) watch() error {
	for {
		err := w.connect()
		if err == nil {
			begin := time.Now()
			err = w.follow()
			if time.Since(begin) >= w.backoffMax { // else it comes and goes at once
				w.backoff = w.backoffMin
			}
		}
		out, ok := err.(outageError)
		if !ok {
			return err
		}
		w.lose(out.cause)
		w.release()
		passed, err := w.pause(w.backoff - rand.N(w.backoff/4+1))
		if err != nil {
			return err
		}
		if passed {
			w.backoff = min(2*w.backoff, w.backoffMax)
		}
	}
}

// connect makes the native context and looks for the first time.
func (w *watcher) connect() error {
	w.beginLook()
	if err := w.establish(); err != nil {
		return err
	}
	if err := w.probe(); err != nil {
		return err
	}
	return w.look(nil)
}

// follow tells what there is, and then what happens, until the service fails.
func (w *watcher) follow() error {
	w.tell(true)
	w.slice, w.idle = sliceFirst, 0
	for {
		answer, err := w.await()
		if err != nil {
			return err
		}
		if err := w.look(answer); err != nil {
			return err
		}
		if w.tell(false) {
			w.slice, w.idle = sliceFirst, 0
		}
	}
}

// await waits until there may be something new, and returns what a wait has said of the readers if it said so of all.
func (w *watcher) await() (answer []winscard.ReaderState, err error) {
	if n := w.idle - idleReturns; n >= 0 {
		if _, err := w.pause(min(time.Millisecond<<min(n, 10), idlePauseMax)); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	end, err := w.wait()
	switch {
	case err != nil:
		return nil, err
	case end == winscard.ErrTimeout:
		w.slice, w.idle = min(2*w.slice, sliceLast), 0
		answer = w.answer()
	case end == winscard.ErrCancelled: // somebody waits for a look, and then for what comes right after it
		w.slice = sliceFirst
	case time.Since(begin) >= time.Second:
		w.idle = 0
	default:
		w.idle++
	}
	for i, r := range w.readers[:min(len(w.readers), len(w.states))] {
		r.left = State(w.states[i].EventState)&StateUnknown != 0
	}
	return answer, nil
}

// answer is what a wait that was not ended by a change said of its readers: their states when it began. It is nil if the
// wait left some of them out, or the library does not answer when the time is over.
func (w *watcher) answer() []winscard.ReaderState {
	if len(w.readers) > len(w.states) {
		return nil
	}
	for _, s := range w.states[:len(w.readers)] {
		if State(s.EventState)&(StateEmpty|StatePresent|StateUnavailable) == 0 {
			return nil
		}
	}
	return w.states[:len(w.readers)]
}

// failed is the error for the code that a call has returned.
func (w *watcher) failed(op string, rc winscard.Code) error {
	e := &Error{Op: op, Code: rc}
	switch rc {
	case winscard.ErrUnavailable, winscard.ErrUnsupportedFunction, winscard.ErrNoAccess:
		return e // trying again is of no use
	case winscard.ErrInvalidParameter, winscard.ErrInvalidValue:
		if op == opEstablishContext { // the scope; elsewhere it may be the end of the service's memory
			return e
		}
	}
	return outageError{e}
}

func (w *watcher) establish() error {
	var rc winscard.Code
	w.handle, rc = w.backend.EstablishContext(uint32(w.scope))
	w.open = rc == winscard.Success
	if rc != winscard.Success {
		return w.failed(opEstablishContext, rc)
	}
	return nil
}

// release gives up the native context.
func (w *watcher) release() {
	if w.open {
		w.open = false
		w.backend.ReleaseContext(w.handle)
	}
}

// probe asks whether the service tells of readers that come, and from what state it counts them. That is before they
// are listed: those that come after the list are told of.
func (w *watcher) probe() error {
	// A library that does not know the pseudo reader may leave the state as it is.
	state := []winscard.ReaderState{{Reader: winscard.PnPNotification, EventState: uint32(winscard.StateUnknown)}}
	rc := w.backend.GetStatusChange(w.handle, 0, state)
	switch {
	case rc == winscard.Success || means(rc, winscard.ErrTimeout):
		w.notePnP(state[0].EventState)
	case isReaderCode(rc) || rc == winscard.ErrInvalidParameter || rc == winscard.ErrInvalidValue ||
		rc.Is(errors.ErrUnsupported):
		w.pnp = false
	default:
		return w.failed(opGetStatusChange, rc)
	}
	return nil
}

// notePnP takes over what the service said of the pseudo reader. The upper 16 bits, to be given back with the next
// wait, are the number of readers on Windows, and the number of their comings and goings on pcsc-lite from 2.3 on.
func (w *watcher) notePnP(event uint32) {
	w.pnp = State(event)&StateUnknown == 0
	w.pnpState = knownState(event)
}

// isReaderCode says whether rc means that a reader is not there.
func isReaderCode(rc winscard.Code) bool {
	return means(rc, winscard.ErrUnknownReader) || means(rc, winscard.ErrReaderUnavailable) ||
		means(rc, winscard.ErrNoReadersAvailable)
}

// look lists the readers and asks for their states. answer is what the wait before said of the readers that it was
// for, if that is as good: then there is no need to ask. It is not if somebody waits for what is new since it began.
func (w *watcher) look(answer []winscard.ReaderState) error {
	if w.ended() {
		return errQuit
	}
	if w.beginLook() {
		answer = nil
	}
	names, err := w.listNames()
	if err != nil {
		return err
	}
	w.seen = answer
	if !slices.EqualFunc(names, answer, func(name string, s winscard.ReaderState) bool { return s.Reader == name }) {
		w.seen, err = w.query(names)
	}
	return err
}

// listNames lists the readers.
func (w *watcher) listNames() (names []string, err error) {
	got, rc := grow(listSize, listMaxSize, func(n int) []byte {
		if len(w.list) < n {
			w.list = make([]byte, n)
		}
		return w.list[:n]
	}, func(buf []byte) (int, winscard.Code) { return w.backend.ListReaders(w.handle, nil, buf) })
	switch {
	case means(rc, winscard.ErrNoReadersAvailable):
		return nil, nil
	case rc != winscard.Success:
		return nil, w.failed(opListReaders, rc)
	}
	for _, name := range cstring.Split(got.data) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// query asks for the states of the named readers and leaves out those that are gone.
func (w *watcher) query(names []string) ([]winscard.ReaderState, error) {
	states := make([]winscard.ReaderState, len(names))
	for i, name := range names {
		states[i].Reader = name
	}
	for part := range slices.Chunk(states, queryStates) {
		rc := w.ask(part)
		for i := 0; i < len(part) && isReaderCode(rc); i++ { // one has gone: ask for each
			part[i] = winscard.ReaderState{Reader: part[i].Reader}
			one := w.ask(part[i : i+1])
			if isReaderCode(one) {
				part[i].EventState = uint32(winscard.StateUnknown)
			} else if one != winscard.Success {
				return nil, w.failed(opGetStatusChange, one)
			}
		}
		if rc != winscard.Success && !isReaderCode(rc) {
			return nil, w.failed(opGetStatusChange, rc)
		}
	}
	return slices.DeleteFunc(states, func(s winscard.ReaderState) bool {
		return State(s.EventState)&StateUnknown != 0
	}), nil
}

func (w *watcher) ask(states []winscard.ReaderState) winscard.Code {
	rc := w.backend.GetStatusChange(w.handle, 0, states)
	if means(rc, winscard.ErrTimeout) {
		return winscard.Success
	}
	return rc
}

// wait waits for a change from what is known. It returns Success, ErrTimeout, or ErrCancelled if somebody waits for a
// look; what has changed, a look will tell.
func (w *watcher) wait() (winscard.Code, error) {
	w.states = w.states[:0]
	for _, r := range w.readers[:min(len(w.readers), w.maxStates)] {
		w.states = append(w.states, winscard.ReaderState{Reader: r.name, CurrentState: uint32(r.seen)})
	}
	timeout := w.poll
	pnp := w.pnp && len(w.readers) < w.maxStates // all readers have a place, and so has this one
	if pnp {
		timeout = w.slice
		state := uint32(w.pnpState)
		w.states = append(w.states,
			winscard.ReaderState{Reader: winscard.PnPNotification, CurrentState: state, EventState: state})
	}
	if len(w.states) == 0 {
		passed, err := w.pause(timeout)
		if !passed {
			return winscard.ErrCancelled, err
		}
		return winscard.ErrTimeout, err
	}
	if !w.enterWait() {
		return winscard.ErrCancelled, nil
	}
	rc := w.backend.GetStatusChange(w.handle, uint32(min(milliseconds(timeout), maxNativeWait)), w.states)
	cancelled := w.leaveWait()
	switch {
	case rc == winscard.Success || means(rc, winscard.ErrTimeout):
		if pnp {
			w.notePnP(w.states[len(w.states)-1].EventState)
		}
		if rc != winscard.Success {
			rc = winscard.ErrTimeout
		}
		return rc, nil
	case cancelled && means(rc, winscard.ErrCancelled):
		return winscard.ErrCancelled, nil
	case isReaderCode(rc), means(rc, winscard.ErrCancelled): // not by this watcher
		return winscard.Success, nil
	case rc == winscard.ErrInvalidParameter && len(w.states) > queryStates:
		w.maxStates = queryStates
		return winscard.Success, nil
	}
	return 0, w.failed(opGetStatusChange, rc)
}
