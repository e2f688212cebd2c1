package pcscdtest

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"sync"
	"testing"
)

// RemoteEnv is the environment variable with the address of a service that another process runs for this one; see
// [Serve]. A test program that can't run pcscd itself, under wine or under an emulator of processors, finds its service
// there. The socket of that service comes in libpcsclite's own variable.
const RemoteEnv = "PCSCDTEST_REMOTE"

// Remote is a [Service] in another process, with the cards in this one.
type Remote struct {
	tb     testing.TB
	client *rpc.Client
	cards  *remoteCards
}

// HasRemote reports whether a service of another process is there to be used.
func HasRemote() bool { return os.Getenv(RemoteEnv) != "" }

// StartRemote is [Start] for a service of another process.
func StartRemote(tb testing.TB, readers int) *Remote {
	tb.Helper()
	address := os.Getenv(RemoteEnv)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		tb.Fatalf("pcscdtest: %s: %v", RemoteEnv, err)
	}
	r := &Remote{tb: tb, client: rpc.NewClient(conn)}
	if r.cards, err = serveCards(); err != nil {
		tb.Fatalf("pcscdtest: %v", err)
	}
	tb.Cleanup(r.close)
	args := RemoteCall{Readers: readers, Cards: r.cards.listener.Addr().String()}
	if err := r.client.Call("Service.Open", args, new(int)); err != nil {
		tb.Fatalf("pcscdtest: %v", err)
	}
	return r
}

func (r *Remote) close() {
	var log string
	if err := r.client.Call("Service.Close", r.tb.Failed(), &log); err != nil {
		r.tb.Errorf("pcscdtest: %v", err)
	}
	if log != "" {
		r.tb.Logf("pcscd's output:\n%s", log)
	}
	r.client.Close()
	r.cards.close()
}

// A RemoteCall is what the methods of [Remote] send.
type RemoteCall struct {
	Readers int    // of Open and Restart; -1 leaves their number
	Cards   string // address of the cards
	Reader  int
	Card    int
}

func (r *Remote) call(method string, args RemoteCall) {
	r.tb.Helper()
	if err := r.client.Call("Service."+method, args, new(int)); err != nil {
		r.tb.Errorf("pcscdtest: %s: %v", method, err)
	}
}

// Readers is [Service.Readers], and so are the other methods the same as there.
func (r *Remote) Readers() []string {
	r.tb.Helper()
	var names []string
	if err := r.client.Call("Service.Readers", 0, &names); err != nil {
		r.tb.Errorf("pcscdtest: Readers: %v", err)
	}
	return names
}

// Stop ends the service in an orderly way.
func (r *Remote) Stop() { r.tb.Helper(); r.call("Stop", RemoteCall{}) }

// Kill ends the service as a crash does.
func (r *Remote) Kill() { r.tb.Helper(); r.call("Kill", RemoteCall{}) }

// Restart starts the service again; readers is their number, or -1 for as many as there were.
func (r *Remote) Restart(readers int) { r.tb.Helper(); r.call("Restart", RemoteCall{Readers: readers}) }

// Suspend stops the service's process in its tracks, Resume lets it go on.
func (r *Remote) Suspend() { r.tb.Helper(); r.call("Suspend", RemoteCall{}) }

// Resume is described at [Remote.Suspend].
func (r *Remote) Resume() { r.tb.Helper(); r.call("Resume", RemoteCall{}) }

// Insert puts a card of this process into a reader.
func (r *Remote) Insert(reader int, card Card) {
	r.tb.Helper()
	r.call("Insert", RemoteCall{Reader: reader, Card: r.cards.add(card)})
}

// Remove pulls the card out of a reader.
func (r *Remote) Remove(reader int) { r.tb.Helper(); r.call("Remove", RemoteCall{Reader: reader}) }

// remoteCards are the cards of this process. The service calls them over one connection, which it makes.
type remoteCards struct {
	listener net.Listener
	done     chan struct{} // closed when nothing is served any more

	mu    sync.Mutex
	cards []Card
	conn  net.Conn
}

func serveCards() (*remoteCards, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &remoteCards{listener: l, done: make(chan struct{})}
	server := rpc.NewServer()
	if err := server.RegisterName("Cards", &cardServer{c}); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.conn = conn
		c.mu.Unlock()
		server.ServeConn(conn)
	}()
	return c, nil
}

func (c *remoteCards) add(card Card) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cards = append(c.cards, card)
	return len(c.cards) - 1
}

func (c *remoteCards) close() {
	c.listener.Close()
	c.mu.Lock()
	if c.conn != nil {
		c.conn.Close()
	}
	c.mu.Unlock()
	<-c.done
}

// cardServer has what the service may call. A separate type, as rpc looks at all methods.
type cardServer struct{ c *remoteCards }

// A CardCall is what the service sends to a card.
type CardCall struct {
	Card int
	APDU []byte
}

func (s *cardServer) card(n int) (Card, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if n < 0 || n >= len(s.c.cards) {
		return nil, fmt.Errorf("no card %d", n)
	}
	return s.c.cards[n], nil
}

func (s *cardServer) do(call CardCall, f func(Card)) error {
	card, err := s.card(call.Card)
	if err == nil {
		f(card)
	}
	return err
}

func (s *cardServer) ATR(call CardCall, out *[]byte) error {
	return s.do(call, func(c Card) { *out = c.ATR() })
}

func (s *cardServer) PowerOn(call CardCall, _ *[]byte) error {
	return s.do(call, Card.PowerOn)
}

func (s *cardServer) PowerOff(call CardCall, _ *[]byte) error {
	return s.do(call, Card.PowerOff)
}

func (s *cardServer) Reset(call CardCall, _ *[]byte) error {
	return s.do(call, Card.Reset)
}

func (s *cardServer) Transmit(call CardCall, out *[]byte) error {
	return s.do(call, func(c Card) { *out = c.Transmit(call.APDU) })
}

var errNotOpen = errors.New("no service has been opened")
