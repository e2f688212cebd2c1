package differential

import (
	"fmt"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// A bubble is the virtual service in process, in a testing/synctest bubble.
type bubble struct {
	t        *testing.T
	requests chan func()
	ended    chan struct{}
	service  *virtual.Service
	readers  []*virtual.Reader
	powerOff time.Duration // how long an unused card keeps its power
}

func newBubble(t *testing.T) *bubble { return &bubble{t: t, powerOff: virtual.DefaultPowerOff} }

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
		b.service = virtual.New(virtual.WithPowerOff(b.powerOff))
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
func (b *bubble) look() { b.pass(b.powerOff * 3 / 5) }

func (b *bubble) pass(d time.Duration) { b.do(func() { time.Sleep(d) }) }
