package pcsc

import (
	"slices"
	"sync"
)

// lock is a mutex that can be waited for with a context. Who waits longest gets it next.
//
// It is not a channel, so that a cleanup can close what was made in a testing/synctest bubble: channels belong to
// their bubble.
type lock struct {
	mu      sync.Mutex
	held    bool
	waiters []chan struct{} // each closed when its owner gets the lock
}

// acquire gets the lock, or says false if done is closed first.
func (l *lock) acquire(done <-chan struct{}) bool {
	l.mu.Lock()
	if !l.held {
		l.held = true
		l.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	l.waiters = append(l.waiters, mine)
	l.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-done:
	}
	l.mu.Lock()
	i := slices.Index(l.waiters, mine)
	if i >= 0 {
		l.waiters = slices.Delete(l.waiters, i, i+1)
	}
	l.mu.Unlock()
	if i < 0 { // got it in the same moment
		l.release()
	}
	return false
}

// release passes the lock on. Any goroutine may do so for the one that got it.
func (l *lock) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiters) == 0 {
		l.held = false
		return
	}
	close(l.waiters[0])
	l.waiters = slices.Delete(l.waiters, 0, 1)
}
