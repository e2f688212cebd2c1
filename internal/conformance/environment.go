package conformance

import (
	"runtime"
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
	// Missing are subtests that the library below the backend can't pass, and why, by their names below that of the
	// suite. They don't run. A name that there is no subtest of fails the suite.
	Missing map[string]string
	// MissingAPI is the same for the suite of package pcsc.
	MissingAPI map[string]string
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
	// OwnServer: the server's ends of the library's connections are this
	// process's descriptors too.
	OwnServer bool
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
	// Raw is the raw protocol.
	Raw winscard.Protocol
	// UTF16 says that the library counts texts in UTF-16: what a buffer needs is reported as three bytes a unit.
	UTF16 bool
	// NeededLost says that the library keeps the needed length to itself when a buffer is too small.
	NeededLost bool
	// ListsAtRandom says that ListReaders and ListReaderGroups may answer ErrInvalidParameter, once in a while, to what is
	// right; the next time they do not.
	ListsAtRandom bool
	// Unsupported is the answer to what the driver does not know, and Undecodable that to a name that is not UTF-8.
	Unsupported, Undecodable winscard.Code
	// NamesEndLate says that Status gives what happens to lie in memory behind the name, too.
	NamesEndLate bool
	// HandlesAreAddresses says that the library reads memory at whatever it gets as a handle: no bad one is tried.
	HandlesAreAddresses bool
	// LibraryMax is the largest buffer that the library does not refuse.
	LibraryMax int
	// Absent is the state of a reader without a card, as the backend makes it of the library's.
	Absent winscard.CardState
}

// usualQuirks are those of a libpcsclite on its own.
func usualQuirks() Quirks {
	return Quirks{
		Unsupported: winscard.ErrUnsupportedFeature,
		Undecodable: winscard.ErrUnknownReader,
		LibraryMax:  winscard.MaxBufferSizeExtended,
		Absent:      winscard.CardAbsent,
		Raw:         winscard.ProtocolRaw,
		Control:     winscard.ErrUnsupportedFeature,
		Eject:       winscard.ErrUnsupportedFeature,
		SetAttrib:   winscard.ErrNotTransacted,
	}
}

// Real is a backend on a real pcscd. The service lives as long as the test.
func Real(t *testing.T, backend winscard.Backend) Environment {
	t.Helper()
	return onVpcd(backend, RealService(t))
}

// onVpcd is a backend on a service with vpcd's readers.
func onVpcd(backend winscard.Backend, service Service) Environment {
	q := usualQuirks()
	q.MaxAPDU = 0xFFFF
	q.TooLong = winscard.ErrNotTransacted
	q.ATRAttribute = 0x0303 // TAG_IFD_ATR of drivers
	q.Attributes = map[winscard.Attribute]winscard.Code{
		winscard.AttrATRString: winscard.ErrUnsupportedFeature,
		// vpcd says "unknown, length 0", and pcscd, which knows the
		// name, then finds the length too small.
		winscard.AttrDeviceFriendlyName: winscard.ErrInsufficientBuffer,
		winscard.AttrDeviceSystemName:   winscard.ErrInsufficientBuffer,
	}
	env := Environment{
		Backend:  backend,
		Service:  service,
		Features: Features{Outages: true},
		Quirks:   q,
	}
	switch {
	case runtime.GOOS == "windows":
		env.wine()
	case runtime.GOARCH == "s390x":
		env.bigEndian()
	}
	return env
}

// RealService is a private pcscd with vpcd's readers, of this process or of the one that runs services for it. It does
// not run yet.
func RealService(tb testing.TB) Service {
	tb.Helper()
	if pcscdtest.HasRemote() {
		svc := pcscdtest.StartRemote(tb, 0)
		svc.Stop()
		return &remoteService{svc}
	}
	svc := pcscdtest.Start(tb, pcscdtest.WithReaders(0))
	svc.Stop()
	return &realService{Service: svc}
}

// RealHotPlug is [RealService] with USB readers; it is a [HotPlugger].
func RealHotPlug(tb testing.TB) Service {
	tb.Helper()
	svc := pcscdtest.Start(tb, pcscdtest.WithReaders(0), pcscdtest.WithHotPlug())
	svc.Stop()
	return &hotPlugService{realService{Service: svc}}
}

// hotPlugService is a realService whose readers come and go. Others have the methods too, which fail.
type hotPlugService struct{ realService }

func (s *hotPlugService) AddReader()    { s.realService.Service.AddReader() }
func (s *hotPlugService) RemoveReader() { s.realService.Service.RemoveReader() }

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

type remoteService struct {
	*pcscdtest.Remote
}

func (s *remoteService) Start(readers int) {
	s.Remote.Restart(0)
	s.Remote.Restart(readers)
}

func (s *remoteService) Restart()                      { s.Remote.Restart(-1) }
func (s *remoteService) Insert(reader int, card *Card) { s.Remote.Insert(reader, card) }
