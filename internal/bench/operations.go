package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
	"github.com/gopcsc/gopcsc/internal/cstub"
	"github.com/gopcsc/gopcsc/pcsc"
)

// An Operation is something to measure.
type Operation struct {
	Name string
	// CMode is the mode of the C program that does the same.
	CMode string
	// Instant says that it is measured on the library that returns at once too.
	Instant bool
	// StubOnly says that no real card understands it. The table is without it.
	StubOnly bool

	prepare func(s *Session) (func(n int) error, error)
}

// Operations lists what is measured. Those of the Backend do exactly what the C
// program does; those of package pcsc add what it adds.
func Operations() []Operation {
	return []Operation{
		{Name: "Backend.Transmit", CMode: "transmit", Instant: true, prepare: backendTransmit},
		{Name: "Backend.Transmit/Yielding", CMode: "transmit", prepare: backendTransmitYielding},
		{Name: "Backend.Status", CMode: "status", prepare: backendStatus},
		{Name: "Backend.GetStatusChange", CMode: "getstatuschange", prepare: backendGetStatusChange},
		{Name: "Backend.Session", CMode: "session", prepare: backendSession},
		{Name: "TransmitAppend", CMode: "transmit", prepare: transmitAppend(background)},
		{Name: "Transmit", CMode: "transmit", prepare: transmit(background, cstub.BenchCommand())},
		{Name: "TransmitAppend/Cancellable", CMode: "transmit", prepare: transmitAppend(cancellable)},
		{Name: "Transmit/Cancellable", CMode: "transmit", prepare: transmit(cancellable, cstub.BenchCommand())},
		{Name: "Session", CMode: "session", prepare: session},
		{Name: transmit1024, CMode: "transmit", StubOnly: true, prepare: transmit(background,
			// The status word makes it 1024, which is a size class of the allocator: none of the bytes counted are rounding.
			cstub.Command(cstub.Pattern, cstub.CommandHeader, 1024-2, 1))},
	}
}

const transmit1024 = "Transmit/1024"

// Find returns the operation with a name.
func Find(name string) (Operation, error) {
	for _, op := range Operations() {
		if op.Name == name {
			return op, nil
		}
	}
	return Operation{}, fmt.Errorf("no operation is called %q", name)
}

func background(*Session) context.Context { return context.Background() }

// cancellable returns a context that can end, and does not before s is closed.
func cancellable(s *Session) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	s.closers = append(s.closers, cancel)
	return ctx
}

// A Session is what operations work on: a context and, as far as the operation
// needs one, a card.
type Session struct {
	backend winscard.Backend
	context winscard.Context
	card    winscard.Card
	// protocol is the card's.
	protocol uint32
	// readers are those that are listed. The first holds the card.
	readers []string
	api     *pcsc.Context
	closers []func()
}

// Open opens the library, "" for the standard one, and lists the readers.
func Open(library string) (*Session, error) {
	backend, err := open(library)
	if err != nil {
		return nil, err
	}
	s := &Session{backend: backend}
	var rc winscard.Code
	if s.context, rc = backend.EstablishContext(uint32(winscard.ScopeSystem)); rc != winscard.Success {
		return nil, failed("SCardEstablishContext", rc)
	}
	s.closers = append(s.closers, func() { backend.ReleaseContext(s.context) })
	list := make([]byte, listSize)
	n, rc := backend.ListReaders(s.context, nil, list)
	if rc != winscard.Success {
		s.Close()
		return nil, failed("SCardListReaders", rc)
	}
	s.readers = cstring.Split(list[:n])
	if len(s.readers) == 0 {
		s.Close()
		return nil, errors.New("no readers")
	}
	return s, nil
}

// Close disconnects and releases everything.
func (s *Session) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	s.closers = nil
}

// OnStub reports whether the library is that of package cstub.
func (s *Session) OnStub() bool { return s.readers[0] == cstub.Name(0) }

// Prepare connects to what the operation needs and returns a function that does
// it n times. The loop is in there because a call through a function value each
// time would be a part of the shorter operations that shows.
func (s *Session) Prepare(op Operation) (func(n int) error, error) {
	run, err := op.prepare(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name, err)
	}
	return run, nil
}

// FirstList does what a program does that wants to know the readers and no more.
func FirstList() error {
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	if err != nil {
		return err
	}
	// Left to the end of the process, like all that comes after the list.
	_, err = c.ListReaders(context.Background())
	return err
}

// Sizes as in the C program.
const (
	listSize   = 16*128 + 1
	nameSize   = 128
	atrSize    = winscard.MaxATRSize
	answerSize = 258
)

func failed(call string, rc winscard.Code) error { return fmt.Errorf("%s: %w", call, rc) }

func (s *Session) connect() (err error) {
	var rc winscard.Code
	s.card, s.protocol, rc = s.backend.Connect(s.context, s.readers[0], uint32(winscard.ShareShared), uint32(winscard.ProtocolAny))
	if rc != winscard.Success {
		return failed("SCardConnect", rc)
	}
	s.closers = append(s.closers, func() { s.backend.Disconnect(s.card, uint32(winscard.LeaveCard)) })
	return nil
}

func backendTransmit(s *Session) (func(n int) error, error) {
	if err := s.connect(); err != nil {
		return nil, err
	}
	command, answer := cstub.BenchCommand(), make([]byte, answerSize)
	return func(n int) error {
		for range n {
			if _, rc := s.backend.Transmit(s.card, s.protocol, command, answer); rc != winscard.Success {
				return failed("SCardTransmit", rc)
			}
		}
		return nil
	}, nil
}

