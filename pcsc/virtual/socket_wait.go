//go:build unix

package virtual

import (
	"net"
	"slices"
	"time"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A wait is for one event, which the client gets, unless it takes the wait back before that.
type wait struct {
	end  chan winscard.Code // a code ends it, as in client.waits
	stop chan struct{}      // closed when it was taken back
	told chan struct{}      // closed when the client has got all readers' states
}

// libpcsclite from 4:5 on asks for more after it has begun to wait, one thing after the other, and takes the first that
// comes for the answer, an event included. So an event is held back for as long as the client may be about to ask:
// until quietTime has passed since its last answer, and from 4:6 on until it has got the readers' states, at most
// tellTime.
const (
	quietTime = 20 * time.Millisecond
	tellTime  = time.Second
)

// startWaiting begins a wait, and answers with all states in the versions that have that. Whatever changes afterwards
// is an event.
func (p *peer) startWaiting() error {
	p.write.Lock()
	defer p.write.Unlock()
	if p.wait != nil {
		return errOrder
	}
	w := &wait{end: make(chan winscard.Code, 1), stop: make(chan struct{}), told: make(chan struct{})}
	s := p.server.service
	s.mu.Lock()
	states := s.publicStates()
	events := s.events.wait()
	c := p.client
	switch {
	case p.server.closed, c != nil && c.dead:
		s.mu.Unlock()
		return net.ErrClosed
	case c != nil:
		c.waits = append(c.waits, w.end)
	}
	p.wait = w
	p.server.begin(func() { p.watch(w, c, events) })
	s.mu.Unlock()

	if _, count := protocol.CmdWaitReaderStateChange.Reply(p.minor); count == 0 {
		return nil
	}
	close(w.told)
	return p.sendStates(states[:])
}

// watch sends the event when it has come.
func (p *peer) watch(w *wait, c *client, events <-chan struct{}) {
	rc := winscard.Success
	stopped := false
	select {
	case <-events:
	case rc = <-w.end:
	case <-w.stop:
		stopped = true
	}
	if c != nil {
		s := p.server.service
		s.mu.Lock()
		c.waits = slices.DeleteFunc(c.waits, func(end chan winscard.Code) bool { return end == w.end })
		s.mu.Unlock()
	}
	if stopped || !p.holdBack(w) {
		return
	}
	p.write.Lock()
	defer p.write.Unlock()
	if p.wait == w {
		p.wait = nil
		// If that fails, so does reading from the connection.
		_ = p.send(nil, &protocol.Event{RV: rc})
	}
}

// holdBack waits until an event cannot be taken for an answer. It returns false if the wait was taken back.
func (p *peer) holdBack(w *wait) bool {
	if p.minor < 5 {
		return true
	}
	until := time.NewTimer(tellTime)
	defer until.Stop()
	select {
	case <-w.told:
	case <-until.C:
	case <-w.stop:
		return false
	}
	for {
		p.write.Lock()
		rest := quietTime - time.Since(p.answered)
		p.write.Unlock()
		if rest <= 0 {
			return true
		}
		until.Reset(rest)
		select {
		case <-until.C:
		case <-w.stop:
			return false
		}
	}
}

// stopWaiting takes the wait back. It returns false if there is none, or if its event is on its way.
func (p *peer) stopWaiting() bool {
	p.write.Lock()
	defer p.write.Unlock()
	if p.wait == nil {
		return false
	}
	close(p.wait.stop)
	p.wait = nil
	return true
}

// stopWaitingAndTell is stopWaiting with the answer, which the client gets in place of the event.
func (p *peer) stopWaitingAndTell() error {
	if !p.stopWaiting() {
		return nil
	}
	return p.reply(nil, &protocol.Event{})
}

// sendStates sends readers' states. The caller holds p.write.
func (p *peer) sendStates(states []protocol.ReaderState) error {
	messages := make([]protocol.Message, len(states))
	for i := range states {
		messages[i] = &states[i]
	}
	return p.send(nil, messages...)
}

func (p *peer) states() [maxReaders]protocol.ReaderState {
	s := p.server.service
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publicStates()
}

func (p *peer) readersState() error {
	states := p.states()
	p.write.Lock()
	defer p.write.Unlock()
	return p.sendStates(states[:])
}

// readersStateSize tells how many states readersStateArray will give: those of all readers.
func (p *peer) readersStateSize() error {
	states := p.states()
	p.places = len(taken(states[:]))
	return p.reply(nil, &protocol.ReaderCount{Count: int32(p.places)})
}

// readersStateArray gives as many states as were told. Readers that came since then are left out, and empty places take
// the place of those that went: the client is going to be told.
func (p *peer) readersStateArray() error {
	states := p.states()
	list := append(taken(states[:]), make([]protocol.ReaderState, maxReaders)...)
	p.write.Lock()
	defer p.write.Unlock()
	err := p.sendStates(list[:p.places])
	if p.wait != nil {
		select {
		case <-p.wait.told:
		default:
			close(p.wait.told)
		}
	}
	return err
}

// taken leaves out the places without a reader.
func taken(states []protocol.ReaderState) []protocol.ReaderState {
	return slices.DeleteFunc(states, func(s protocol.ReaderState) bool { return s.Name == "" })
}

// readerEvents tells how often readers have come and gone, as a number that is never 0 and has 15 bits.
func (p *peer) readerEvents() error {
	s := p.server.service
	s.mu.Lock()
	plugs := s.plugs
	s.mu.Unlock()
	return p.reply(nil, &protocol.ReaderEvents{Count: 1 + plugs%0x7FFF})
}
