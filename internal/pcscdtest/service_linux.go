package pcscdtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscclient"
)

const (
	// patience is for machines under load; pcscd itself is asked every few
	// milliseconds.
	patience = 20 * time.Second
	interval = 5 * time.Millisecond

	runDir   = "/run/pcscd"     // pcscd makes its socket there
	filesDir = "/run/pcscdtest" // what the service is started with
	basePort = 35963            // vpcd's default
)

// A Service is a private pcscd with virtual readers.
//
// Its methods may be called from any goroutine while the test runs. If one
// fails, it marks the test as failed and returns.
type Service struct {
	tb     testing.TB
	inst   *installation
	thread *thread
	log    *os.File

	mu    sync.Mutex
	cfg   config
	proc  *process // nil while the service is down
	slots [MaxReaders]slot
}

// A process is one run of pcscd.
type process struct {
	cmd    *exec.Cmd
	usb    *os.File      // takes the events of USB devices; nil without hot plug
	exited chan struct{} // closed after the process was waited for
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// A slot holds a card, which stays in it when the service goes down.
type slot struct {
	card Card
	link *link
}

var (
	activeMu sync.Mutex
	active   *Service
)

// Start starts a service and waits until it answers and has its readers. The
// test's cleanup ends it and shows its log if the test failed. A process can
// have one service at a time.
func Start(tb testing.TB, opts ...Option) *Service {
	tb.Helper()
	if os.Geteuid() != 0 {
		Skip(tb, "pcscdtest: a private pcscd needs root")
	}
	inst, err := findInstallation()
	if err != nil {
		Skip(tb, "pcscdtest: %v", err)
	}
	if socketDir < 0 {
		tb.Fatalf("pcscdtest: no socket path: %v", errPrepare)
	}
	s := &Service{tb: tb, inst: inst, cfg: newConfig(opts)}
	s.checkConfig()

	activeMu.Lock()
	busy := active
	if busy == nil {
		active = s
	}
	activeMu.Unlock()
	if busy != nil {
		tb.Fatalf("pcscdtest: the service of %s is still active", busy.tb.Name())
	}
	tb.Cleanup(s.cleanup)

	if s.thread, err = newThread("/run", inst.driverDir); err != nil {
		if errors.Is(err, unix.EPERM) {
			Skip(tb, "pcscdtest: no namespaces: %v", err)
		}
		tb.Fatalf("pcscdtest: %v", err)
	}
	fd, err := unix.MemfdCreate("pcscd.log", unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatalf("pcscdtest: memfd_create: %v", err)
	}
	s.log = os.NewFile(uintptr(fd), "pcscd.log")
	err = s.thread.do(func() error {
		if err := os.Mkdir(runDir, 0o755); err != nil {
			return err
		}
		if err := os.Mkdir(filesDir, 0o755); err != nil {
			return err
		}
		return pointTo(runDir)
	})
	if err != nil {
		tb.Fatalf("pcscdtest: %v", err)
	}
	if err := s.start(); err != nil {
		tb.Fatalf("pcscdtest: %v", err)
	}
	return s
}

func newConfig(opts []Option) config {
	c := config{readers: 1}
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

func (c *config) name(i int) string {
	if i < len(c.names) {
		return c.names[i]
	}
	return "Virtual Reader " + string(rune('A'+i))
}

// total is the number of readers of both kinds.
func (c *config) total() int { return c.readers + len(c.driven) }

func (s *Service) checkConfig() {
	s.tb.Helper()
	n := s.cfg.readers
	if n < 0 || n > MaxReaders {
		s.tb.Fatalf("pcscdtest: %d readers; pcscd has 0 to %d", n, MaxReaders)
	}
	for _, name := range slices.Concat(s.cfg.names, s.cfg.driven) {
		if name == "" || strings.ContainsAny(name, "\"\n\x00") {
			s.tb.Fatalf("pcscdtest: a reader can't be named %q", name)
		}
	}
	if total := s.cfg.total(); total > MaxReaders {
		s.tb.Fatalf("pcscdtest: %d readers with those of the other driver; pcscd has 0 to %d", total, MaxReaders)
	}
	if s.cfg.hotPlug {
		switch {
		case len(s.cfg.driven) > 0:
			s.tb.Fatalf("pcscdtest: WithHotPlug and WithDriver do not go together")
		case s.inst.slots != 1:
			Skip(s.tb, "pcscdtest: vpcd has readers in pairs only on this platform, which can't be plugged in singly")
		}
		if _, err := findHotPlug(); errors.Is(err, ErrNoCompiler) || errors.Is(err, errNoHotPlug) {
			Skip(s.tb, "pcscdtest: %v", err)
		} else if err != nil {
			s.tb.Fatalf("pcscdtest: hot plug: %v", err)
		}
	}
	if n%s.inst.slots != 0 {
		Skip(s.tb, "pcscdtest: vpcd has readers in pairs only on this platform, %d are asked for", n)
	}
}

// fail reports an error; unlike tb.Fatal it can be called from any goroutine.
func (s *Service) fail(op string, err error) {
	s.tb.Helper()
	s.tb.Errorf("pcscdtest: %s: %v", op, err)
}

// start runs pcscd and connects the cards that are in its readers.
func (s *Service) start() error {
	s.mu.Lock()
	cfg := s.cfg
	s.mu.Unlock()

	p := &process{exited: make(chan struct{})}
	err := s.thread.do(func() error {
		conf := filepath.Join(filesDir, "reader.conf")
		if err := s.writeFiles(conf, &cfg); err != nil {
			return err
		}
		args := slices.Concat(s.inst.command[1:], []string{"--foreground", "--info", "--config", conf}, s.inst.args, cfg.args)
		p.cmd = exec.Command(s.inst.command[0], args...)
		p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		if cfg.hotPlug {
			if err := s.plug(p, &cfg); err != nil {
				return err
			}
		}
		p.cmd.Stdout, p.cmd.Stderr = s.log, s.log
		p.cmd.SysProcAttr = &syscall.SysProcAttr{
			// The thread lives as long as the service, see [thread].
			Pdeathsig: syscall.SIGKILL,
			// An interrupt from the terminal is the test's business.
			Setpgid: true,
		}
		return p.cmd.Start()
	})
	if p.cmd != nil {
		for _, f := range p.cmd.ExtraFiles {
			f.Close() // the process has it now
		}
	}
	if err != nil {
		p.usb.Close()
		return err
	}
	go func() {
		defer close(p.exited)
		p.cmd.Wait()
		p.usb.Close() // also if it is nil
	}()
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()

	err = s.await(p, "wait for the readers", func(states []protocol.ReaderState) bool {
		for i := range states {
			ready := states[i].State != 0
			if there := i < cfg.total(); ready != there {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	for i := range cfg.readers {
		s.mu.Lock()
		card := s.slots[i].card
		s.mu.Unlock()
		if card != nil {
			if err := s.connect(i, card); err != nil {
				return err
			}
		}
	}
	return s.await(p, "wait for the cards", func(states []protocol.ReaderState) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range cfg.readers {
			if s.slots[i].card != nil && states[i].State&uint32(winscard.CardPresent) == 0 {
				return false
			}
		}
		return true
	})
}

func (s *Service) writeFiles(conf string, cfg *config) error {
	var b strings.Builder
	for i := 0; i < cfg.readers && !cfg.hotPlug; i += s.inst.slots {
		// A driver of its own for each reader, since dlopen would give two
		// readers the same static variables.
		lib := filepath.Join(filesDir, fmt.Sprintf("vpcd%02d.so", i))
		if err := os.WriteFile(lib, s.inst.driver, 0o755); err != nil {
			return err
		}
		port := basePort + i
		fmt.Fprintf(&b, "FRIENDLYNAME \"%s\"\nDEVICENAME /dev/null:%#X\nLIBPATH %s\nCHANNELID %#X\n\n",
			cfg.name(i), port, lib, port)
	}
	for i, name := range cfg.driven {
		fmt.Fprintf(&b, "FRIENDLYNAME \"%s\"\nDEVICENAME /dev/null\nLIBPATH %s\nCHANNELID %#X\n\n", name, cfg.driver, i)
	}
	return os.WriteFile(conf, []byte(b.String()), 0o644)
}

// await asks pcscd for the readers' states until cond holds.
func (s *Service) await(p *process, what string, cond func([]protocol.ReaderState) bool) error {
	deadline := time.Now().Add(patience)
	var (
		c   *pcscclient.Client
		err error
	)
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for {
		if c == nil {
			c, err = dial(s.Socket(), deadline)
		}
		if c != nil {
			var states []protocol.ReaderState
			if states, err = c.States(); err == nil {
				if cond(states) {
					return nil
				}
				err = errors.New("nothing happened")
			} else {
				c.Close()
				c = nil
			}
		}
		if !p.running() {
			return fmt.Errorf("%s: pcscd has ended: %v", what, p.cmd.ProcessState)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", what, err)
		}
		time.Sleep(interval)
	}
}

// queryRun returns the readers' states, or why the service cannot tell.
func (s *Service) queryRun(p *process) ([]protocol.ReaderState, error) {
	states, err := s.query()
	if err != nil {
		select {
		case <-p.exited: // the usual reason
			return nil, fmt.Errorf("pcscd has ended: %v", p.cmd.ProcessState)
		case <-time.After(patience):
		}
	}
	return states, err
}

// query returns the readers' states.
func (s *Service) query() ([]protocol.ReaderState, error) {
	c, err := dial(s.Socket(), time.Now().Add(patience))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.States()
}

// connect links a card to its reader.
func (s *Service) connect(i int, card Card) error {
	var fd int
	err := s.thread.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: basePort + i, Addr: [4]byte{127, 0, 0, 1}})
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("connect to vpcd: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "vpcd")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.slots[i] = slot{card, newLink(conn, card)}
	s.mu.Unlock()
	return nil
}

// running returns the process if the service is up and has reader i.
func (s *Service) running(i int) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.proc == nil:
		return nil, errors.New("the service is down")
	case i < 0 || i >= s.cfg.readers:
		return nil, fmt.Errorf("reader %d of %d", i, s.cfg.readers)
	}
	return s.proc, nil
}

// Readers returns the readers' names as pcscd lists them. A name's index is the
// reader's number for [Service.Insert] and [Service.Remove].
func (s *Service) Readers() []string {
	s.tb.Helper()
	states, err := s.query()
	if err != nil {
		s.fail("Readers", err)
		return nil
	}
	names := []string{}
	for i := range states {
		if name := states[i].Name; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Insert puts a card into a reader and returns when pcscd has noticed: it
// looks every 400 ms.
//
// pcscd then supplies the card with power, and takes it away at its next look
// if no client has connected by then.
func (s *Service) Insert(reader int, card Card) {
	s.tb.Helper()
	if err := s.insert(reader, card); err != nil {
		s.fail("Insert", err)
	}
}

func (s *Service) insert(i int, card Card) error {
	p, err := s.running(i)
	if err != nil {
		return err
	}
	s.mu.Lock()
	occupied := s.slots[i].card != nil
	s.mu.Unlock()
	if occupied {
		return fmt.Errorf("reader %d has a card", i)
	}
	before, err := s.queryRun(p)
	if err != nil {
		return err
	}
	if err := s.connect(i, card); err != nil {
		return err
	}
	return s.await(p, "wait for the card", changed(i, before, winscard.CardPresent))
}

// changed is the condition that reader i has got to a state by an event. pcscd
// sets the state first and then counts the event.
func changed(i int, before []protocol.ReaderState, state winscard.CardState) func([]protocol.ReaderState) bool {
	return func(now []protocol.ReaderState) bool {
		return now[i].State&uint32(state) != 0 && now[i].EventCounter != before[i].EventCounter
	}
}

// Remove pulls the card out of a reader and returns when pcscd has noticed.
func (s *Service) Remove(reader int) {
	s.tb.Helper()
	if err := s.remove(reader); err != nil {
		s.fail("Remove", err)
	}
}

func (s *Service) remove(i int) error {
	p, err := s.running(i)
	if err != nil {
		return err
	}
	before, err := s.queryRun(p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	l := s.slots[i].link
	s.slots[i] = slot{}
	s.mu.Unlock()
	if l == nil {
		return fmt.Errorf("reader %d has no card", i)
	}
	l.pull()
	return s.await(p, "wait for the card's end", changed(i, before, winscard.CardAbsent))
}

// Kill ends the service with SIGKILL, as a crash does: the socket stays behind
// and refuses connections. Cards stay in their readers.
func (s *Service) Kill() {
	s.tb.Helper()
	s.end("Kill", syscall.SIGKILL)
}

// Stop ends the service with SIGTERM, as an orderly stop does: it removes its
// socket. Cards stay in their readers.
func (s *Service) Stop() {
	s.tb.Helper()
	s.end("Stop", syscall.SIGTERM)
}

func (s *Service) end(op string, sig syscall.Signal) {
	s.tb.Helper()
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p == nil {
		s.fail(op, errors.New("the service is down"))
		return
	}
	if !p.running() {
		s.fail(op, fmt.Errorf("pcscd had ended by itself: %v", p.cmd.ProcessState))
	} else if err := p.cmd.Process.Signal(sig); err != nil {
		s.fail(op, err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		s.fail(op, fmt.Errorf("pcscd does not react to %v", sig))
		p.cmd.Process.Kill()
		<-p.exited
	}
	s.pullAll()
}

func (s *Service) pullAll() {
	s.mu.Lock()
	var links []*link
	for i := range s.slots {
		if l := s.slots[i].link; l != nil {
			links = append(links, l)
			s.slots[i].link = nil
		}
	}
	s.mu.Unlock()
	for _, l := range links {
		l.pull()
	}
}

// Restart starts the service again at the same path, after stopping it if it
// runs. Options change what it had before; cards are still in their readers,
// except in readers that are gone. It returns when the service answers and has
// seen the cards.
func (s *Service) Restart(opts ...Option) {
	s.tb.Helper()
	s.mu.Lock()
	up := s.proc != nil
	s.mu.Unlock()
	if up {
		s.Stop()
	}
	s.mu.Lock()
	for _, opt := range opts {
		opt(&s.cfg)
	}
	for i := max(0, s.cfg.readers); i < len(s.slots); i++ {
		s.slots[i] = slot{}
	}
	s.mu.Unlock()
	s.checkConfig()
	if err := s.start(); err != nil {
		s.fail("Restart", err)
	}
}

// PID returns the service's process ID, or 0 while it is down. A test can
// suspend the service with SIGSTOP and SIGCONT.
func (s *Service) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Socket returns the path of the service's socket, the same for all services of
// the process and also while none runs. Child processes can use it.
func (s *Service) Socket() string {
	return fmt.Sprintf("/proc/%d/fd/%d/%s", os.Getpid(), socketDir, socketName)
}

// Log returns pcscd's output since [Start], over all restarts.
func (s *Service) Log() string {
	if s.log == nil {
		return ""
	}
	b, err := io.ReadAll(io.NewSectionReader(s.log, 0, 1<<30))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *Service) cleanup() {
	s.mu.Lock()
	p := s.proc
	s.proc = nil
	s.mu.Unlock()
	if p != nil {
		if p.running() {
			p.cmd.Process.Kill()
			<-p.exited
		} else {
			s.fail("cleanup", fmt.Errorf("pcscd had ended by itself: %v", p.cmd.ProcessState))
		}
	}
	s.pullAll()
	if err := pointTo(noService); err != nil {
		s.fail("cleanup", err)
	}
	if s.thread != nil {
		s.thread.end()
	}
	if s.log != nil {
		if s.tb.Failed() {
			const most = 64 << 10
			log := s.Log()
			s.tb.Logf("pcscd's output:\n%s", log[max(0, len(log)-most):])
		}
		s.log.Close()
	}
	activeMu.Lock()
	active = nil
	activeMu.Unlock()
}

// An ackReader acknowledges at once whatever it receives. vpcd sends a length
// and its payload separately with Nagle's algorithm on: the payload waits for
// the acknowledgement of the length, and that for the kernel's delay of 40 ms.
// The kernel forgets the option, hence again and again.
type ackReader struct {
	conn net.Conn
	raw  syscall.RawConn
}

func newAckReader(conn net.Conn) io.Reader {
	sc, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return conn
	}
	return &ackReader{conn, raw}
}

func (r *ackReader) Read(b []byte) (int, error) {
	n, err := r.conn.Read(b)
	r.raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
	return n, err
}
