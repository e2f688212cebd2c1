package virtual

import (
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// connection is a card handle.
type connection struct {
	id     winscard.Card
	client *client
	reader *Reader // nil after the reader was unplugged
	name   string  // the reader's
	event  event
}

// event is what happened to the card since the connection was made or renewed.
type event int

const (
	eventNone event = iota
	eventReset
	eventRemoved
)

// code is what most calls return after the event.
func (e event) code() winscard.Code {
	switch e {
	case eventReset:
		return winscard.ErrResetCard
	case eventRemoved:
		return winscard.ErrRemovedCard
	}
	return winscard.Success
}

// protocolAnyOld is what pcscd accepts for "any protocol" besides the mask of T=0 and T=1, for old clients.
const protocolAnyOld = 0x1000

// connection finds a connection that can be used. The caller holds s.mu.
func (s *Service) connection(card winscard.Card) (*connection, winscard.Code) {
	h, ok := s.connections[card]
	switch {
	case !ok:
		return nil, winscard.ErrInvalidHandle
	case h.client.dead:
		return nil, winscard.ErrNoService
	}
	return h, winscard.Success
}

// valid says with what code a call on h must end, or Success; needed again each time that s.mu was released. The
// caller holds s.mu.
func (s *Service) valid(h *connection) winscard.Code {
	switch {
	case h.client.dead:
		return winscard.ErrNoService
	case s.connections[h.id] != h:
		return winscard.ErrInvalidHandle
	case h.reader == nil:
		return winscard.ErrInvalidValue
	}
	return winscard.Success
}

// inFlight turns the code of a call that the end of the service interrupts while it is with pcscd, and not between two
// attempts of libpcsclite, into the one that libpcsclite makes of that.
func inFlight(rc winscard.Code) winscard.Code {
	if rc == winscard.ErrNoService {
		return winscard.ErrCommError
	}
	return rc
}

// checkProtocols says whether a mask of protocols is one to connect with. ShareDirect needs none.
func checkProtocols(shareMode, protocols uint32) winscard.Code {
	const known = uint32(winscard.ProtocolT0) | uint32(winscard.ProtocolT1) | protocolAnyOld
	if winscard.ShareMode(shareMode) != winscard.ShareDirect && protocols&(known|uint32(winscard.ProtocolRaw)) == 0 {
		return winscard.ErrProtoMismatch
	}
	return winscard.Success
}

func checkShareMode(shareMode uint32) winscard.Code {
	switch winscard.ShareMode(shareMode) {
	case winscard.ShareExclusive, winscard.ShareShared, winscard.ShareDirect:
		return winscard.Success
	}
	return winscard.ErrInvalidValue
}

func checkDisposition(disposition uint32) winscard.Code {
	switch winscard.Disposition(disposition) {
	case winscard.LeaveCard, winscard.ResetCard, winscard.UnpowerCard, winscard.EjectCard:
		return winscard.Success
	}
	return winscard.ErrInvalidValue
}

// Connect opens a connection to the card in a reader, or with ShareDirect to the reader. The name is that of
// ListReaders; one over 128 bytes gives ErrInvalidValue, an unknown one ErrUnknownReader.
//
// It waits while another connection is in a transaction, but returns ErrSharingViolation at once if another one is
// exclusive, or if ShareExclusive is asked for and there is another one. It powers up the card if necessary and
// returns ErrUnpoweredCard if that fails, ErrNoSmartcard without a card, and ErrProtoMismatch if the card offers none
// of the protocols, does not come up again after it has lost its power, or others have already agreed with it on
// another protocol. T=1 is preferred to T=0.
func (s *Service) Connect(ctx winscard.Context, reader string, shareMode, preferredProtocols uint32) (winscard.Card, uint32, winscard.Code) {
	if strings.IndexByte(reader, 0) >= 0 {
		return 0, 0, winscard.ErrInvalidParameter
	}
	if len(reader) > maxReaderName {
		return 0, 0, winscard.ErrInvalidValue
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, rc := s.client(ctx)
	if rc != winscard.Success {
		return 0, 0, rc
	}
	if rc := checkProtocols(shareMode, preferredProtocols); rc != winscard.Success {
		return 0, 0, rc
	}
	if rc := checkShareMode(shareMode); rc != winscard.Success {
		return 0, 0, rc
	}
	mode := winscard.ShareMode(shareMode)
	if rc := s.suffer(s.strike(OpConnect, nil, s.find(reader))); rc != winscard.Success {
		return 0, 0, rc
	}
	r, rc := s.prepare(c, reader, mode)
	if rc != winscard.Success {
		return 0, 0, rc
	}
	if rc := r.negotiate(mode, preferredProtocols); rc != winscard.Success {
		return 0, 0, rc
	}
	if mode == winscard.ShareExclusive && r.sharing != 0 {
		return 0, 0, winscard.ErrSharingViolation
	}
	if len(r.connections) >= maxConnections {
		return 0, 0, winscard.ErrInternalError
	}
	if len(c.connections) >= maxConnections {
		return 0, 0, winscard.ErrNoMemory
	}

	h := &connection{id: winscard.Card(newID()), client: c, reader: r, name: r.name}
	for s.connections[h.id] != nil {
		h.id = winscard.Card(newID())
	}
	if s.connections == nil {
		s.connections = make(map[winscard.Card]*connection)
	}
	s.connections[h.id] = h
	c.connections = append(c.connections, h)
	r.connections = append(r.connections, h)
	if mode == winscard.ShareExclusive {
		r.sharing = exclusive
		r.lock(h)
	} else {
		r.sharing++
	}
	s.events.raise()
	return h.id, r.protocol, winscard.Success
}

// prepare finds a reader to connect to, waits until no transaction is in the way, and sees to it that the card has
// power if the mode requires that. The caller holds s.mu, which is released meanwhile.
func (s *Service) prepare(c *client, name string, mode winscard.ShareMode) (*Reader, winscard.Code) {
	waited := false
	for {
		if rc := s.alive(c); rc != winscard.Success {
			return nil, inFlight(rc)
		}
		r := s.find(name)
		switch {
		case r == nil:
			return nil, winscard.ErrUnknownReader
		case r.has(winscard.CardUnknown):
			return nil, winscard.ErrReaderUnavailable
		case r.sharing == exclusive && !waited:
			return nil, winscard.ErrSharingViolation
		case r.owner != nil:
			waited = true // and it goes on to wait if the other connection becomes exclusive
			s.pause()
			continue
		}
		r.settle()
		if mode == winscard.ShareDirect {
			return r, winscard.Success
		}
		in := r.inserted
		if in == nil || !r.has(winscard.CardPresent) {
			return nil, winscard.ErrNoSmartcard
		}
		if r.use == unpowered {
			if in.line.busy {
				s.pause()
				continue
			}
			atr := s.do(in, powerUp)
			if s.alive(c) != winscard.Success || r.inserted != in || !r.has(winscard.CardPresent) {
				continue
			}
			// A card that lost its power still counts as powered, and if it does not come up again that is only
			// seen from its having no protocols: a fault of pcscd.
			if r.atr = atr; len(atr) > 0 {
				r.state = winscard.CardPresent | winscard.CardPowered | winscard.CardNegotiable
			}
		}
		if !r.has(winscard.CardPowered) {
			return nil, winscard.ErrUnpoweredCard
		}
		r.use = inUse
		return r, winscard.Success
	}
}

// negotiate settles the protocol, which all connections to a reader share. The caller holds s.mu.
func (r *Reader) negotiate(mode winscard.ShareMode, preferred uint32) winscard.Code {
	const (
		t0 = uint32(winscard.ProtocolT0)
		t1 = uint32(winscard.ProtocolT1)
	)
	switch raw := uint32(winscard.ProtocolRaw); {
	case preferred&raw != 0:
		r.protocol = raw
	case mode == winscard.ShareDirect:
	case r.protocol != 0:
		if preferred&r.protocol == 0 {
			return winscard.ErrProtoMismatch
		}
	default:
		if preferred&protocolAnyOld != 0 {
			preferred = t0 | t1
		}
		switch both := preferred & protocols(r.atr); {
		case both&t1 != 0:
			r.protocol = t1
		case both&t0 != 0:
			r.protocol = t0
		default:
			return winscard.ErrProtoMismatch
		}
	}
	return winscard.Success
}

// Reconnect renews a connection: after ErrResetCard or ErrRemovedCard, to change its mode or its protocols, or to
// reset the card (initialization LeaveCard, ResetCard or UnpowerCard, which is a cold reset; others give
// ErrInvalidValue).
//
// It waits while another connection holds the lock, and with ShareExclusive until all other connections are gone.
// It returns ErrNoSmartcard without a card, even for ShareDirect, and ErrUnresponsiveCard if the card is mute.
func (s *Service) Reconnect(card winscard.Card, shareMode, preferredProtocols, initialization uint32) (uint32, winscard.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, rc := s.connection(card)
	if rc != winscard.Success {
		return 0, rc
	}
	init, mode := winscard.Disposition(initialization), winscard.ShareMode(shareMode)
	switch init {
	case winscard.LeaveCard, winscard.ResetCard, winscard.UnpowerCard:
	default:
		return 0, winscard.ErrInvalidValue
	}
	if rc := checkShareMode(shareMode); rc != winscard.Success {
		return 0, rc
	}
	if rc := checkProtocols(shareMode, preferredProtocols); rc != winscard.Success {
		return 0, rc
	}
	if rc := s.suffer(s.strike(OpReconnect, nil, h.reader)); rc != winscard.Success {
		return 0, rc
	}
	for {
		if rc := s.valid(h); rc != winscard.Success {
			return 0, rc
		}
		r := h.reader
		if r.has(winscard.CardUnknown) {
			return 0, winscard.ErrReaderUnavailable
		}
		if r.lockedOut(h) {
			if h.client.windows {
				return 0, winscard.ErrSharingViolation
			}
			if rc := s.standBy(h.client); rc != winscard.Success {
				return 0, rc
			}
			continue
		}
		r.settle()
		if rc := s.initialize(h, init); rc != winscard.Success {
			return 0, rc
		}
		if rc := r.negotiate(mode, preferredProtocols); rc != winscard.Success {
			return 0, rc
		}
		if mode != winscard.ShareDirect && preferredProtocols&uint32(winscard.ProtocolRaw) == 0 {
			r.use = inUse
		}
		if mode == winscard.ShareExclusive && r.sharing > 1 {
			// libpcsclite goes on asking, which resets the card again each time. Here it is reset once more at the end.
			for again := true; again; {
				if rc := s.standBy(h.client); rc != winscard.Success {
					return 0, rc
				}
				again = init != winscard.LeaveCard && s.valid(h) == winscard.Success && r.sharing > 1 && r.has(winscard.CardPresent)
			}
			continue
		}
		// pcscd tells those who wait for changes of the sharing alone, not of the reset.
		switch {
		case mode == winscard.ShareExclusive && r.sharing != exclusive:
			r.sharing = exclusive
			r.lock(h)
			s.events.raise()
		case mode != winscard.ShareExclusive && r.sharing == exclusive:
			// In this order, so that the lock remains: a fault of pcscd that clients have to live with.
			r.unlock(h)
			r.sharing = 1
			s.events.raise()
		}
		h.event = eventNone
		s.released.raise() // another Reconnect that waits may not be able to use the protocol
		return r.protocol, winscard.Success
	}
}

// initialize does to the card what Reconnect asks for. The caller holds s.mu, which is released meanwhile.
func (s *Service) initialize(h *connection, init winscard.Disposition) winscard.Code {
	r := h.reader
	if init == winscard.LeaveCard {
		switch {
		case r.has(winscard.CardAbsent):
			return winscard.ErrNoSmartcard
		case r.has(winscard.CardSwallowed):
			return winscard.ErrUnresponsiveCard
		}
		return winscard.Success
	}
	r.notify(eventReset)
	what := warmReset
	if init == winscard.UnpowerCard {
		what = cold
	}
	switch rc := s.repower(r, what, func() winscard.Code { return s.valid(h) }); rc {
	case winscard.ErrRemovedCard:
		return winscard.ErrNoSmartcard
	case winscard.ErrNotTransacted:
		return winscard.ErrUnresponsiveCard
	case winscard.Success:
		return winscard.Success
	default:
		return inFlight(rc)
	}
}

// repower changes the power of the card in a reader and notes the outcome: Success, ErrRemovedCard, ErrNotTransacted
// for a card that is mute, or what valid says after s.mu was released. The caller holds s.mu.
func (s *Service) repower(r *Reader, what power, valid func() winscard.Code) winscard.Code {
	r.settle()
	in := r.inserted
	gone := func() bool { return r.inserted != in || !r.has(winscard.CardPresent) }
	if in == nil || gone() {
		r.protocol = 0
		if what == powerDown {
			r.use = unpowered
		}
		return winscard.ErrRemovedCard
	}
	for in.line.busy {
		s.pause()
		if rc := valid(); rc != winscard.Success {
			return rc
		}
		if gone() {
			return winscard.ErrRemovedCard
		}
	}
	atr := s.do(in, what)
	if rc := valid(); rc != winscard.Success {
		return rc
	}
	if gone() {
		return winscard.ErrRemovedCard
	}
	if what == powerDown {
		// The ATR stays.
		r.protocol = 0
		r.state = winscard.CardPresent
		r.use = unpowered
		return winscard.Success
	}
	return r.powered(atr)
}

// Disconnect closes a connection and leaves, resets, unpowers or ejects the card; other dispositions give
// ErrInvalidValue. It ends the connection's transactions. Unless it leaves the card it waits for the end of another
// connection's transaction, and for an APDU that is under way.
func (s *Service) Disconnect(card winscard.Card, disposition uint32) winscard.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, rc := s.connection(card)
	if rc != winscard.Success {
		return rc
	}
	if rc := checkDisposition(disposition); rc != winscard.Success {
		return rc
	}
	if rc := s.suffer(s.strike(OpDisconnect, nil, h.reader)); rc != winscard.Success {
		return rc
	}
	what := winscard.Disposition(disposition)
	for what != winscard.LeaveCard && h.reader != nil && h.reader.lockedOut(h) {
		if h.client.windows {
			return winscard.ErrSharingViolation
		}
		s.pause()
		if rc := s.valid(h); rc != winscard.Success && rc != winscard.ErrInvalidValue {
			return inFlight(rc)
		}
	}
	s.disconnect(h, what)
	if h.client.dead {
		return winscard.ErrCommError
	}
	if s.connections[h.id] != h {
		return winscard.ErrInvalidHandle // closed by another call while this one was with the card
	}
	delete(s.connections, h.id)
	h.client.connections = slices.DeleteFunc(h.client.connections, func(o *connection) bool { return o == h })
	s.released.raise()
	return winscard.Success
}

// disconnect takes h off its reader, after doing to the card what disposition says. The caller holds s.mu, which is
// released meanwhile.
func (s *Service) disconnect(h *connection, disposition winscard.Disposition) {
	r := h.reader
	if r == nil {
		return
	}
	if r.owner == h {
		r.owner, r.locks = nil, 0
		s.released.raise()
	}
	still := func() winscard.Code {
		switch {
		case h.client.dead:
			return winscard.ErrNoService
		case h.reader == nil:
			return winscard.ErrInvalidValue
		}
		return winscard.Success
	}
	switch disposition {
	case winscard.ResetCard:
		r.notify(eventReset)
		s.repower(r, warmReset, still)
	case winscard.UnpowerCard:
		r.notify(eventReset)
		s.repower(r, powerDown, still)
	case winscard.EjectCard:
		if r.ejects {
			r.pull()
			s.tellPulled(r.last)
		}
	}
	r.removeConnection(h)
}
