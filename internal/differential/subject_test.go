package differential

import (
	"fmt"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// readers are what the readers are called before the service appends numbers. There are as many in each sequence.
var readers = []string{"Left Reader", "Right Reader"}

// A subject is a service with readers, seen through a Backend. A sequence of calls runs on all of them in step.
//
// To run another one, such as the virtual service behind its socket and a libpcsclite in a process of its own,
// implement this and add it to newSubjects.
type subject interface {
	name() string
	// begin starts the service with empty readers, or anew; end ends it, and all calls that wait.
	begin()
	end()
	// start starts a call and waits until it has returned or until it waits for something that only another call or
	// an event can bring. Which of the two may be known (the result is there or not) or a guess.
	start(func(winscard.Backend) outcome) <-chan outcome
	// insert, remove and look return when the service has noticed and has told its clients.
	insert(reader int, c *card)
	remove(reader int)
	// look makes the service do what it does now and then: tell waiting clients of changes that are no events, and
	// take the power from a card that nobody has used since the look before the last.
	look()
	// pass lets so much time pass, for calls that wait for a time.
	pass(time.Duration)
}

// newSubjects returns the subjects. The first is the one that knows whether a call waits.
func newSubjects(t *testing.T) []subject {
	return []subject{newBubble(t), newPCSCD(t)}
}

// A bubble is the virtual service in process, in a testing/synctest bubble.
type bubble struct {
	t        *testing.T
	requests chan func()
	ended    chan struct{}
	service  *virtual.Service
	readers  []*virtual.Reader
}

func newBubble(t *testing.T) *bubble { return &bubble{t: t} }

func (b *bubble) name() string { return "the virtual service" }

// do runs f in the bubble and returns when everything else in there waits or has ended.
func (b *bubble) do(f func()) {
	done := make(chan struct{})
	b.requests <- func() {
		f()
		synctest.Wait()
		close(done)
	}
	<-done
}

func (b *bubble) begin() {
	b.requests, b.ended = make(chan func()), make(chan struct{})
	go func() {
		defer close(b.ended)
		synctest.Test(b.t, func(*testing.T) {
			for f := range b.requests {
				f()
			}
		})
	}()
	b.do(func() {
		b.service = virtual.New()
		b.readers = nil
		for _, name := range readers {
			r := b.service.AddReader(name)
			r.SetController(controller{})
			b.readers = append(b.readers, r)
		}
	})
}

func (b *bubble) end() {
	b.do(b.service.Stop)
	close(b.requests)
	<-b.ended
}

func (b *bubble) start(call func(winscard.Backend) outcome) <-chan outcome {
	result := make(chan outcome, 1)
	b.do(func() {
		go func() {
			defer func() {
				if p := recover(); p != nil {
					result <- outcome{panicked: fmt.Sprintf("%v\n%s", p, debug.Stack())}
				}
			}()
			result <- call(b.service)
		}()
	})
	return result
}

func (b *bubble) insert(reader int, c *card) {
	b.do(func() { b.readers[reader].Insert(c) })
	b.look()
}

func (b *bubble) remove(reader int) {
	b.do(func() { b.readers[reader].Remove() })
	b.look()
}

// look lets more than half the time pass after which a card loses its power.
func (b *bubble) look() { b.pass(virtual.DefaultPowerOff * 3 / 5) }

func (b *bubble) pass(d time.Duration) { b.do(func() { time.Sleep(d) }) }

// A pcscd is the real one, through libpcsclite.
type pcscd struct {
	backend winscard.Backend
	remote  *ifdtest.Remote
	service *pcscdtest.Service
	drivers []*driver
}

func newPCSCD(t *testing.T) *pcscd {
	p := &pcscd{backend: openBackend(t), remote: ifdtest.BuildRemote(t, len(readers))}
	p.service = pcscdtest.Start(t, pcscdtest.WithReaders(0), pcscdtest.WithDriver(p.remote.Driver(), readers...))
	for i := range readers {
		p.drivers = append(p.drivers, &driver{})
		p.remote.Handle(i, p.drivers[i])
	}
	return p
}

func (p *pcscd) name() string { return "pcscd" }

func (p *pcscd) begin() {
	if p.service.PID() == 0 {
		p.service.Restart()
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
