package differential

import (
	"sync"
	"testing"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// A pcscd is the real one, through libpcsclite.
type pcscd struct {
	backend *routed
	remote  *ifdtest.Remote
	service *pcscdtest.Service
	drivers []*driver
}

func newPCSCD(t *testing.T) *pcscd {
	p := &pcscd{remote: ifdtest.BuildRemote(t, len(readers))}
	p.service = pcscdtest.Start(t, pcscdtest.WithReaders(0), pcscdtest.WithDriver(p.remote.Driver(), readers...))
	p.backend = newRouted(t)
	for i := range readers {
		p.drivers = append(p.drivers, &driver{})
		p.remote.Handle(i, p.drivers[i])
	}
	return p
}

func (p *pcscd) name() string { return "pcscd" }

func (p *pcscd) begin() {
	if p.service.PID() == 0 {
		p.backend.via(func() { p.service.Restart() })
	}
	p.look()
}

func (p *pcscd) end() {
	p.service.Kill()
	for _, d := range p.drivers {
		d.put(nil)
	}
}

func (p *pcscd) start(call func(winscard.Backend) outcome) <-chan outcome {
	result := make(chan outcome, 1)
	go func() { result <- call(p.backend) }()
	return result
}

func (p *pcscd) insert(reader int, c *card) {
	p.drivers[reader].put(c)
	p.look()
}

func (p *pcscd) remove(reader int) {
	p.drivers[reader].put(nil)
	p.look()
}

func (p *pcscd) look() { p.remote.Look() }

func (p *pcscd) pass(time.Duration) {}

// A routed backend is libpcsclite on the way to one of two services. It connects in these two functions and no other.
type routed struct {
	winscard.Backend
	place *pcscdtest.Place
}

// onTheWay is held while the library connects.
var onTheWay sync.Mutex

// newRouted leads to the service that the library finds now.
func newRouted(t *testing.T) *routed { return &routed{openBackend(t), pcscdtest.Here(t)} }

func (r *routed) EstablishContext(scope uint32) (ctx winscard.Context, rc winscard.Code) {
	r.via(func() { ctx, rc = r.Backend.EstablishContext(scope) })
	return ctx, rc
}

func (r *routed) Cancel(ctx winscard.Context) (rc winscard.Code) {
	r.via(func() { rc = r.Backend.Cancel(ctx) })
	return rc
}

func (r *routed) via(f func()) {
	onTheWay.Lock()
	defer onTheWay.Unlock()
	r.place.Go()
	f()
}
