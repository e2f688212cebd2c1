package pcsc

import (
	"reflect"
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// watchers has the watchers that run: one for each kind of watch, however many watches of that kind there are. The
// service has room for few native contexts (pcsc-lite for 200), and each costs it a thread.
var watchers = struct {
	sync.Mutex
	by map[watcherKey]*watcher
}{by: make(map[watcherKey]*watcher)}

// watcherKey is what watches that share a watcher have in common: whatever makes a difference to native calls.
type watcherKey struct {
	backend    winscard.Backend // a tracer is a part of it
	scope      Scope
	poll       time.Duration
	backoffMin time.Duration
	backoffMax time.Duration
}

// subscribe begins to watch, by a watcher that runs already or by a new one.
func subscribe(b winscard.Backend, o *watchOptions) *subscription {
	if !reflect.ValueOf(b).Comparable() { // then nobody can tell that another watch has the same one
		b = &struct{ winscard.Backend }{b}
	}
	key := watcherKey{b, o.scope, o.poll, o.backoffMin, o.backoffMax}
	watchers.Lock()
	defer watchers.Unlock()
	w, runs := watchers.by[key]
	if !runs {
		w = newWatcher(key)
		watchers.by[key] = w
	}
	s := &subscription{w: w, names: o.readers, changes: o.changes, ready: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.subscriptions[s] = struct{}{}
	// What the watcher knows may be older than the subscription, so it has to look.
	w.requests++
	s.request = w.requests
	if !runs {
		go w.run()
		return s
	}
	select {
	case w.asked <- struct{}{}:
	default:
	}
	w.interrupt()
	return s
}

// unsubscribe ends a subscription. With the last one the watcher ends, which is waited for, but not long: a service that
// hangs can keep it.
func (s *subscription) unsubscribe() {
	w := s.w
	watchers.Lock()
	w.mu.Lock()
	_, subscribed := w.subscriptions[s]
	delete(w.subscriptions, s)
	last := subscribed && len(w.subscriptions) == 0
	if last {
		if watchers.by[w.watcherKey] == w {
			delete(watchers.by, w.watcherKey)
		}
		close(w.quit)
		w.interrupt()
	}
	w.mu.Unlock()
	watchers.Unlock()
	if !last {
		return
	}
	patience := time.NewTimer(cancelPatience)
	defer patience.Stop()
	select {
	case <-w.done:
	case <-patience.C:
	}
}

// end tells all watches the error with which the watcher ends. No other watch comes to it.
func (w *watcher) end(err error) {
	watchers.Lock()
	defer watchers.Unlock()
	if watchers.by[w.watcherKey] == w {
		delete(watchers.by, w.watcherKey)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.wake()
}

// wake lets all watches look for news. The caller holds w.mu.
func (w *watcher) wake() {
	for s := range w.subscriptions {
		s.wake()
	}
}

// wake lets the watch look for news.
func (s *subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// nativeWait is a wait that is under way in the service.
type nativeWait struct {
	back chan struct{} // closed when it is over
	over chan struct{} // made when it is being cancelled, closed when SCardCancel is not sent any more
}

// interrupt ends the native wait, if there is one. The caller holds w.mu.
func (w *watcher) interrupt() {
	if n := w.native; n != nil && n.over == nil {
		n.over = make(chan struct{})
		go w.cancel(n)
	}
}

// cancel sends SCardCancel until the wait is over.
func (w *watcher) cancel(n *nativeWait) {
	defer close(n.over)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for next := cancelFirst; ; next = min(2*next, cancelLast) {
		select {
		case <-n.back:
			return
		case <-pause.C:
		}
		w.backend.Cancel(w.handle)
		pause.Reset(next)
	}
}

// enterWait says that a native wait begins, or false if there is no time for one: somebody wants a look or the end.
func (w *watcher) enterWait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests > w.looked || w.ended() {
		return false
	}
	w.native = &nativeWait{back: make(chan struct{})}
	return true
}

// leaveWait says that the native wait is over, and whether it was cancelled. From here on SCardCancel is not sent, and
// nor is it under way.
func (w *watcher) leaveWait() (cancelled bool) {
	w.mu.Lock()
	n := w.native
	w.native = nil
	over := n.over
	w.mu.Unlock()
	close(n.back)
	if over != nil {
		<-over
	}
	return over != nil
}

// beginLook says that a look begins, and whether somebody waits for one. Who does gets it by this one: it is no reason to
// end a pause that comes later.
func (w *watcher) beginLook() (asked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked = w.requests > w.looked
	w.looked = w.requests
	select {
	case <-w.asked:
	default:
	}
	return asked
}

// ended says whether the watcher has to end.
func (w *watcher) ended() bool {
	select {
	case <-w.quit:
		return true
	default:
		return false
	}
}

// pause lets time pass, unless somebody has asked for a look. Then it says false.
func (w *watcher) pause(d time.Duration) (bool, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-w.asked:
		return false, nil
	case <-w.quit:
		return false, errQuit
	}
}
