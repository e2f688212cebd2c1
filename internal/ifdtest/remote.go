package ifdtest

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// More return codes of drivers, and the actions of PowerICC, as in ifdhandler.h.
const (
	ErrorTag           = 600
	ErrorSetFailure    = 601
	ErrorPowerAction   = 608
	insufficientBuffer = 618
	iccPresent         = 615
	iccNotPresent      = 616

	PowerUp   = 500
	PowerDown = 501
	WarmReset = 502
)

// An IFDHandler is a reader's driver in Go: the functions of ifdhandler.h, with their return codes. pcscd makes one
// call at a time.
type IFDHandler interface {
	ICCPresence() bool
	PowerICC(action uint32) (atr []byte, rc int)
	TransmitToICC(protocol uint32, apdu []byte) (response []byte, rc int)
	Control(code uint32, in []byte) (out []byte, rc int)
	GetCapabilities(tag uint32) (value []byte, rc int)
	SetCapabilities(tag uint32, value []byte) (rc int)
}

// A Remote is a driver for pcscd whose readers are implemented here, in the test's process, by an [IFDHandler] each.
//
// pcscd doesn't look at such a reader every 400 ms, as at vpcd's, but when [Remote.Look] is called. Everything that
// pcscd does by and by is done then and only then: notice that a card was put in or pulled, tell waiting clients that
// the sharing has changed, take the power from a card that nobody uses.
type Remote struct {
	tb       testing.TB
	listener net.Listener
	served   sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // parked
	readers []remoteReader
	conns   map[net.Conn]bool
	closed  bool
}

type remoteReader struct {
	handler IFDHandler
	parked  chan struct{} // closing it lets pcscd look; nil while it does
}

//go:embed src/remote.c
var remoteSource []byte

// BuildRemote compiles the driver, and serves n readers until the test ends. Until [Remote.Handle] they have no card.
// It skips or fails as [Build] does.
func BuildRemote(tb testing.TB, n int) *Remote {
	tb.Helper()
	if runtime.GOOS != "linux" {
		pcscdtest.Skip(tb, "ifdtest: no pcscd with drivers of this kind on %s", runtime.GOOS)
	}
	r := &Remote{tb: tb, readers: make([]remoteReader, n), conns: map[net.Conn]bool{}}
	r.changed = sync.NewCond(&r.mu)
	socket := filepath.Join(tb.TempDir(), "ifd")
	var err error
	if r.listener, err = net.Listen("unix", socket); err != nil {
		tb.Fatalf("ifdtest: %v", err)
	}
	r.served.Add(1)
	go r.accept()
	tb.Cleanup(r.close)
	build(tb, socket+".so", remoteSource, fmt.Sprintf("-DREMOTE_SOCKET=%q", socket))
	return r
}

// Driver is the driver's path, for [pcscdtest.WithDriver], which has to name as many readers as there are.
func (r *Remote) Driver() string { return r.listener.Addr().String() + ".so" }

// Handle sets what implements a reader, from pcscd's next call on; nil is a reader without a card that can't do
// anything.
func (r *Remote) Handle(reader int, h IFDHandler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readers[reader].handler = h
}

// Look makes pcscd look at all readers and returns when it has. A pcscd that does not come back fails the test.
func (r *Remote) Look() {
	r.tb.Helper()
	deadline := time.AfterFunc(20*time.Second, func() { // wakes the wait below
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer deadline.Stop()
	began := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.readers {
		reader := &r.readers[i]
		await := func() bool {
			for reader.parked == nil && !r.closed {
				if time.Since(began) >= 20*time.Second {
					r.tb.Errorf("ifdtest: pcscd does not look at reader %d", i)
					return false
				}
				r.changed.Wait()
			}
			return !r.closed
		}
		if !await() {
			return
		}
		r.release(i)
		if !await() {
			return
		}
	}
}

func (r *Remote) accept() {
	defer r.served.Done()
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			conn.Close()
			return
		}
		r.conns[conn] = true
		r.served.Add(1)
		r.mu.Unlock()
		go func() {
			defer r.served.Done()
			r.serve(conn)
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.conns, conn)
			conn.Close()
		}()
	}
}

func (r *Remote) close() {
	r.mu.Lock()
	r.closed = true
	r.listener.Close()
	for conn := range r.conns {
		conn.Close()
	}
	for i := range r.readers {
		r.release(i)
	}
	r.changed.Broadcast()
	r.mu.Unlock()
	r.served.Wait()
}

// What is asked; the same as in remote.c.
const (
	opCalls = iota
	opWaits
	opPresence
	opPower
	opTransmit
	opControl
	opGet
	opSet
	opProtocol
	opWait
)

type question struct {
	Op, Number, Room, Length uint32
}

// serve answers one connection of the driver until pcscd, or the test, ends.
func (r *Remote) serve(conn net.Conn) {
	reader := -1
	var head [16]byte
	for {
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		q := question{
			binary.NativeEndian.Uint32(head[:]), binary.NativeEndian.Uint32(head[4:]),
			binary.NativeEndian.Uint32(head[8:]), binary.NativeEndian.Uint32(head[12:]),
		}
		in := make([]byte, q.Length)
		if _, err := io.ReadFull(conn, in); err != nil {
			return
		}
		var (
			out []byte
			rc  int
		)
		switch {
		case q.Op == opCalls || q.Op == opWaits:
			if reader = int(q.Number); reader >= len(r.readers) {
				return
			}
			r.mu.Lock()
			r.release(reader) // what a pcscd that has ended left behind
			r.mu.Unlock()
		case reader < 0:
			return
		case q.Op == opWait:
			r.park(reader)
		default:
			out, rc = r.answer(reader, q, in)
		}
		if len(out) > int(q.Room) {
			out, rc = nil, insufficientBuffer
		}
		answer := binary.NativeEndian.AppendUint32(make([]byte, 0, 8+len(out)), uint32(rc))
		answer = binary.NativeEndian.AppendUint32(answer, uint32(len(out)))
		if _, err := conn.Write(append(answer, out...)); err != nil {
			return
		}
	}
}

// park waits until pcscd is to look.
func (r *Remote) park(reader int) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	parked := make(chan struct{})
	r.readers[reader].parked = parked
	r.changed.Broadcast()
	r.mu.Unlock()
	<-parked
}

// release lets pcscd look, if it waits. The caller holds r.mu.
func (r *Remote) release(reader int) {
	if parked := r.readers[reader].parked; parked != nil {
		close(parked)
		r.readers[reader].parked = nil
	}
}

func (r *Remote) answer(reader int, q question, in []byte) (out []byte, rc int) {
	r.mu.Lock()
	h := r.readers[reader].handler
	r.mu.Unlock()
	switch {
	case q.Op == opPresence && h != nil && h.ICCPresence():
		return nil, iccPresent
	case q.Op == opPresence:
		return nil, iccNotPresent
	case q.Op == opProtocol:
		return nil, OK
	case h == nil && q.Op == opGet:
		return nil, ErrorTag
	case h == nil:
		return nil, NotSupported
	}
	switch q.Op {
	case opPower:
		return h.PowerICC(q.Number)
	case opTransmit:
		return h.TransmitToICC(q.Number, in)
	case opControl:
		return h.Control(q.Number, in)
	case opGet:
		return h.GetCapabilities(q.Number)
	case opSet:
		return nil, h.SetCapabilities(q.Number, in)
	}
	return nil, NotSupported
}
