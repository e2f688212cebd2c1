package virtual

import (
	"bytes"
	"slices"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// Reader is a reader of a [Service], or a slot of one, with place for one card. [Service.AddReader] makes it. All methods
// may be called concurrently.
type Reader struct {
	service *Service
	name    string    // as clients see it
	number  int       // the first number in name
	slot    int       // the second
	slots   []*Reader // all of the device
	serial  string
	place   int // in Service.slots; negative when not connected

	// Service.mu guards the rest.

	inserted *insertion // the card in the reader, whether or not the service has looked at it yet
	last     *insertion // the latest one

	// What the service knows of the card.
	state    winscard.CardState
	atr      []byte // not changed in place
	protocol uint32 // the one in use; 0 until it is negotiated
	use      use
	idle     time.Time // since when use is idle

	// Who is connected.
	connections []*connection
	sharing     int         // number of connections, or exclusive
	owner       *connection // who holds the lock: a transaction or exclusive access
	locks       int         // how often owner holds it

	// Options.
	attributes map[uint32][]byte
	controller Controller
	control    line // serialises the controller's calls
	ejects     bool
}

// exclusive as Reader.sharing says that the one connection is exclusive.
const exclusive = -1

// use says what the service uses a card's power for. As in pcscd it is not quite whether the card has power: a reset
// gives a card power that nobody notes, and Reconnect calls a card without power one in use. Nor does it change when
// the card is pulled.
type use int

const (
	unpowered use = iota // none; the next Connect powers the card up
	idle                 // nothing: the power will go off some time after Reader.idle
	inUse                // connections
)

// Name returns the name under which clients know the reader, such as "Test Reader 00 00".
func (r *Reader) Name() string { return r.name }

// Connected reports whether the reader is plugged in: AddReader had place for it and RemoveReader was not called.
func (r *Reader) Connected() bool {
	if r.service == nil {
		return false
	}
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	return r.place >= 0
}

// Insert puts a card into the reader, in place of the card that may be there, and powers it up. When it returns,
// clients have been told. Insert waits while the card is busy with an APDU, so a card must not insert itself from
// within its own methods. A nil card removes the card.
//
// A card that has no valid answer to reset is mute: its reader's state has StateMute, and Connect returns
// ErrUnpoweredCard. While the service is stopped, the card waits for Start.
func (r *Reader) Insert(card Card) {
	if card == nil {
		r.Remove()
		return
	}
	s := r.service
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.pull()
	in := &insertion{card: card, reader: r, line: s.lineOf(card, r)}
	previous := r.last
	r.inserted, r.last = in, in
	if previous != nil && previous.line != in.line {
		s.tellPulled(previous)
	}
	if r.inserted != in {
		return // another one was faster
	}
	if r.place < 0 || !s.running {
		return
	}
	r.discover()
	if r.inserted == in && r.has(winscard.CardPresent) {
		r.count()
	}
}

// Remove pulls the card, at once, even in the middle of an APDU (whose Transmit then returns ErrNotTransacted).
// Connections get ErrRemovedCard until they reconnect, and transactions are over. Without a card it does nothing.
func (r *Reader) Remove() {
	if r.service == nil {
		return
	}
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	r.pull()
	r.service.tellPulled(r.last)
}

// Card returns the card in the reader, or nil.
func (r *Reader) Card() Card {
	if r.service == nil {
		return nil
	}
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	if r.inserted == nil {
		return nil
	}
	return r.inserted.card
}

// SetAttribute sets what GetAttrib returns for an attribute of the reader, at most 264 bytes; nil makes the attribute
// unsupported, and so does a longer value.
func (r *Reader) SetAttribute(id uint32, value []byte) {
	if r.service == nil {
		return
	}
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	if r.attributes == nil {
		r.attributes = make(map[uint32][]byte)
	}
	if len(value) > maxAttrib {
		value = nil
	}
	r.attributes[id] = bytes.Clone(value)
}

// SetController sets what answers Control and SetAttrib. With nil, the default, Control returns ErrUnsupportedFeature
// and SetAttrib ErrNotTransacted, as with a driver that knows neither.
func (r *Reader) SetController(c Controller) {
	if r.service == nil {
		return
	}
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	r.controller = c
}

// SetEject says whether the disposition EjectCard makes the reader give the card back, as a motorised reader does. By
// default it has no effect, as with nearly every reader.
func (r *Reader) SetEject(ejects bool) {
	if r.service == nil {
		return
	}
	r.service.mu.Lock()
	defer r.service.mu.Unlock()
	r.ejects = ejects
}

// The methods below are called with Service.mu held.

func (r *Reader) has(flags winscard.CardState) bool { return r.state&flags != 0 }

// empty makes the reader one without a card, as far as the service knows.
func (r *Reader) empty() {
	r.state = winscard.CardAbsent
	r.atr = nil
	r.protocol = 0
}

// powered notes that the card was reset: the state that follows from its ATR.
func (r *Reader) powered(atr []byte) winscard.Code {
	r.atr = atr
	r.protocol = 0
	if len(atr) == 0 {
		r.state = winscard.CardPresent | winscard.CardSwallowed
		return winscard.ErrNotTransacted
	}
	r.state = winscard.CardPresent | winscard.CardPowered | winscard.CardNegotiable
	return winscard.Success
}

// rest notes that nobody uses the card from now on.
func (r *Reader) rest() {
	r.use = idle
	r.idle = time.Now()
}

// settle takes the power from a card that was not used for long enough. pcscd does it with a timer, and clients cannot
// tell, since the reader's state does not show it; the card's own methods are called at the next power up.
func (r *Reader) settle() {
	after := r.service.powerOff
	if r.use == idle && after > 0 && time.Since(r.idle) >= after {
		r.use = unpowered
		r.protocol = 0
		if r.inserted != nil {
			r.inserted.line.lost = true
		}
	}
}

// discover powers up the card that was put into the reader and makes it known, if it is still there afterwards.
func (r *Reader) discover() {
	s, in := r.service, r.inserted
	for in.line.busy {
		s.pause()
		if r.inserted != in {
			return
		}
	}
	atr := s.do(in, powerUp)
	if r.inserted != in || r.place < 0 || r.has(winscard.CardPresent) {
		return
	}
	if r.powered(atr) == winscard.Success {
		r.rest()
	} else {
		r.use = unpowered
	}
	s.events.raise()
}

// count counts an insertion or a removal.
func (r *Reader) count() {
	if r.place >= 0 {
		r.service.slots[r.place].counter++
	}
	r.service.events.raise()
}

// pull takes the card out. The caller must call Service.tellPulled with r.last when it is done with its own work.
func (r *Reader) pull() {
	if in := r.inserted; in != nil {
		in.line.pulled = in.line.powered || in.line.busy
		r.inserted = nil
	}
	if !r.has(winscard.CardPresent) {
		return
	}
	r.notify(eventRemoved)
	r.owner, r.locks = nil, 0
	r.empty()
	r.count()
	r.service.released.raise()
}

// notify lets all connections see an event.
func (r *Reader) notify(e event) {
	for _, h := range r.connections {
		h.event = e
	}
}

// forgetClients drops all connections.
func (r *Reader) forgetClients() {
	r.connections = nil
	r.sharing = 0
	r.owner, r.locks = nil, 0
}

// lockedOut reports whether another connection holds the lock.
func (r *Reader) lockedOut(h *connection) bool { return r.owner != nil && r.owner != h }

// lock takes the lock, once more if h has it. The caller has made sure that h is not locked out.
func (r *Reader) lock(h *connection) {
	r.owner = h
	r.locks++
}

// unlock gives the lock back once. The lock that comes with exclusive access stays.
func (r *Reader) unlock(h *connection) winscard.Code {
	if r.lockedOut(h) {
		return winscard.ErrSharingViolation
	}
	if r.locks == 0 || r.sharing == exclusive && r.locks == 1 {
		return winscard.ErrNotTransacted
	}
	r.locks--
	if r.locks == 0 {
		r.owner = nil
		r.service.released.raise()
	}
	return winscard.Success
}

// removeConnection takes h off the reader's list and settles what followed from its being there.
func (r *Reader) removeConnection(h *connection) {
	i := slices.Index(r.connections, h)
	if i < 0 {
		return
	}
	r.connections = slices.Delete(r.connections, i, i+1)
	if r.owner == h {
		r.owner, r.locks = nil, 0
	}
	if r.sharing == exclusive {
		r.sharing = 0
	} else {
		r.sharing = max(r.sharing-1, 0)
	}
	if r.settle(); r.sharing == 0 && r.use != unpowered {
		r.rest()
	}
	r.service.events.raise()
	r.service.released.raise()
}
