package virtual

import (
	"slices"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// An Injection is a fault that lies in wait. [Service.Inject] and [Reader.Inject] make it. All methods may be called
// concurrently; they do not block.
type Injection struct {
	service *Service
	reader  *Reader // nil: any
	fault   Fault

	// Service.mu guards the rest.
	seen   int // operations to which the conditions applied
	struck int
}

// Inject lets a fault lie in wait for the calls of all clients, with further conditions. What concerns a reader or a
// card, such as [PullCard], strikes those of the call, and nothing if the call has no reader.
//
// Faults that lie in wait for the same call strike it together, in the order in which they were injected: a [Delay] and
// then a [PullCard] pull the card of a slow one.
func (s *Service) Inject(f Fault, conditions ...When) *Injection {
	return s.inject(&Injection{service: s, fault: f.When(conditions...)})
}

// Inject is [Service.Inject] for the calls that concern this reader alone: calls on connections to it, Connect with its
// name, and GetStatusChange that watches it.
func (r *Reader) Inject(f Fault, conditions ...When) *Injection {
	in := &Injection{service: r.service, reader: r, fault: f.When(conditions...)}
	if r.service == nil {
		return in
	}
	return r.service.inject(in)
}

func (s *Service) inject(in *Injection) *Injection {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injections = append(s.injections, in)
	return in
}

// Fault returns the fault with all its conditions.
func (in *Injection) Fault() Fault { return in.fault }

// Struck returns how often the fault has struck. A test that expects it once makes sure that the fault was not for
// nothing.
func (in *Injection) Struck() int {
	if in.service == nil {
		return 0
	}
	in.service.mu.Lock()
	defer in.service.mu.Unlock()
	return in.struck
}

// Remove takes the fault back: it strikes no more. What it has done stays.
func (in *Injection) Remove() {
	s := in.service
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.injections, in); i >= 0 {
		s.injections = slices.Delete(s.injections, i, i+1)
	}
}

// hit is a fault that strikes an operation, on a reader or none.
type hit struct {
	Fault
	reader *Reader
}

// strike finds the faults that strike an operation, and counts it. The readers are those that it concerns, some perhaps
// nil. The caller holds s.mu.
func (s *Service) strike(op Op, apdu []byte, readers ...*Reader) (hits []hit) {
	if len(s.injections) == 0 {
		return nil
	}
	for _, in := range s.injections {
		r := in.reader
		switch {
		case r == nil && len(readers) > 0:
			r = readers[0]
		case r != nil && !slices.Contains(readers, r):
			continue
		}
		if !in.fault.when.concerns(op, apdu) {
			continue
		}
		in.seen++
		if in.seen > in.fault.when.skip {
			in.struck++
			hits = append(hits, hit{in.fault, r})
		}
	}
	s.injections = slices.DeleteFunc(s.injections, func(in *Injection) bool {
		return in.fault.when.more >= 0 && in.struck > in.fault.when.more
	})
	return hits
}

// split parts the faults that strike a Transmit or a Control into those that do so before it gets anywhere, and those
// that do so around its answer.
func split(hits []hit) (early, late []hit) {
	for _, f := range hits {
		switch f.kind {
		case doesFail, doesResetCard:
			early = append(early, f)
		case doesPullCard, doesUnplugReader, doesStopService, doesRestartService:
			if f.when.before {
				early = append(early, f)
				break
			}
			late = append(late, f)
		default:
			late = append(late, f)
		}
	}
	return early, late
}

// suffer lets faults strike a call that has not begun, and returns the code with which it ends then, or Success. The
// caller holds s.mu, which may be released meanwhile.
func (s *Service) suffer(hits []hit) (rc winscard.Code) {
	for _, f := range hits {
		if code := s.inflict(f); rc == winscard.Success {
			rc = code
		}
		if f.kind == doesRestartService {
			s.startAgain(f, true)
		}
	}
	return rc
}

// inflict lets a fault happen, all but the second half of a restart, and returns the code of the call that it strikes,
// if it has one. The caller holds s.mu, which may be released meanwhile.
func (s *Service) inflict(f hit) winscard.Code {
	switch f.kind {
	case doesFail, doesLose:
		return f.code
	case doesDelay:
		s.mu.Unlock()
		time.Sleep(f.wait)
		s.mu.Lock()
	case doesStopService, doesRestartService:
		if s.running {
			s.stop()
		}
	}
	r := f.reader
	if r == nil || r.place < 0 {
		return winscard.Success
	}
	switch f.kind {
	case doesPullCard:
		r.pull()
		s.tellPulled(r.last)
	case doesUnplugReader:
		s.unplug(r)
	case doesResetCard:
		r.notify(eventReset)
		s.repower(r, warmReset, func() winscard.Code { return winscard.Success })
	case doesMuteCard:
		if r.inserted != nil {
			r.inserted.line.silent = true
		}
	}
	return winscard.Success
}

// startAgain is the second half of a restart. It may block, unless it must not, while cards are powered up. The caller
// holds s.mu, which is released meanwhile.
func (s *Service) startAgain(f hit, mayBlock bool) {
	if f.wait > 0 || !mayBlock {
		time.AfterFunc(f.wait, s.Start)
		return
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	s.Start()
}

// unheard reports whether faults keep a command from getting to the card or the driver.
func unheard(hits []hit) bool {
	return slices.ContainsFunc(hits, func(f hit) bool {
		return f.when.before && (f.kind == doesLose || f.kind == doesMuteCard || f.kind == doesAnswer || f.kind == doesOversize)
	})
}

// disturb lets faults strike between a command and its answer: what becomes of the answer. The caller does not hold
// s.mu.
func (s *Service) disturb(hits []hit, response []byte, rc winscard.Code) ([]byte, winscard.Code) {
	if len(hits) == 0 {
		return response, rc
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range hits {
		code := s.inflict(f)
		switch f.kind {
		case doesMuteCard:
			code = winscard.ErrNotTransacted
		case doesAnswer:
			response, rc = []byte(f.data), winscard.Success
		case doesOversize:
			response = f.respond(response)
		}
		if code != winscard.Success {
			response, rc = nil, code
		}
	}
	return response, rc
}

// restart is the second half of the restarts among the faults. The caller holds s.mu, which is released meanwhile.
func (s *Service) restart(hits []hit) {
	for _, f := range hits {
		if f.kind == doesRestartService {
			s.startAgain(f, true)
		}
	}
}

// comeUp is what becomes of an answer to reset under faults. The caller does not hold s.mu.
func (s *Service) comeUp(hits []hit, atr []byte) []byte {
	if len(hits) == 0 {
		return atr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range hits {
		switch f.kind {
		case doesMuteCard, doesFail, doesLose:
			atr = nil
			continue
		case doesResetCard:
			continue // that it is
		}
		s.inflict(f)
		atr = f.respond(atr)
		if f.kind == doesRestartService {
			s.startAgain(f, false) // the caller may be Start
		}
	}
	return atr
}
