package pcscdtest

import (
	"fmt"
	"net"
	"net/rpc"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Serve lets test programs that can't run pcscd themselves use services of this process; see [StartRemote]. They share
// a socket, so there is one at a time. It returns when the listener is closed.
func Serve(l net.Listener) error {
	server := rpc.NewServer()
	if err := server.RegisterName("Service", &serviceServer{}); err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil
		}
		go server.ServeConn(conn)
	}
}

// SocketEnv is the setting of libpcsclite's variable with which a child process finds the services of this one.
func SocketEnv() string { return socketEnv + "=" + (*Service)(nil).Socket() }

// serviceServer has what a test program may call.
type serviceServer struct {
	mu      sync.Mutex
	tb      *remoteTB
	service *Service
	cards   *rpc.Client
}

// remoteTB stands for the test at the other end. What it is told is the answer to the call.
type remoteTB struct {
	testing.TB // for the method that nobody outside of package testing has
	mu         sync.Mutex
	faults     []string
	failed     bool
	log        strings.Builder
	cleanups   []func()
}

func (t *remoteTB) Helper()          {}
func (t *remoteTB) Name() string     { return "remote" }
func (t *remoteTB) Failed() bool     { return t.failed }
func (t *remoteTB) Skip(v ...any)    { t.Fatalf("%s", fmt.Sprint(v...)) }
func (t *remoteTB) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *remoteTB) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.log, format+"\n", args...)
}

func (t *remoteTB) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, fmt.Sprintf(format, args...))
}

func (t *remoteTB) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// run runs f, which may end by Fatalf, and returns what went wrong.
func (t *remoteTB) run(f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
	t.mu.Lock()
	defer t.mu.Unlock()
	faults := t.faults
	t.faults = nil
	if len(faults) > 0 {
		return fmt.Errorf("%s", strings.Join(faults, "; "))
	}
	return nil
}

// Open makes the service of a test.
func (s *serviceServer) Open(args RemoteCall, _ *int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(false) // of a program that has died
	cards, err := rpc.Dial("tcp", args.Cards)
	if err != nil {
		return err
	}
	s.cards, s.tb = cards, &remoteTB{}
	return s.tb.run(func() { s.service = Start(s.tb, WithReaders(args.Readers)) })
}

// Close ends the service. It returns pcscd's output if the test has failed.
func (s *serviceServer) Close(failed bool, log *string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	*log, err = s.end(failed)
	return err
}

func (s *serviceServer) end(failed bool) (string, error) {
	if s.tb == nil {
		return "", nil
	}
	tb := s.tb
	tb.failed = failed
	err := tb.run(func() {
		for i := len(tb.cleanups) - 1; i >= 0; i-- {
			tb.cleanups[i]()
		}
	})
	s.cards.Close()
	s.tb, s.service, s.cards = nil, nil, nil
	return tb.log.String(), err
}

func (s *serviceServer) do(f func(*Service)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.service == nil {
		return errNotOpen
	}
	return s.tb.run(func() { f(s.service) })
}

func (s *serviceServer) Readers(_ int, names *[]string) error {
	return s.do(func(svc *Service) { *names = svc.Readers() })
}

func (s *serviceServer) Stop(RemoteCall, *int) error { return s.do((*Service).Stop) }
func (s *serviceServer) Kill(RemoteCall, *int) error { return s.do((*Service).Kill) }

func (s *serviceServer) Restart(args RemoteCall, _ *int) error {
	return s.do(func(svc *Service) {
		if args.Readers < 0 {
			svc.Restart()
		} else {
			svc.Restart(WithReaders(args.Readers))
		}
	})
}

func (s *serviceServer) Suspend(RemoteCall, *int) error { return s.signal(syscall.SIGSTOP) }
func (s *serviceServer) Resume(RemoteCall, *int) error  { return s.signal(syscall.SIGCONT) }

func (s *serviceServer) signal(sig syscall.Signal) error {
	return s.do(func(svc *Service) {
		if err := syscall.Kill(svc.PID(), sig); err != nil {
			svc.tb.Errorf("%v: %v", sig, err)
		}
	})
}

func (s *serviceServer) Insert(args RemoteCall, _ *int) error {
	return s.do(func(svc *Service) { svc.Insert(args.Reader, &remoteCard{s.cards, args.Card}) })
}

func (s *serviceServer) Remove(args RemoteCall, _ *int) error {
	return s.do(func(svc *Service) { svc.Remove(args.Reader) })
}

// remoteCard is a card in the process of the test. Calls on it may overlap as [Card] says. If that process is gone the
// card is mute.
type remoteCard struct {
	client *rpc.Client
	number int
}

func (c *remoteCard) call(method string, apdu []byte) []byte {
	var out []byte
	if err := c.client.Call("Cards."+method, CardCall{c.number, apdu}, &out); err != nil {
		return nil
	}
	return out
}

func (c *remoteCard) ATR() []byte                 { return c.call("ATR", nil) }
func (c *remoteCard) PowerOn()                    { c.call("PowerOn", nil) }
func (c *remoteCard) PowerOff()                   { c.call("PowerOff", nil) }
func (c *remoteCard) Reset()                      { c.call("Reset", nil) }
func (c *remoteCard) Transmit(apdu []byte) []byte { return c.call("Transmit", apdu) }
