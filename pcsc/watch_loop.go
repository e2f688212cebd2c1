package pcsc

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
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

	// libpcsclite has one code for a service that refuses the program (polkit) and for one that was killed at that very
	// moment. After so many in a row it is the former.
	refusals = 3

	// queryStates is the fewest readers that a platform takes in one call (MAXIMUM_SMARTCARD_READERS of Windows).
	queryStates = 10
)

// watcher is one watch. It is used by one goroutine at a time: the consumer's, or the one that makes the native calls
// while the consumer waits for the next event. If the watch ends meanwhile, everything is left to the latter.
type watcher struct {
	ctx      context.Context
	context  *contextState // whose Close ends the watch; may be nil
	backend  winscard.Backend
	opts     *watchOptions
	yield    func(Event, error) bool
	complete func() bool // see Context.watch

	handle winscard.Context
	open   bool          // there is a handle
	lost   bool          // the consumer has nothing to do with all this any more
	quit   chan struct{} // closed then

	mu      sync.Mutex // held while SCardCancel is sent
	waiting bool       // in a native wait, which SCardCancel can end

	began   bool // the snapshot has been told, or the service was found down
	down    bool // the service is, and that has been told
	backoff time.Duration
	slice   time.Duration
	idle    int // waits in a row that ended for nothing
	refused int // attempts in a row that ended with ErrSecurityViolation

	pnp       bool  // the service tells of readers that come
	pnpState  State // what it last said: what to compare with next time
	maxStates int   // in one wait
	readers   []*watchedReader

	seen   []winscard.ReaderState // by the last look
	list   []byte
	states []winscard.ReaderState // of a wait
}

// watchedReader is a reader as the consumer knows it.
type watchedReader struct {
	name    string
	state   State // with the counter
	left    bool  // a wait has seen it go, so if it is there it has come back
	present bool
	atr     []byte
	counter eventCounter
}

func newWatcher(ctx context.Context, s *contextState, b winscard.Backend, o *watchOptions) *watcher {
	return &watcher{
		ctx:       ctx,
		context:   s,
		backend:   b,
		opts:      o,
		quit:      make(chan struct{}),
		backoff:   o.backoffMin,
		maxStates: winscard.MaxReaders,
	}
}

var (
	errLeft = errors.New("pcsc: the loop was left")    // the consumer is not to hear of it
	errQuit = errors.New("pcsc: the watch has to end") // ends native calls, and nobody hears of it
)

// outage is an error after which the service is given up, and then tried again.
type outage struct{ cause *Error }

func (o outage) Error() string { return o.cause.Error() }

// iterate is the whole watch.
func (w *watcher) iterate(yield func(Event, error) bool) {
	w.yield = yield
	defer w.close() // also if the loop's body panics
	err := w.run()
	w.close()
	if err != errLeft {
		yield(Event{}, err)
	}
}

// run watches until there is an error that is no outage.
func (w *watcher) run() error {
	for _, name := range w.opts.readers {
		if strings.IndexByte(name, 0) >= 0 {
			return &Error{Op: opGetStatusChange, Reader: name, Code: ErrInvalidParameter, Detail: "name contains a NUL"}
		}
	}
	for connect := w.connect; ; connect = w.reconnect {
		begin := time.Now()
		err := w.call(connect)
		if err == nil {
			err = w.follow()
		}
		var out outage
		if !errors.As(err, &out) {
			return err
		}
		if !w.down && time.Since(begin) >= w.opts.backoffMax { // else it comes and goes at once
			w.backoff = w.opts.backoffMin
		}
		if err := w.lose(out.cause); err != nil {
			return err
		}
	}
}

// follow tells what there is, and then what happens, until the service fails.
func (w *watcher) follow() error {
	if w.down {
		w.down = false
		if err := w.emit(Event{Kind: ServiceUp, Time: time.Now()}); err != nil {
			return err
		}
	}
	silent := w.opts.changes && !w.began
	w.began = true
	if _, err := w.tell(w.seen, true, silent); err != nil {
		return err
	}
	if w.complete != nil && !w.complete() {
		return errLeft
	}
	w.slice, w.idle = sliceFirst, 0
	for {
		if err := w.call(w.await); err != nil {
			return err
		}
		told, err := w.tell(w.seen, false, false)
		if err != nil {
			return err
		}
		if told {
			w.slice, w.idle = sliceFirst, 0
		}
	}
}

// The methods below, as far as query, make native calls and are called by way of call.

