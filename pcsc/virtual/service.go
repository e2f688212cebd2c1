package virtual

import (
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// The limits of pcsc-lite as Debian builds it. They are not those of the contract, which may be larger because it
// serves every platform.
const (
	maxReaders     = 16    // PCSCLITE_MAX_READERS_CONTEXTS
	maxReaderName  = 128   // MAX_READERNAME, the terminating NUL included
	maxATR         = 33    // MAX_ATR_SIZE
	maxExtended    = 65548 // MAX_BUFFER_SIZE_EXTENDED
	maxAttrib      = 264   // MAX_BUFFER_SIZE
	maxContexts    = 200   // PCSC_MAX_CONTEXT_THREADS
	maxConnections = 200   // PCSC_MAX_CONTEXT_CARD_HANDLES and PCSC_MAX_READER_HANDLES
)

// Service is a PC/SC resource manager with its readers, its cards and its clients' contexts. It implements
// [winscard.Backend]; the functions that pcsc-lite does not have (CancelTransaction, SetTimeout) return
// ErrUnsupportedFunction.
//
// All methods may be called concurrently. Create it with [New].
type Service struct {
	winscard.Unimplemented

	powerOff time.Duration // how long an unused card keeps its power; 0 for ever

	// mu guards everything below and every Reader, client and connection. It is never held while a card, a
	// controller or a caller is waited for.
	mu          sync.Mutex
	running     bool
	stops       int  // how often it was stopped
	changing    bool // Start or Stop is at work; not a mutex, as waiting for one stops a synctest bubble's time
	slots       [maxReaders]slot
	clients     map[winscard.Context]*client
	connections map[winscard.Card]*connection
	injections  []*Injection // in the order in which they strike

	// plugs counts readers that come and go.
	plugs uint32
	// outlets are where clients of other processes come in.
	outlets []outlet

	// events is raised when a reader's state may have changed: what GetStatusChange waits for.
	events signal
	// released is raised when a lock, a busy card or a connection goes away: what all other calls wait for.
	released signal
}

var _ winscard.Backend = (*Service)(nil)

// slot is a reader's place in the list of readers. The event counter belongs to the place and outlives the reader, so
// that a client which knew the previous reader sees a difference.
type slot struct {
	reader  *Reader
	counter uint16
}

// Option changes a Service that New makes.
type Option func(*Service)

// DefaultPowerOff is how long pcscd leaves an unused card powered.
const DefaultPowerOff = 5 * time.Second

// WithPowerOff sets for how long a card keeps its power while it is not used, that is after its insertion and after
// the last Disconnect; the next Connect powers it up again, which resets it. 0 or less means for ever. The default is
// [DefaultPowerOff].
func WithPowerOff(after time.Duration) Option {
	return func(s *Service) { s.powerOff = max(after, 0) }
}

// New makes a service that runs, with no reader. It holds no resources besides memory and need not be closed.
func New(opts ...Option) *Service {
	s := &Service{powerOff: DefaultPowerOff, running: true}
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	return s
}

// Readers returns the connected readers, in the order of ListReaders.
func (s *Service) Readers() []*Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	var readers []*Reader
	for i := range s.slots {
		if r := s.slots[i].reader; r != nil {
			readers = append(readers, r)
		}
	}
	return readers
}

// Stop ends the service as the end of pcscd does. Readers stay plugged in and cards stay inserted.
//
// EstablishContext returns ErrNoService until Start. Contexts and connections that were open are dead for good: calls
// that wait end with ErrNoService or ErrCommError, further ones return ErrNoService, but IsValidContext still succeeds
// until the context is released, because libpcsclite answers that without the service. Stop does not wait for a card
// that is working on an APDU.
func (s *Service) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.change()()
	if s.running {
		s.stop()
	}
}

// stop does the work of Stop. The caller holds s.mu.
func (s *Service) stop() {
	s.running = false
	s.stops++
	for _, c := range s.clients {
		c.dead = true
		c.endWaits(winscard.ErrCommError)
	}
	for i := range s.slots {
		if r := s.slots[i].reader; r != nil {
			r.forgetClients()
			r.empty()
		}
		s.slots[i].counter = 0
	}
	s.plugs = 0
	s.events.raise()
	s.released.raise()
	for _, o := range s.outlets {
		o.stopped()
	}
}

// Start lets a stopped service run again. It powers up the cards that are in the readers, and blocks while they do.
// Contexts from before Stop stay dead.
func (s *Service) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.change()()
	if s.running {
		return
	}
	// Cards may be inserted while another one is powered up, hence the search from the beginning each time.
	for r := s.unread(); r != nil; r = s.unread() {
		r.discover()
	}
	s.running = true
	s.plugs = uint32(s.count())
	for _, o := range s.outlets {
		o.started()
	}
}

// An outlet lets clients of other processes use a service. Its methods are called with Service.mu held.
type outlet interface {
	stopped() // cuts off all clients
	started() // lets them come back
}

// change waits for another Start or Stop, which releases mu while it calls into cards, to be over. What it returns ends
// this one. The caller holds s.mu.
func (s *Service) change() (end func()) {
	for s.changing {
		s.pause()
	}
	s.changing = true
	return func() {
		s.changing = false
		s.released.raise()
	}
}

// unread finds a reader whose card the service has not looked at. The caller holds s.mu.
func (s *Service) unread() *Reader {
	for i := range s.slots {
		if r := s.slots[i].reader; r != nil && r.inserted != nil && !r.has(winscard.CardPresent) {
			return r
		}
	}
	return nil
}

// find returns the reader with that name, or nil. The caller holds s.mu.
func (s *Service) find(name string) *Reader {
	for i := range s.slots {
		if r := s.slots[i].reader; r != nil && r.name == name {
			return r
		}
	}
	return nil
}

// signal wakes any number of waiters, each of which then looks for itself whether its condition holds. It is a channel
// and not a sync.Cond because waiters also wait for timers. Service.mu guards it; the zero value is ready, and raising
// a signal that nobody waits for costs nothing.
type signal struct{ ch chan struct{} }

// wait returns a channel that the next raise closes.
func (g *signal) wait() <-chan struct{} {
	if g.ch == nil {
		g.ch = make(chan struct{})
	}
	return g.ch
}

func (g *signal) raise() {
	if g.ch != nil {
		close(g.ch)
		g.ch = nil
	}
}

// pause releases s.mu until the signal released is raised. Everything may have changed when it returns.
func (s *Service) pause() { s.pauseFor(nil) }

// pauseFor is pause, but not beyond the end of a timer: it returns false then.
func (s *Service) pauseFor(end <-chan time.Time) bool {
	ch := s.released.wait()
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-ch:
		return true
	case <-end:
		return false
	}
}
