package pcsc

import (
	"bytes"
	"slices"
	"time"
)

// visitsKept is how many visits of readers are remembered that began and ended while a watch's consumer was busy.
const visitsKept = 64

// subscription is a watch as the watcher knows it: what it has been told, beside what there is to tell. There is an
// entry for each reader that it knows and for each that it is to hear of. So memory is bounded, however busy the
// watch's consumer is.
type subscription struct {
	w       *watcher
	names   []string // of readers; none for all
	changes bool     // no snapshot
	request uint64   // for the look with which it begins
	ready   chan struct{}

	// Under w.mu.
	joined   bool
	snapshot []change // not taken yet
	entries  []*entry
}

// entry is the visit of a reader or an outage of the service, as far as it has been told.
type entry struct {
	visit  *visit  // or
	outage *outage // the other is nil

	told bool // it has begun

	// How a reader came.
	state   State
	came    time.Time
	initial int // the number of the last event of its card that was part of it; less than zero if it just happened

	// Its card.
	events  int // told so far
	present bool
	atr     []byte
	more    int // events of further visits, which are told as one with this
}

// add begins the visit of a reader. A card that is there already comes with it.
func (s *subscription) add(v *visit, initial bool, now time.Time) {
	if !s.joined || len(s.names) > 0 && !slices.Contains(s.names, v.name) {
		return
	}
	e := &entry{visit: v, state: v.state, came: now, initial: -1, events: v.events}
	if initial {
		e.initial = v.events
	}
	if v.present {
		e.events--
	}
	s.entries = append(s.entries, e)
}

// remove ends the visit of a reader. If not even its beginning has been told, visits like it are told as one: those of
// the same reader, unless there was an outage in between. Of too many the oldest is forgotten.
func (s *subscription) remove(v *visit) {
	this := slices.IndexFunc(s.entries, func(e *entry) bool { return e.visit == v })
	if this < 0 || s.entries[this].told {
		return
	}
	kept, oldest, same := 0, -1, -1
	for i, e := range s.entries[:this] {
		switch {
		case e.outage != nil:
			same = -1
		case !e.told && !e.visit.gone.IsZero():
			if kept++; oldest < 0 {
				oldest = i
			}
			if e.visit.name == v.name {
				same = i
			}
		}
	}
	switch {
	case same >= 0:
		n := v.events - s.entries[this].events
		if v.present { // its removal
			n++
		}
		s.entries[same].more += n
		s.entries = slices.Delete(s.entries, this, this+1)
	case kept >= visitsKept:
		s.entries = slices.Delete(s.entries, oldest, oldest+1)
	}
}

// lose begins an outage. If the beginning of another one has not been told, they are told as one, and what was between
// them is not.
func (s *subscription) lose(o *outage) {
	if !s.joined {
		return
	}
	i := slices.IndexFunc(s.entries, func(e *entry) bool { return e.outage != nil && !e.told })
	if i >= 0 {
		s.entries = slices.Delete(s.entries, i, len(s.entries))
	}
	s.entries = append(s.entries, &entry{outage: o})
}

// join begins the subscription with a snapshot.
func (s *subscription) join(now time.Time) {
	s.joined = true
	for _, r := range s.w.readers {
		s.add(r.visit, true, now)
	}
	if s.w.down != nil {
		s.lose(s.w.down)
	}
	s.snapshot = s.news()
	if s.changes && s.w.down == nil || s.snapshot == nil {
		s.snapshot = []change{}
	}
	s.wake()
}

// take returns what is to be told next, the snapshot first; nil if there is nothing. The error is the watcher's.
func (s *subscription) take() ([]change, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	news := s.snapshot
	s.snapshot = nil
	if news == nil {
		news = s.news()
	}
	if news == nil {
		return nil, s.w.err
	}
	return news, nil
}

// news is the difference between what has been told and what there is to tell, and makes it told.
func (s *subscription) news() (news []change) {
	s.entries = slices.DeleteFunc(s.entries, func(e *entry) (over bool) {
		c := change{entry: *e}
		switch {
		case e.outage != nil:
			c.outage = *e.outage
			over = !c.outage.ended.IsZero()
			if e.told && !over {
				return false
			}
		default:
			c.visit = *e.visit
			over = !c.visit.gone.IsZero()
			if e.told && !over && e.events == e.visit.events {
				return false
			}
			e.events, e.present, e.atr = c.visit.events, c.visit.present, c.visit.atr
		}
		e.told = true
		news = append(news, c)
		return over
	})
	return news
}

// change is what has become of a reader or of the service since the last change of its entry.
type change struct {
	entry  entry // before
	visit  visit // or
	outage outage
}

// tell makes events of the change. It ends with the first error of emit.
func (c *change) tell(emit func(Event) error) error {
	if c.entry.outage != nil {
		return c.tellService(emit)
	}
	v := &c.visit
	if !c.entry.told {
		e := Event{Kind: ReaderAdded, Reader: v.name, State: c.entry.state, Initial: c.entry.initial >= 0, Time: c.entry.came}
		if err := emit(e); err != nil {
			return err
		}
	}
	if err := c.tellCards(emit); err != nil || v.gone.IsZero() {
		return err
	}
	if v.present {
		e := Event{Kind: CardRemoved, Reader: v.name, ATR: bytes.Clone(v.atr), State: v.left, Time: v.gone, Err: v.why}
		if err := emit(e); err != nil {
			return err
		}
	}
	return emit(Event{Kind: ReaderRemoved, Reader: v.name, State: v.left, Time: v.gone, Err: v.why})
}

func (c *change) tellService(emit func(Event) error) error {
	if !c.entry.told {
		if err := emit(Event{Kind: ServiceDown, Time: c.outage.began, Err: c.outage.why}); err != nil {
			return err
		}
	}
	if c.outage.ended.IsZero() {
		return nil
	}
	return emit(Event{Kind: ServiceUp, Time: c.outage.ended})
}

// tellCards tells the insertions and removals. The ATR is known of the card that was there before and of the one that is
// there now.
func (c *change) tellCards(emit func(Event) error) error {
	v, present := &c.visit, c.entry.present
	n := c.entry.more + v.events - c.entry.events
	for i := 1; i <= n; i++ {
		present = !present
		e := Event{Kind: CardRemoved, Reader: v.name, State: StateEmpty, Time: v.changed}
		if present {
			e.Kind, e.State = CardInserted, StatePresent
		}
		if c.entry.events+i <= c.entry.initial {
			e.Initial, e.Time = true, c.entry.came
		}
		switch {
		case present && i == n:
			e.ATR = bytes.Clone(v.atr)
		case !present && i == 1 && n <= 2: // no other card has been removed since
			e.ATR = bytes.Clone(v.removed)
		case !present && i == 1:
			e.ATR = bytes.Clone(c.entry.atr)
		default:
			e.Inferred = true
		}
		if i == n {
			e.State = v.state
		}
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}