// connect makes the native context and looks for the first time.
func (w *watcher) connect() error {
	if err := w.establish(); err != nil {
		return err
	}
	if err := w.probe(); err != nil {
		return err
	}
	return w.look(nil)
}

// reconnect is connect again and again, until it succeeds or cannot.
func (w *watcher) reconnect() error {
	for {
		w.release()
		if err := w.pause(w.backoff - rand.N(w.backoff/4+1)); err != nil {
			return err
		}
		w.backoff = min(2*w.backoff, w.opts.backoffMax)
		err := w.connect()
		if _, out := err.(outage); !out {
			return err
		}
	}
}

// await waits until a look shows something new.
func (w *watcher) await() error {
	for {
		if n := w.idle - idleReturns; n >= 0 {
			if err := w.pause(min(time.Millisecond<<min(n, 10), idlePauseMax)); err != nil {
				return err
			}
		}
		begin := time.Now()
		end, err := w.wait()
		var answer []winscard.ReaderState
		switch {
		case err != nil:
			return err
		case end == winscard.ErrTimeout:
			w.slice, w.idle = min(2*w.slice, sliceLast), 0
			answer = w.answer()
		case time.Since(begin) >= time.Second:
			w.idle = 0
		default:
			w.idle++
		}
		for i, r := range w.readers[:min(len(w.readers), len(w.states))] {
			r.left = State(w.states[i].EventState)&StateUnknown != 0
		}
		if err := w.look(answer); err != nil {
			return err
		}
		if w.isNew(w.seen) {
			return nil
		}
	}
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

// isNew says whether seen differs from what was seen before.
func (w *watcher) isNew(seen []winscard.ReaderState) bool {
	return !slices.EqualFunc(w.readers, seen, func(r *watchedReader, s winscard.ReaderState) bool {
		atr := atrOf(&s)
		return r.name == s.Reader && !r.left && r.state == knownState(s.EventState) &&
			(len(atr) == 0 || bytes.Equal(r.atr, atr))
	})
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
	return outage{e}
}

func (w *watcher) establish() error {
	var rc winscard.Code
	w.handle, rc = w.backend.EstablishContext(uint32(w.opts.scope))
	w.open = rc == winscard.Success
	if rc != winscard.ErrSecurityViolation {
		w.refused = 0
	} else if w.refused++; w.refused == refusals {
		return &Error{Op: opEstablishContext, Code: rc}
	}
	if rc != winscard.Success {
		return w.failed(opEstablishContext, rc)
	}
	return nil
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
// for, if that is as good: then there is no need to ask.
func (w *watcher) look(answer []winscard.ReaderState) error {
	if w.ended() {
		return errQuit
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

// listNames lists the readers that are watched.
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
		watched := len(w.opts.readers) == 0 || slices.Contains(w.opts.readers, name)
		if watched && !slices.Contains(names, name) {
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

// wait waits for a change from what is known. It returns Success or ErrTimeout; what has changed, a look will tell.
func (w *watcher) wait() (winscard.Code, error) {
	w.states = w.states[:0]
	for _, r := range w.readers[:min(len(w.readers), w.maxStates)] {
		w.states = append(w.states, winscard.ReaderState{Reader: r.name, CurrentState: uint32(r.state)})
	}
	timeout := w.opts.poll
	pnp := w.pnp && len(w.readers) < w.maxStates // all readers have a place, and so has this one
	if pnp {
		timeout = w.slice
		state := uint32(w.pnpState)
		w.states = append(w.states,
			winscard.ReaderState{Reader: winscard.PnPNotification, CurrentState: state, EventState: state})
	}
	if len(w.states) == 0 {
		return winscard.ErrTimeout, w.pause(timeout)
	}
	w.mu.Lock()
	if w.ended() {
		w.mu.Unlock()
		return 0, errQuit
	}
	w.waiting = true
	w.mu.Unlock()
	rc := w.backend.GetStatusChange(w.handle, uint32(min(milliseconds(timeout), maxNativeWait)), w.states)
	w.mu.Lock() // from here on SCardCancel is not sent, and nor is it under way
	w.waiting = false
	w.mu.Unlock()
	switch {
	case rc == winscard.Success || means(rc, winscard.ErrTimeout):
		if pnp {
			w.notePnP(w.states[len(w.states)-1].EventState)
		}
		if rc != winscard.Success {
			rc = winscard.ErrTimeout
		}
		return rc, nil
	case isReaderCode(rc), means(rc, winscard.ErrCancelled): // not by this watch
		return winscard.Success, nil
	case rc == winscard.ErrInvalidParameter && len(w.states) > queryStates:
		w.maxStates = queryStates
		return winscard.Success, nil
	}
	return 0, w.failed(opGetStatusChange, rc)
}

// tell yields the difference between what the consumer knows and what was seen. It says whether there was any.
func (w *watcher) tell(seen []winscard.ReaderState, initial, silent bool) (told bool, err error) {
	now := time.Now()
	emit := func(e Event) error {
		told = true
		if silent {
			return nil
		}
		e.Time = now
		return w.emit(e)
	}
	before := w.readers
	w.readers = make([]*watchedReader, 0, len(seen))
	for _, r := range before {
		there := slices.ContainsFunc(seen, func(s winscard.ReaderState) bool { return s.Reader == r.name })
		if !there || r.left {
			if err := r.gone(StateUnknown, nil, emit); err != nil {
				return told, err
			}
		}
	}
	for i := range seen {
		s := &seen[i]
		var r *watchedReader
		same := func(r *watchedReader) bool { return r.name == s.Reader && !r.left }
		if j := slices.IndexFunc(before, same); j >= 0 {
			r = before[j]
		} else {
			r = &watchedReader{name: s.Reader}
			if err := r.come(s, now, initial, emit); err != nil {
				return told, err
			}
		}
		w.readers = append(w.readers, r)
		if err := r.update(s, now, initial, emit); err != nil {
			return told, err
		}
	}
	return told, nil
}

// come begins with a reader, as one without a card.
func (r *watchedReader) come(s *winscard.ReaderState, now time.Time, initial bool, emit func(Event) error) error {
	r.present, r.atr = false, nil
	r.state = StateUnavailable // the counter is yet to be read
	return emit(Event{Kind: ReaderAdded, Reader: r.name, State: flagsOf(s), Initial: initial})
}

// gone is the end of a reader.
func (r *watchedReader) gone(state State, why error, emit func(Event) error) error {
	if r.present {
		if err := emit(Event{Kind: CardRemoved, Reader: r.name, ATR: r.atr, State: state, Err: why}); err != nil {
			return err
		}
	}
	return emit(Event{Kind: ReaderRemoved, Reader: r.name, State: state, Err: why})
}

// update tells what has happened to the reader's card.
func (r *watchedReader) update(s *winscard.ReaderState, now time.Time, initial bool, emit func(Event) error) error {
	var (
		state   = knownState(s.EventState)
		count   = uint16(state >> 16)
		present = state&StatePresent != 0
		changed = present != r.present
		atr     = bytes.Clone(atrOf(s))
		n       int
	)
	switch {
	case state&StateUnavailable != 0 || r.state&StateUnavailable != 0: // then the counter is not there
		if changed {
			n = 1
		}
		r.counter.start(count, now)
	default:
		n = r.counter.advance(count, changed, now)
		if n < 0 { // another reader has taken its name
			if err := r.gone(StateUnknown, nil, emit); err != nil {
				return err
			}
			if err := r.come(s, now, initial, emit); err != nil {
				return err
			}
			return r.update(s, now, initial, emit)
		}
		if n == 0 && present && count == 0 && len(r.atr) > 0 && len(atr) > 0 && !bytes.Equal(r.atr, atr) {
			n = 2 // nothing is counted, but it is another card
		}
	}
	if n == 0 && present && len(atr) == 0 {
		atr = r.atr // some answers leave it out
	}
	old, was := r.atr, r.present
	r.state, r.present, r.atr = state, present, atr
	for i := 1; i <= n; i++ {
		was = !was
		e := Event{Kind: CardRemoved, Reader: r.name, State: StateEmpty, Initial: initial}
		if was {
			e.Kind, e.State = CardInserted, StatePresent
		}
		switch {
		case was && i == n:
			e.ATR = bytes.Clone(atr)
		case !was && i == 1:
			e.ATR = old
		default:
			e.Inferred = true
		}
		if i == n {
			e.State = flagsOf(s)
		}
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}

// knownState is what is known after an answer: the state with the counter, without what concerns that call alone.
func knownState(event uint32) State { return State(event) &^ (StateChanged | StateIgnore) }

// flagsOf is the state that s tells, without the counter.
func flagsOf(s *winscard.ReaderState) State { return knownState(s.EventState) & 0xFFFF }

// atrOf is the card's ATR, which libraries leave when the card has gone.
func atrOf(s *winscard.ReaderState) []byte {
	if State(s.EventState)&StatePresent == 0 || s.ATRLen == 0 {
		return nil
	}
	return s.ATR[:min(s.ATRLen, uint32(len(s.ATR)))]
}

// lose tells that the service is down, unless that is known.
func (w *watcher) lose(why *Error) error {
	now := time.Now()
	readers := w.readers
	w.readers = nil
	for _, r := range readers {
		err := r.gone(StateUnavailable, why, func(e Event) error {
			e.Time = now
			return w.emit(e)
		})
		if err != nil {
			return err
		}
	}
	if w.down {
		return nil
	}
	w.down, w.began = true, true
	return w.emit(Event{Kind: ServiceDown, Err: why, Time: now})
}

// emit yields an event.
func (w *watcher) emit(e Event) error {
	if w.ctx.Err() != nil {
		return endedError(w.ctx, opGetStatusChange, "", "")
	}
	if !w.yield(e, nil) {
		return errLeft
	}
	return nil
}

// enter lets the end of the Context end what follows, until leave: stop is closed then. It is used while the watch
// waits, and not while the consumer is at work, whom Close must not wait for: it may be the one who calls it.
func (w *watcher) enter() (stop <-chan struct{}, leave func() error, err error) {
	s := w.context
	if w.ctx.Err() != nil {
		return nil, nil, endedError(w.ctx, opGetStatusChange, "", "")
	}
	if s == nil {
		return nil, func() error { return endedError(w.ctx, opGetStatusChange, "", "") }, nil
	}
	// As one of the Context's waits, though without a native context that the Context knows of.
	reg := &wait{s: s, stop: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, invalidUse(opGetStatusChange, "", closedContext)
	}
	s.waits[reg] = struct{}{}
	return reg.stop, func() error {
		s.mu.Lock()
		why := reg.ended
		delete(s.waits, reg)
		s.mu.Unlock()
		close(reg.gone)
		switch {
		case w.ctx.Err() != nil:
			return endedError(w.ctx, opGetStatusChange, "", "")
		case why == endedByClose:
			return &Error{Op: opGetStatusChange, Code: ErrCancelled, Detail: "the Context was closed"}
		}
		return &Error{Op: opGetStatusChange, Code: ErrCancelled}
	}, nil
}

// call runs f in a goroutine of its own, so that the end of the watch need not wait for it, and returns its error or
// the one with which the watch ends. One call lasts until there is something to tell: to wake up a goroutine for each
// native call is most of what an idle watch would cost.
func (w *watcher) call(f func() error) error {
	stop, leave, err := w.enter()
	if err != nil {
		return err
	}
	if stop == nil && w.ctx.Done() == nil {
		return f()
	}
	back := make(chan error, 1)
	go func() { back <- f() }()
	select {
	case err := <-back:
		_ = leave() // why it would have ended
		return err
	case <-w.ctx.Done():
	case <-stop:
	}
	w.lost = true
	close(w.quit)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		w.abandon(back)
	}()
	patience := time.NewTimer(cancelPatience)
	defer patience.Stop()
	select {
	case <-gone:
	case <-patience.C:
	}
	return leave()
}

// ended says whether the watch has to end.
func (w *watcher) ended() bool {
	select {
	case <-w.quit:
		return true
	default:
		return false
	}
}

// pause lets time pass.
func (w *watcher) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.quit:
		return errQuit
	}
}

// abandon waits for the end of a call, whose native wait it cancels, and releases the native context.
func (w *watcher) abandon(back <-chan error) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for next := cancelFirst; ; next = min(2*next, cancelLast) {
		select {
		case <-back:
			if w.open {
				w.backend.ReleaseContext(w.handle)
			}
			return
		case <-pause.C:
		}
		w.mu.Lock()
		if w.waiting {
			w.backend.Cancel(w.handle)
		}
		w.mu.Unlock()
		pause.Reset(next)
	}
}

// release gives up the native context.
func (w *watcher) release() {
	if w.open {
		w.open = false
		w.backend.ReleaseContext(w.handle)
	}
}

// close releases the native context, unless somebody else does. It waits for the service, but not long.
func (w *watcher) close() {
	if w.lost || !w.open {
		return
	}
	w.lost = true
	released := make(chan struct{})
	go func() {
		defer close(released)
		w.release()
	}()
	patience := time.NewTimer(cancelPatience)
	defer patience.Stop()
	select {
	case <-released:
	case <-patience.C:
	}
}
