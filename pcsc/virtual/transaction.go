package virtual

import (
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// pollRate is how long pcscd waits for a transaction to begin before it lets the client ask again, and how long
// libpcsclite waits before it does (PCSCLITE_LOCK_POLL_RATE).
const pollRate = 100 * time.Millisecond

// BeginTransaction takes the lock of the reader, or waits for it. Transactions of one connection nest: each needs its
// EndTransaction. The lock also goes when the connection is closed or the card is pulled.
func (s *Service) BeginTransaction(card winscard.Card) winscard.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, rc := s.connection(card)
	if rc != winscard.Success {
		return rc
	}
	if rc := s.suffer(s.strike(OpBeginTransaction, nil, h.reader)); rc != winscard.Success {
		return rc
	}
	var patience <-chan time.Time
	for {
		if rc := s.valid(h); rc != winscard.Success {
			return rc
		}
		r := h.reader
		if r.has(winscard.CardUnknown) {
			return winscard.ErrReaderUnavailable
		}
		if rc := h.event.code(); rc != winscard.Success {
			return rc
		}
		if !r.lockedOut(h) {
			r.lock(h)
			return winscard.Success
		}
		if h.client.polls && patience == nil {
			timer := time.NewTimer(pollRate)
			defer timer.Stop()
			patience = timer.C
		}
		if !s.pauseFor(patience) {
			return winscard.ErrSharingViolation
		}
	}
}

// EndTransaction ends a transaction, after leaving, resetting, unpowering (which is a cold reset here) or ejecting the
// card. It returns ErrSharingViolation if another connection holds the lock and ErrNotTransacted if none does; the
// card has been reset all the same then. EjectCard on a reader that cannot eject ends the transaction and returns
// ErrUnsupportedFeature.
func (s *Service) EndTransaction(card winscard.Card, disposition uint32) winscard.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, rc := s.connection(card)
	if rc != winscard.Success {
		return rc
	}
	if rc := checkDisposition(disposition); rc != winscard.Success {
		return rc
	}
	if rc := s.suffer(s.strike(OpEndTransaction, nil, h.reader)); rc != winscard.Success {
		return rc
	}
	if rc := s.valid(h); rc != winscard.Success {
		return rc
	}
	if rc := h.event.code(); rc != winscard.Success {
		return rc
	}
	r := h.reader
	if r.lockedOut(h) {
		return winscard.ErrSharingViolation
	}

	result := winscard.Success
	valid := func() winscard.Code { return s.valid(h) }
	switch winscard.Disposition(disposition) {
	case winscard.ResetCard:
		result = s.repower(r, warmReset, valid)
		r.notify(eventReset)
	case winscard.UnpowerCard:
		result = s.repower(r, cold, valid)
		r.notify(eventReset)
	case winscard.EjectCard:
		if !r.ejects {
			result = winscard.ErrUnsupportedFeature
			break
		}
		owned := r.owner == h
		r.pull()
		s.tellPulled(r.last)
		if owned { // pulling the card has ended it
			return winscard.Success
		}
	}
	if rc := s.valid(h); rc != winscard.Success {
		return inFlight(rc)
	}
	if rc := r.unlock(h); result == winscard.Success {
		result = rc
	}
	return result
}
