//go:build unix

package virtual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/gopcsc/gopcsc/generated/protocol"
)

// A ServeOption changes how [Service.Serve] treats its clients.
type ServeOption func(*server)

// WithLogger tells logger which clients were turned away or cut off, and why. It is never told of APDUs or attributes.
// By default nothing is logged.
func WithLogger(logger *slog.Logger) ServeOption { return func(s *server) { s.log = logger } }

// WithUsers decides by their user ID which clients may come in, on systems that tell it. By default it is the user that
// the program runs as, and root. What else keeps others out, the permissions of the socket that [Listen] makes, is not
// changed by it.
func WithUsers(allowed func(uid uint32) bool) ServeOption {
	return func(s *server) {
		if allowed != nil {
			s.allowed = allowed
		}
	}
}

// Serve lets clients of other processes use the service: it speaks pcscd's protocol with those who connect to the
// listener, so that libpcsclite, and whatever program is linked with it, finds the service's readers. It blocks until
// ctx ends or the listener fails, and closes the listener.
//
//	l, err := virtual.Listen("")
//	…
//	go service.Serve(ctx, l)
//	cmd := exec.Command("opensc-tool", "--list-readers")
//	cmd.Env = append(os.Environ(), l.Env())
//
// Clients of the versions 4:4 (libpcsclite up to 1.9 and 2.0), 4:5 and 4:6 are served, up to 200 contexts at a time,
// each by a goroutine: none waits for another, except for cards and locks. To a client that dies happens what happens
// to one that calls ReleaseContext. One that breaks the protocol, or names a handle that is not its own, is cut off.
//
// While the service is stopped, see [Service.Stop], clients find no service. A listener of [Listen] goes away
// meanwhile, as that of pcscd does; any other one closes each connection at once.
//
// When Serve returns, all its clients are cut off and their contexts released. It then waits for a second at most for
// cards that are at work; what they have begun is finished in the background. The error is that of ctx, or of Accept.
func (s *Service) Serve(ctx context.Context, l net.Listener, opts ...ServeOption) error {
	srv := &server{service: s, listener: l, allowed: ownUser, log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		if opt != nil {
			opt(srv)
		}
	}
	s.mu.Lock()
	s.outlets = append(s.outlets, srv)
	if !s.running {
		srv.stopped()
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		l.Close()
	})
	err := srv.accept(ctx)
	if stop() {
		l.Close()
	} else {
		<-ended
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	srv.close()
	return err
}

// ListenAndServe is [Listen] and [Service.Serve].
func (s *Service) ListenAndServe(ctx context.Context, path string, opts ...ServeOption) error {
	l, err := Listen(path)
	if err != nil {
		return err
	}
	return s.Serve(ctx, l, opts...)
}

// A server is one call of Serve.
type server struct {
	service  *Service
	listener net.Listener
	allowed  func(uid uint32) bool
	log      *slog.Logger

	// Service.mu guards the rest.
	peers  map[*peer]bool
	alive  int  // goroutines of peers
	closed bool // no further ones
}

// maxPeers is how many connections a server has at most. pcscd has as many as contexts; here SCardCancel, which connects
// anew, works while there are 200 contexts too.
const maxPeers = 2 * maxContexts

// graceTime is how long Serve waits for cards that are at work.
const graceTime = time.Second

// pausable is what [Listener] can do besides accepting.
type pausable interface {
	pause()
	resume()
}

func (srv *server) stopped() {
	if l, ok := srv.listener.(pausable); ok {
		l.pause()
	}
	for p := range srv.peers {
		p.conn.Close()
	}
}

func (srv *server) started() {
	if l, ok := srv.listener.(pausable); ok && !srv.closed {
		l.resume()
	}
}

// accept serves clients until the listener ends.
func (srv *server) accept(ctx context.Context) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	wait := shortest
	for {
		conn, err := srv.listener.Accept()
		switch {
		case err == nil:
			wait = shortest
			srv.welcome(conn)
			continue
		case ctx.Err() != nil || !passing(err):
			return err
		}
		srv.log.Warn("can't accept clients, trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// passing reports whether an error of Accept is one that passes: the client's, or a lack of something.
func passing(err error) bool {
	return slices.ContainsFunc([]syscall.Errno{
		syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	}, func(e syscall.Errno) bool { return errors.Is(err, e) })
}

// welcome serves a client that has connected, or turns it away.
func (srv *server) welcome(conn net.Conn) {
	if err := srv.admit(conn); err != nil {
		srv.log.Warn("client turned away", "reason", err)
		conn.Close()
		return
	}
	s := srv.service
	p := &peer{server: srv, conn: conn}
	s.mu.Lock()
	var reason string
	switch {
	case srv.closed || !s.running:
		reason = "the service is stopped"
	case len(srv.peers) >= maxPeers:
		reason = fmt.Sprintf("there are %d clients", maxPeers)
	default:
		if srv.peers == nil {
			srv.peers = make(map[*peer]bool)
		}
		srv.peers[p] = true
		srv.begin(p.run)
	}
	s.mu.Unlock()
	if reason != "" {
		srv.log.Warn("client turned away", "reason", reason)
		conn.Close()
	}
}

// admit refuses clients of other users.
func (srv *server) admit(conn net.Conn) error {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil // a listener of the caller's own making
	}
	uid, err := peerUser(unix)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("can't tell its user: %w", err)
	}
	if !srv.allowed(uid) {
		return fmt.Errorf("user %d is not allowed", uid)
	}
	return nil
}

func ownUser(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }

// begin starts a goroutine that Serve waits for. The caller holds Service.mu.
func (srv *server) begin(run func()) {
	srv.alive++
	go func() {
		defer func() {
			srv.service.mu.Lock()
			defer srv.service.mu.Unlock()
			srv.alive--
			srv.service.released.raise()
		}()
		run()
	}()
}

// close cuts off all clients and waits for their goroutines.
func (srv *server) close() {
	s := srv.service
	s.mu.Lock()
	defer s.mu.Unlock()
	srv.closed = true
	s.outlets = slices.DeleteFunc(s.outlets, func(o outlet) bool { return o == srv })
	for p := range srv.peers {
		p.conn.Close()
		if p.client != nil {
			s.retire(p.client) // which ends a call that waits for a lock
		}
	}
	// Whether a card is at work has to be asked for again and again: nothing is raised when it begins.
	tick := time.NewTicker(graceTime / 20)
	defer tick.Stop()
	for end := time.Now().Add(graceTime); srv.alive > 0; {
		s.pauseFor(tick.C)
		if s.atWork() && !time.Now().Before(end) {
			return
		}
	}
}

// atWork reports whether a card or a driver is at work, which nobody can interrupt. The caller holds s.mu.
func (s *Service) atWork() bool {
	return slices.ContainsFunc(s.slots[:], func(place slot) bool {
		r := place.reader
		return r != nil && (r.control.busy || r.last != nil && r.last.line.busy)
	})
}

// publicStates is what pcscd tells clients of all readers' places. The caller holds s.mu.
func (s *Service) publicStates() (states [maxReaders]protocol.ReaderState) {
	for i := range states {
		place, state := &s.slots[i], &states[i]
		state.EventCounter = uint32(place.counter)
		r := place.reader
		if r == nil {
			continue
		}
		r.settle()
		state.Name = r.name
		state.State = uint32(r.state)
		state.Sharing = int32(r.sharing)
		state.ATRLength = uint32(copy(state.ATR[:], r.atr))
		state.Protocol = r.protocol
	}
	return states
}
