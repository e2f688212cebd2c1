package pcsc

import (
	"bytes"
	"slices"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// watchedReader is a reader as the watcher knows it.
type watchedReader struct {
	*visit
	seen    State // with the counter: what to compare with next time
	left    bool  // a wait has seen it go, so if it is there it has come back
	counter eventCounter
}

// visit is a reader from its coming to its going, and what there is to tell of it. Watches read it.
type visit struct {
	name    string
	state   State     // without the counter
	events  int       // insertions and removals so far
	changed time.Time // when the last of them was noticed
	present bool
	atr     []byte // of the card that is present
	removed []byte // of the one that was removed last

	gone time.Time // zero while the reader is there
	left State     // in which it is gone
	why  error     // why it is gone, if it is the service that is
}

// outage is a time for which the service is down.
type outage struct {
	why   error
	began time.Time
	ended time.Time // zero while it lasts
}

// tell gives the difference between what was known and what was seen to the watches, and what is there to new ones. It
// says whether there was any difference.
func (w *watcher) tell(initial bool) (news bool) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		w.down.ended = now
		w.down, news = nil, true
	}
	before := w.readers
	w.readers = make([]*watchedReader, 0, len(w.seen))
	for _, r := range before {
		there := slices.ContainsFunc(w.seen, func(s winscard.ReaderState) bool { return s.Reader == r.name })
		if !there || r.left {
			w.remove(r, StateUnknown, nil, now)
			news = true
		}
	}
	for i := range w.seen {
		s := &w.seen[i]
		n := -1
		j := slices.IndexFunc(before, func(r *watchedReader) bool { return r.name == s.Reader && !r.left })
		if j >= 0 {
			r := before[j]
			if n = r.update(s, now); n < 0 { // another reader has taken its name
				w.remove(r, StateUnknown, nil, now)
			} else {
				w.readers = append(w.readers, r)
			}
		}
		if n < 0 {
			// As one without a card, whose counter is yet to be read.
			r := &watchedReader{visit: &visit{name: s.Reader}, seen: StateUnavailable}
			r.update(s, now)
			w.readers = append(w.readers, r)
			for s := range w.subscriptions {
				s.add(r.visit, initial, now)
			}
		}
		news = news || n != 0
	}
	w.admit(now)
	if news {
		w.wake()
	}
	return news
}

// lose tells that the service is down, unless that is known.
func (w *watcher) lose(why *Error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		w.down.why = why
	} else {
		for _, r := range w.readers {
			w.remove(r, StateUnavailable, why, now)
		}
		w.readers = nil
		w.down = &outage{why: why, began: now}
		for s := range w.subscriptions {
			s.lose(w.down)
		}
		w.wake()
	}
	w.admit(now)
}

// admit gives a snapshot to the watches that have asked for the last look.
func (w *watcher) admit(now time.Time) {
	for s := range w.subscriptions {
		if !s.joined && s.request <= w.looked {
			s.join(now)
		}
	}
}

// remove is the end of a reader.
func (w *watcher) remove(r *watchedReader, state State, why error, now time.Time) {
	r.visit.left, r.why, r.gone = state, why, now
	for s := range w.subscriptions {
		s.remove(r.visit)
	}
}

// update takes over what was seen of the reader and returns the number of its card's insertions and removals since the
// last time. A number less than zero says that it is another reader.
func (r *watchedReader) update(s *winscard.ReaderState, now time.Time) (n int) {
	var (
		seen    = knownState(s.EventState)
		count   = uint16(seen >> 16)
		present = seen&StatePresent != 0
		changed = present != r.present
		atr     = bytes.Clone(atrOf(s))
	)
	switch {
	case seen&StateUnavailable != 0 || r.seen&StateUnavailable != 0: // then the counter is not there
		if changed {
			n = 1
		}
		r.counter.start(count, now)
	default:
		n = r.counter.advance(count, changed, now)
		if n < 0 {
			return n
		}
		// Another ATR is another card where nothing is counted, and where the counter has moved: then it is not that the
		// first reading was ahead of it. (With the same count it is the same card, which has an ATR for each kind of reset.)
		moved := count == 0 || count != uint16(r.seen>>16)
		if n == 0 && present && moved && len(r.atr) > 0 && len(atr) > 0 && !bytes.Equal(r.atr, atr) {
			n = 2
		}
	}
	if n == 0 && present && len(atr) == 0 {
		atr = r.atr // some answers leave it out
	}
	if n > 0 {
		r.events += n
		r.changed = now
		if r.present {
			r.removed = r.atr
		}
	}
	r.seen, r.state, r.present, r.atr = seen, flagsOf(s), present, atr
	return n
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
