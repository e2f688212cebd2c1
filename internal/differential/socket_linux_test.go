package differential

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// A socket is the virtual service on its socket, through libpcsclite. It is in a bubble too, for the sake of the clock:
// what comes from the clients is carried into it, and all of it has been answered when the next thing happens in there.
type socket struct {
	*bubble
	dir     string
	backend winscard.Backend

	listener net.Listener
	carriers sync.WaitGroup
	over     chan struct{}
	inside   *carriedListener
	cancel   context.CancelFunc
	served   chan error
}

func newSocket(t *testing.T) *socket {
	dir := t.TempDir()
	pcscdtest.Redirect(t, dir)
	s := &socket{bubble: newBubble(t), dir: dir, backend: newRouted(t)}
	s.powerOff = time.Hour // not before it is looked at, however long a sequence takes
	return s
}

func (s *socket) name() string { return "the virtual service's socket" }

func (s *socket) begin() {
	s.bubble.begin()
	var err error
	s.listener, err = net.Listen("unix", filepath.Join(s.dir, pcscdtest.SocketName))
	require.NoError(s.t, err)
	s.do(func() {
		var ctx context.Context
		ctx, s.cancel = context.WithCancel(context.Background())
		s.served = make(chan error, 1)
		s.inside = &carriedListener{Listener: s.listener, arrived: make(chan net.Conn), closed: make(chan struct{})}
		go func() { s.served <- s.service.Serve(ctx, s.inside) }()
	})
	s.carriers.Go(s.accept)
	s.over = make(chan struct{})
	s.carriers.Go(s.tick)
}

// tick makes the bubble's clock go on with the real one, as libpcsclite's does: BeginTransaction waits for 100 ms in the
// service before libpcsclite asks again.
func (s *socket) tick() {
	const pace = 10 * time.Millisecond
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.pass(pace)
		case <-s.over:
			return
		}
	}
}

// accept carries connections into the bubble.
func (s *socket) accept() {
	for {
		outside, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.carriers.Go(func() { s.carry(outside) })
	}
}

// carry carries a connection, and what comes through it, into the bubble.
func (s *socket) carry(outside net.Conn) {
	defer outside.Close()
	var inside *carried
	s.do(func() {
		inside = &carried{Conn: outside, come: make(chan []byte, 16), closed: make(chan struct{})}
		select {
		case s.inside.arrived <- inside:
		case <-s.inside.closed:
			inside.Close()
		}
	})
	defer s.do(func() { close(inside.come) })
	for {
		b := make([]byte, 1<<17)
		n, err := outside.Read(b)
		if err != nil {
			return
		}
		s.do(func() {
			select {
			case inside.come <- b[:n]:
			case <-inside.closed:
			}
		})
	}
}

func (s *socket) end() {
	s.do(func() {
		s.service.Stop()
		s.cancel()
		<-s.served
	})
	close(s.over)
	s.listener.Close()
	s.carriers.Wait()
	s.bubble.end()
}

func (s *socket) start(call func(winscard.Backend) outcome) <-chan outcome {
	result := make(chan outcome, 1)
	go func() { result <- call(s.backend) }()
	return result
}

// A carriedListener is the listener in the bubble.
type carriedListener struct {
	net.Listener
	arrived chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *carriedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.arrived:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *carriedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// A carried connection is a connection in the bubble. It has no deadlines: the clock in there is another one.
type carried struct {
	net.Conn
	come   chan []byte
	rest   []byte
	closed chan struct{}
	once   sync.Once
}

func (c *carried) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case came, ok := <-c.come:
			if !ok {
				return 0, io.EOF
			}
			c.rest = came
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *carried) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *carried) SetReadDeadline(time.Time) error { return nil }
