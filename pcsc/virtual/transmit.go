package virtual

import "github.com/gopcsc/gopcsc/generated/winscard"

// Transmit sends an APDU to the card and writes its response to recv.
//
// It waits while another connection holds the lock and while the card is busy. The card is asked on the calling
// goroutine, and that cannot be cancelled. pci must be the protocol in use (else ErrProtoMismatch) or ProtocolRaw. A
// response that does not fit gives ErrInsufficientBuffer and its length; the card has executed the APDU then. An APDU
// over 65548 bytes gives ErrInsufficientBuffer too, an empty APDU or buffer ErrInvalidParameter.
func (s *Service) Transmit(card winscard.Card, pci uint32, send, recv []byte) (int, winscard.Code) {
	if len(send) == 0 || len(recv) == 0 {
		return 0, winscard.ErrInvalidParameter
	}
	s.mu.Lock()
	h, rc := s.connection(card)
	if rc == winscard.Success && len(send) > maxExtended {
		rc = winscard.ErrInsufficientBuffer
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
		if !in.line.powered || r.use == unpowered {
			// Another connection has unpowered the card, or it was left alone. The reader's state does not tell.
			s.do(in, powerUp)
			if r.inserted == in && r.has(winscard.CardPresent) {
				r.use = inUse
			}
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
		in.line.busy = false
		s.released.raise()
		s.tellPulled(in)
		s.restart(hits)
		switch {
		case rc != winscard.Success:
		case h.client.dead:
			rc = winscard.ErrCommError
		case h.reader == nil || h.reader.inserted != in:
			rc = winscard.ErrNotTransacted
		}
	}()
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
