package virtual

import (
	"slices"
	"strings"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// Status tells the reader's name, the state of the card with the event counter in the upper 16 bits, the protocol in
// use and the ATR. It waits while another connection holds the lock.
//
// The name is written as libpcsclite does, with one NUL and not two at the end, and readersLen counts that NUL. If a
// buffer is too short, it gets as much as fits, and the code is ErrInsufficientBuffer; all other results are valid.
func (s *Service) Status(card winscard.Card, readers, atr []byte) (readersLen int, state, protocol uint32, atrLen int, rc winscard.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, rc := s.connection(card)
	if rc != winscard.Success {
		return 0, 0, 0, 0, rc
	}
	if rc := s.suffer(s.strike(OpStatus, nil, h.reader)); rc != winscard.Success {
		return 0, 0, 0, 0, rc
	}
	for {
		rc := s.valid(h)
		if rc == winscard.ErrInvalidValue && s.find(h.name) == nil {
			// libpcsclite looks for the name before it asks the service about the connection.
			rc = winscard.ErrReaderUnavailable
		}
		if rc != winscard.Success {
			return 0, 0, 0, 0, rc
		}
		if !h.reader.lockedOut(h) {
			break
		}
		if rc := s.standBy(h.client); rc != winscard.Success {
			return 0, 0, 0, 0, rc
		}
	}
	r := h.reader
	if rc := h.event.code(); rc != winscard.Success {
		return 0, 0, 0, 0, rc
	}
	if r.has(winscard.CardUnknown) {
		return 0, 0, 0, 0, winscard.ErrReaderUnavailable
	}
	r.settle()
	readersLen, atrLen = len(r.name)+1, len(r.atr)
	if len(readers) > 0 {
		if n := copy(readers, r.name); n < len(readers) {
			readers[n] = 0
		}
		if len(readers) < readersLen {
			rc = winscard.ErrInsufficientBuffer
		}
	}
	if len(atr) > 0 {
		copy(atr, r.atr)
		if len(atr) < atrLen {
			rc = winscard.ErrInsufficientBuffer
		}
	}
	state = uint32(s.slots[r.place].counter)<<16 | uint32(r.state)
	return readersLen, state, r.protocol, atrLen, rc
}

// GetStatusChange waits until a reader's state differs from what the caller knows of it, at most timeout milliseconds
// (winscard.Infinite: for ever; 0: it does not wait), and then writes EventState, ATR and ATRLen of all states. After
// the time it returns ErrTimeout, with the states written all the same. [Service.Cancel] ends it with ErrCancelled.
//
// What counts as a difference is libpcsclite's choice: StateUnaware; the event counter in the upper 16 bits of
// CurrentState, if it is not 0; card in or out; mute or not; the end of StateInUse or StateExclusive, but not their
// beginning; a reader that comes or goes. It never sets StateATRMatch or StateUnpowered. The reader
// `\\?PnP?\Notification` changes when the number of readers does, during the call.
//
// A reader that does not exist gives ErrUnknownReader at once; one that goes away during the call gets StateUnknown and
// StateUnavailable. More than 16 states give ErrInvalidParameter. With no states, or with all to be ignored, it
// returns Success at once, whatever the context is.
func (s *Service) GetStatusChange(ctx winscard.Context, timeout uint32, states []winscard.ReaderState) winscard.Code {
	if len(states) > maxReaders {
		return winscard.ErrInvalidParameter
	}
	watched := false
	for i := range states {
		if strings.IndexByte(states[i].Reader, 0) >= 0 {
			return winscard.ErrInvalidParameter
		}
		watched = watched || !ignored(&states[i])
	}
	if !watched {
		return winscard.Success
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	c, rc := s.client(ctx)
	if rc != winscard.Success {
		return rc
	}
	for i := range states {
		if s.place(states[i].Reader) < 0 && !isPnP(states[i].Reader) && !c.windows {
			return winscard.ErrUnknownReader
		}
	}
	for i := range states {
		states[i].EventState = 0
	}
	var (
		readers = s.count()
		timer   <-chan time.Time
		expired = timeout == 0
	)
	if len(s.injections) > 0 {
		if rc := s.suffer(s.strike(OpGetStatusChange, nil, s.watched(states)...)); rc != winscard.Success {
			return rc
		}
		if rc := s.alive(c); rc != winscard.Success {
			return inFlight(rc)
		}
	}
	for {
		changed := false
		for i := range states {
			if !ignored(&states[i]) && s.observe(c, &states[i], &readers) {
				changed = true
			}
		}
		if changed {
			return winscard.Success
		}
		if expired {
			return winscard.ErrTimeout
		}
		if timer == nil && timeout != winscard.Infinite {
			t := time.NewTimer(time.Duration(timeout) * time.Millisecond)
			defer t.Stop()
			timer = t.C
		}

		end := make(chan winscard.Code, 1)
		c.waits = append(c.waits, end)
		events := s.events.wait()
		s.mu.Unlock()
		select {
		case <-events:
		case <-timer:
			expired = true
		case rc = <-end:
		}
		s.mu.Lock()
		c.waits = slices.DeleteFunc(c.waits, func(w chan winscard.Code) bool { return w == end })
		if rc == winscard.Success && len(end) > 0 {
			rc = <-end
		}
		if rc != winscard.Success {
			return rc
		}
	}
}

func ignored(state *winscard.ReaderState) bool {
	return state.CurrentState&uint32(winscard.StateIgnore) != 0
}

// watched are the readers of the states that are not to be ignored. The caller holds s.mu.
func (s *Service) watched(states []winscard.ReaderState) (readers []*Reader) {
	for i := range states {
		if !ignored(&states[i]) {
			readers = append(readers, s.find(states[i].Reader))
		}
	}
	return readers
}

// vacancy is what clients see in a place without a reader.
var vacancy Reader

// place finds the place of the reader with that name, or returns a negative number. Like libpcsclite it finds the empty
// name in a place without a reader. The caller holds s.mu.
func (s *Service) place(name string) int {
	for i := range s.slots {
		if r := s.slots[i].reader; r == nil && name == "" || r != nil && r.name == name {
			return i
		}
	}
	return -1
}

func isPnP(reader string) bool { return strings.EqualFold(reader, winscard.PnPNotification) }

// count counts the readers. The caller holds s.mu.
func (s *Service) count() (n int) {
	for i := range s.slots {
		if s.slots[i].reader != nil {
			n++
		}
	}
	return n
}

// observe writes what is so of a reader to state and reports whether that differs from what the caller knows. readers
// is the number of readers that a PnP notification last told. The caller holds s.mu.
func (s *Service) observe(c *client, state *winscard.ReaderState, readers *int) bool {
	var (
		current = winscard.State(state.CurrentState)
		event   winscard.State
		changed bool
	)
	knows := func(flag winscard.State) bool { return current&flag != 0 }
	note := func(is bool) { changed = changed || is }

	place := s.place(state.Reader)
	switch {
	case place < 0 && isPnP(state.Reader) && c.windows:
		n := uint32(s.count())
		event = winscard.State(n << 16)
		note(n != uint32(current)>>16)
	case place < 0 && c.windows:
		event = winscard.StateUnknown | winscard.StateIgnore
		note(!knows(winscard.StateUnknown))
	case place < 0 && isPnP(state.Reader):
		n := s.count()
		note(n != *readers)
		*readers = n
	case place < 0:
		event = winscard.StateUnknown | winscard.StateUnavailable
		note(!knows(winscard.StateUnknown))
	default:
		r := s.slots[place].reader
		if r == nil {
			r = &vacancy
		}
		counter := uint32(s.slots[place].counter)
		known := uint32(current) >> 16
		note(known != 0 && known != counter)
		note(current == winscard.StateUnaware)
		note(knows(winscard.StateUnknown))
		event = winscard.State(counter << 16)
		if r.has(winscard.CardUnknown) {
			event = winscard.StateUnavailable
			note(!knows(winscard.StateUnavailable))
		} else {
			note(knows(winscard.StateUnavailable))
		}

		state.ATRLen = 0
		switch {
		case r.has(winscard.CardPresent):
			state.ATRLen = uint32(copy(state.ATR[:], r.atr))
			event |= winscard.StatePresent
			mute := r.has(winscard.CardSwallowed)
			if mute {
				event |= winscard.StateMute
			}
			note(knows(winscard.StateEmpty))
			note(mute != knows(winscard.StateMute))
		case r.has(winscard.CardAbsent):
			event |= winscard.StateEmpty
			note(knows(winscard.StatePresent))
		}

		switch {
		case r.sharing == exclusive:
			event |= winscard.StateExclusive
			note(knows(winscard.StateInUse))
		case r.sharing == 0:
			note(knows(winscard.StateInUse | winscard.StateExclusive))
		case r.has(winscard.CardPresent):
			event |= winscard.StateInUse
			note(knows(winscard.StateExclusive))
		}
	}
	if changed {
		event |= winscard.StateChanged
	}
	state.EventState = uint32(event)
	return changed
}
