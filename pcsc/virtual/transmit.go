package virtual

import "github.com/gopcsc/gopcsc/generated/winscard"

// Transmit sends an APDU to the card and writes its response to recv.
//
// It waits while another connection holds the lock and while the card is busy. The card is asked on the calling
// goroutine, and that cannot be cancelled. pci must be the protocol in use (else ErrProtoMismatch) or ProtocolRaw. A
// response that does not fit gives ErrInsufficientBuffer and its length; the card has executed the APDU then. An APDU
// over 65548 bytes gives ErrInsufficientBuffer too, and the length of recv; an empty APDU or buffer ErrInvalidParameter.
func (s *Service) Transmit(card winscard.Card, pci uint32, send, recv []byte) (int, winscard.Code) {
	if len(send) == 0 || len(recv) == 0 {
		return 0, winscard.ErrInvalidParameter
	}
	s.mu.Lock()
	h, rc := s.connection(card)
	if rc == winscard.Success && len(send) > maxExtended {
		s.mu.Unlock()
		return len(recv), winscard.ErrInsufficientBuffer // libpcsclite leaves the length as it is
	}
	var (
		in   *insertion
		hits []hit
	)
	if rc == winscard.Success {
		in, hits, rc = s.reach(h, pci, send)
	}
	s.mu.Unlock()
	if rc != winscard.Success {
		return 0, rc
	}
	response, rc := s.exchange(h, in, send, hits)
	switch {
	case rc != winscard.Success:
		return 0, rc
	case len(response) > maxExtended:
		return 0, winscard.ErrNotTransacted
	case len(response) > len(recv):
		return len(response), winscard.ErrInsufficientBuffer
	}
	return copy(recv, response), winscard.Success
}

// reach waits until h may send an APDU and reserves the card's line for it. The faults are those that strike between
// the APDU and its response. The caller holds s.mu, which is released meanwhile.
func (s *Service) reach(h *connection, pci uint32, apdu []byte) (_ *insertion, late []hit, _ winscard.Code) {
	struck := false
	for {
		if rc := s.valid(h); rc != winscard.Success {
			return nil, nil, rc
		}
		r := h.reader
		if r.lockedOut(h) {
			if rc := s.standBy(h.client); rc != winscard.Success {
				return nil, nil, rc
			}
			continue
		}
		if r.has(winscard.CardUnknown) {
			return nil, nil, winscard.ErrReaderUnavailable
		}
		if rc := h.event.code(); rc != winscard.Success {
			return nil, nil, rc
		}
		r.settle()
		raw := pci == uint32(winscard.ProtocolRaw)
		switch {
		case raw:
		case r.has(winscard.CardAbsent):
			return nil, nil, winscard.ErrNoSmartcard
		case pci != protocolAnyOld && pci != r.protocol:
			return nil, nil, winscard.ErrProtoMismatch
		}
		in := r.inserted
		if in == nil || !r.has(winscard.CardPresent) {
			return nil, nil, winscard.ErrNotTransacted
		}
		if in.line.busy {
			s.pause()
			continue
		}
		if !in.line.hasPower() {
			s.wake(in)
			continue
		}
		if !struck {
			struck = true
			var early []hit
			early, late = split(s.strike(OpTransmit, apdu, r))
			if rc := s.suffer(early); rc != winscard.Success {
				return nil, nil, rc
			}
			if len(early) > 0 {
				continue
			}
		}
		if in.line.silent {
			late = append(late, hit{MuteCard().When(Before()), r})
		}
		in.line.busy = true
		in.line.protocol = r.protocol
		return in, late, winscard.Success
	}
}

// exchange has the card, whose line is reserved, execute an APDU. The caller does not hold s.mu.
func (s *Service) exchange(h *connection, in *insertion, apdu []byte, hits []hit) (response []byte, rc winscard.Code) {
	// Deferred, so that a card that panics in a test does not leave the others waiting.
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.free(in)
		s.restart(hits)
		switch {
		case rc != winscard.Success:
		case h.client.dead:
			rc = winscard.ErrCommError
		case h.reader == nil || h.reader.inserted != in:
			rc = winscard.ErrNotTransacted
		}
	}()
	return s.ask(in, apdu, hits)
}

// ask gives an APDU to the card, whose line is reserved. The caller does not hold s.mu.
func (s *Service) ask(in *insertion, apdu []byte, hits []hit) (response []byte, rc winscard.Code) {
	if !unheard(hits) {
		if p, ok := in.card.(ProtocolSetter); ok {
			p.SetProtocol(winscard.Protocol(in.line.protocol))
		}
		var err error
		if response, err = in.card.Transmit(apdu); err != nil {
			response, rc = nil, codeOf(err)
		}
	}
	return s.disturb(hits, response, rc)
}

// seize waits for the line of the card in a reader and reserves it. The card has power then. The caller holds s.mu,
// which is released meanwhile.
func (s *Service) seize(r *Reader) (*insertion, winscard.Code) {
	for {
		r.settle()
		in := r.inserted
		switch {
		case r.place < 0 || in == nil || !r.has(winscard.CardPresent) || r.has(winscard.CardSwallowed):
			return nil, winscard.ErrNotTransacted
		case in.line.busy:
			s.pause()
		case !in.line.hasPower():
			s.wake(in)
		default:
			in.line.busy = true
			return in, winscard.Success
		}
	}
}

// free gives the line of a card back. The caller holds s.mu, which may be released meanwhile.
func (s *Service) free(in *insertion) {
	in.line.busy = false
	s.released.raise()
	s.tellPulled(in)
}

// wake powers up a card that another connection has unpowered, or that was left alone; its reader's state does not
// tell, before or after. The caller holds s.mu, which is released meanwhile.
func (s *Service) wake(in *insertion) { s.do(in, powerUp) }
