package conformance

import (
	"testing"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// An Environment is a backend, and the service that answers it.
type Environment struct {
	Backend  winscard.Backend
	Service  Service
	Features Features
	Quirks   Quirks
}

// A Service is what a backend talks to. Readers are numbered from 0, in the
// order in which they are listed. A method that fails ends or fails the test
// that the service was made for.
type Service interface {
	// Start starts the service with n readers and no cards. If it runs, it is
	// stopped first.
	Start(readers int)
	// Stop ends the service in an orderly way; Kill ends it as a crash does.
	Stop()
	Kill()
	// Restart starts the service again with the readers and cards that it had.
	Restart()
	// Readers returns the names of the readers.
	Readers() []string
	// Insert puts a card into a reader, Remove takes it out. Both return when
	// the service has noticed.
	Insert(reader int, card *Card)
	Remove(reader int)
}

// A HotPlugger is a Service that can add readers while it runs.
type HotPlugger interface {
	// AddReader adds a reader at the end, RemoveReader takes away the last.
	AddReader()
	RemoveReader()
}

// Features says what the service can do.
type Features struct {
	// Outages: Stop, Kill and Restart work, and EstablishContext needs the
	// service.
	Outages bool
	// HotPlug: the service is a HotPlugger.
	HotPlug bool
}

// Quirks are the points on which services differ without being wrong.
type Quirks struct {
	// MaxAPDU is the largest command and the largest response that a reader
	// transports, at most winscard.MaxBufferSizeExtended.
	MaxAPDU int
	// TooLong is the answer to a command above MaxAPDU that the library lets
	// through.
	TooLong winscard.Code
	// ATRAttribute is an attribute that holds the card's ATR.
	ATRAttribute winscard.Attribute
	// Attributes are the answers to GetAttrib of well-known attributes, where
	// they aren't what the attribute promises.
	Attributes map[winscard.Attribute]winscard.Code
	// SetAttrib is the answer to SetAttrib of any attribute.
	SetAttrib winscard.Code
	// EndAfterExclusive is the answer to EndTransaction after a connection was
	// exclusive and has been made shared by Reconnect.
	EndAfterExclusive winscard.Code
	// Eject is the answer to EndTransaction with EjectCard of a reader that
	// can't eject. The transaction has ended all the same.
	Eject winscard.Code
	// Control is the answer to a control code that the reader does not know.
	Control winscard.Code
}

// Real is a backend on a real pcscd. The service lives as long as the test.
func Real(t *testing.T, backend winscard.Backend) Environment {
	t.Helper()
	return Environment{
		Backend:  backend,
		Service:  RealService(t),
		Features: Features{Outages: true},
		Quirks: Quirks{
			MaxAPDU:      0xFFFF,
			TooLong:      winscard.ErrNotTransacted,
			ATRAttribute: 0x0303, // TAG_IFD_ATR of drivers
			Attributes: map[winscard.Attribute]winscard.Code{
				winscard.AttrATRString: winscard.ErrUnsupportedFeature,
				// vpcd says "unknown, length 0", and pcscd, which knows the
				// name, then finds the length too small.
				winscard.AttrDeviceFriendlyName: winscard.ErrInsufficientBuffer,
				winscard.AttrDeviceSystemName:   winscard.ErrInsufficientBuffer,
			},
			SetAttrib:         winscard.ErrNotTransacted,
			Control:           winscard.ErrUnsupportedFeature,
			EndAfterExclusive: winscard.Success,
			Eject:             winscard.ErrUnsupportedFeature,
		},
	}
}

// RealService is a private pcscd with vpcd's readers. It does not run yet.
func RealService(tb testing.TB) Service {
	tb.Helper()
	svc := pcscdtest.Start(tb, pcscdtest.WithReaders(0))
	svc.Stop()
	return &realService{Service: svc}
}

type realService struct {
	*pcscdtest.Service
}

func (s *realService) Start(readers int) {
	// Cards stay in their readers over a restart, unless the readers go.
	s.Service.Restart(pcscdtest.WithReaders(0))
	s.Service.Restart(pcscdtest.WithReaders(readers))
}

func (s *realService) Restart()                      { s.Service.Restart() }
func (s *realService) Insert(reader int, card *Card) { s.Service.Insert(reader, card) }