// backendTransmitYielding is backendTransmit that lets the scheduler run now and
// then, as programs do that have more than one goroutine or wait for anything.
//
// A loop of nothing but calls into C looks to the runtime like one goroutine that
// has run for far too long. After 10 ms its monitor begins to take the processor
// away in every call that it finds under way, and looks for such calls all the
// time. On calls that wait for a service for some microseconds that costs more
// than everything else together.
func backendTransmitYielding(s *Session) (func(n int) error, error) {
	run, err := backendTransmit(s)
	if err != nil {
		return nil, err
	}
	return func(n int) error {
		const calls = 64
		for ; n > 0; n -= calls {
			if err := run(min(n, calls)); err != nil {
				return err
			}
			runtime.Gosched()
		}
		return nil
	}, nil
}

func backendStatus(s *Session) (func(n int) error, error) {
	if err := s.connect(); err != nil {
		return nil, err
	}
	name, atr := make([]byte, nameSize), make([]byte, atrSize)
	return func(n int) error {
		for range n {
			if _, _, _, _, rc := s.backend.Status(s.card, name, atr); rc != winscard.Success {
				return failed("SCardStatus", rc)
			}
		}
		return nil
	}, nil
}

func backendGetStatusChange(s *Session) (func(n int) error, error) {
	// With one reader only, both states are its, as in the C program.
	names := [2]string{s.readers[0], s.readers[min(1, len(s.readers)-1)]}
	states := make([]winscard.ReaderState, 2)
	return func(n int) error {
		for range n {
			states[0] = winscard.ReaderState{Reader: names[0]}
			states[1] = winscard.ReaderState{Reader: names[1]}
			if rc := s.backend.GetStatusChange(s.context, 0, states); rc != winscard.Success {
				return failed("SCardGetStatusChange", rc)
			}
		}
		return nil
	}, nil
}

func backendSession(s *Session) (func(n int) error, error) {
	b := s.backend
	list, name, atr := make([]byte, listSize), make([]byte, nameSize), make([]byte, atrSize)
	once := func() error {
		c, rc := b.EstablishContext(uint32(winscard.ScopeSystem))
		if rc != winscard.Success {
			return failed("SCardEstablishContext", rc)
		}
		if _, rc = b.ListReaders(c, nil, list); rc != winscard.Success {
			return failed("SCardListReaders", rc)
		}
		card, _, rc := b.Connect(c, s.readers[0], uint32(winscard.ShareShared), uint32(winscard.ProtocolAny))
		if rc != winscard.Success {
			return failed("SCardConnect", rc)
		}
		if _, _, _, _, rc = b.Status(card, name, atr); rc != winscard.Success {
			return failed("SCardStatus", rc)
		}
		if rc = b.Disconnect(card, uint32(winscard.LeaveCard)); rc != winscard.Success {
			return failed("SCardDisconnect", rc)
		}
		if rc = b.ReleaseContext(c); rc != winscard.Success {
			return failed("SCardReleaseContext", rc)
		}
		return nil
	}
	return repeat(once), nil
}

// connectAPI connects through package pcsc.
func (s *Session) connectAPI() (*pcsc.Card, error) {
	if err := s.establishAPI(); err != nil {
		return nil, err
	}
	card, err := s.api.Connect(context.Background(), s.readers[0], pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() { _ = card.Disconnect(pcsc.LeaveCard) })
	return card, nil
}

func (s *Session) establishAPI() (err error) {
	if s.api, err = pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(s.backend)); err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = s.api.Close() })
	return nil
}

func transmitAppend(newContext func(*Session) context.Context) func(*Session) (func(n int) error, error) {
	return func(s *Session) (func(n int) error, error) {
		card, err := s.connectAPI()
		if err != nil {
			return nil, err
		}
		ctx, command, answer := newContext(s), cstub.BenchCommand(), make([]byte, 0, answerSize)
		return func(n int) error {
			for range n {
				if _, err := card.TransmitAppend(ctx, answer[:0], command); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

func transmit(newContext func(*Session) context.Context, command []byte) func(*Session) (func(n int) error, error) {
	return func(s *Session) (func(n int) error, error) {
		card, err := s.connectAPI()
		if err != nil {
			return nil, err
		}
		ctx := newContext(s)
		return func(n int) error {
			for range n {
				if _, err := card.Transmit(ctx, command); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

func session(s *Session) (func(n int) error, error) {
	ctx := context.Background()
	once := func() error {
		c, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(s.backend))
		if err != nil {
			return err
		}
		if _, err := c.ListReaders(ctx); err != nil {
			return err
		}
		card, err := c.Connect(ctx, s.readers[0], pcsc.ShareShared, pcsc.ProtocolAny)
		if err != nil {
			return err
		}
		if _, err := card.Status(ctx); err != nil {
			return err
		}
		// Close would reset the card, which the C program does not do.
		if err := card.Disconnect(pcsc.LeaveCard); err != nil {
			return err
		}
		return c.Close()
	}
	return repeat(once), nil
}

func repeat(once func() error) func(n int) error {
	return func(n int) error {
		for range n {
			if err := once(); err != nil {
				return err
			}
		}
		return nil
	}
}
