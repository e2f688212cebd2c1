//go:build unix

package virtual

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Listener is a Unix socket for [Service.Serve], made by [Listen]. It is a [net.Listener]; all methods may be called
// concurrently.
type Listener struct {
	path string
	dir  string // to be removed, if it is one of our own

	mu     sync.Mutex
	socket *net.UnixListener // nil while the service is stopped
	file   fs.FileInfo       // what is at path
	err    error             // why there is no socket any more
	turn   chan struct{}     // closed when socket or err is another one
}

// Listen makes a socket that only the user of this program can connect to: its mode is 0600, and if path is empty, it
// lies in a new directory of mode 0700. [Listener.Env] tells programs of it. Close removes what Listen has made.
//
// With a path, the directory has to be there, and nobody but its owner and root may be able to put another socket in
// the place of this one; Listen fails if it finds otherwise, if something is at the path already (the error then is
// [fs.ErrExist]), and if the path is longer than the system's socket addresses can be. A socket that nobody listens on
// any more, left behind by a program that has crashed, is replaced if it is the user's own.
func Listen(path string) (*Listener, error) {
	l := &Listener{turn: make(chan struct{})}
	if path == "" {
		dir, err := os.MkdirTemp(temporary(), "pcsc-")
		if err != nil {
			return nil, fmt.Errorf("virtual: a directory for the socket: %w", err)
		}
		l.dir, path = dir, filepath.Join(dir, "pcscd.comm")
	}
	path, err := filepath.Abs(path) // clients may be in another directory
	if err == nil {
		l.path = path
		err = l.open()
	}
	if err != nil {
		l.removeDir()
		return nil, fmt.Errorf("virtual: %w", err)
	}
	return l, nil
}

// temporary is the system's directory for temporary files, or another one if its name is so long that there is no room
// for a socket.
func temporary() string {
	if dir := os.TempDir(); len(dir) < maxPath/2 {
		return dir
	}
	return "/tmp"
}

// maxPath is the length of the longest path of a socket, without the NUL at its end.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// open makes the socket. The caller holds mu, or is the only one who knows the listener.
func (l *Listener) open() error {
	if len(l.path) > maxPath {
		return fmt.Errorf("the path of a socket can have %d bytes, and %s has %d: choose a shorter one", maxPath, l.path, len(l.path))
	}
	if err := checkDir(filepath.Dir(l.path)); err != nil {
		return err
	}
	// A path that is in use is found out by trying. Another program may make and remove sockets there too, so a stale
	// one that is out of the way is no promise.
	var socket *net.UnixListener
	for attempt := 0; ; attempt++ {
		var err error
		if socket, err = bind(l.path); err == nil {
			break
		}
		if !errors.Is(err, syscall.EADDRINUSE) || attempt == 5 {
			return fmt.Errorf("socket %s: %w", l.path, errors.Unwrap(err))
		}
		if err := removeStale(l.path); err != nil {
			return err
		}
	}
	socket.SetUnlinkOnClose(false)
	err := os.Chmod(l.path, 0o600)
	file, e := os.Lstat(l.path)
	switch {
	case err != nil:
	case e != nil:
		err = e
	case file.Mode().Type() != fs.ModeSocket || file.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("socket %s is not private (%v): choose another directory", l.path, file.Mode())
	}
	if err != nil {
		socket.Close()
		os.Remove(l.path)
		return err
	}
	l.socket, l.file = socket, file
	return nil
}

// bind makes a socket that is private from the beginning, where the system takes the mode of the unbound socket for
// that. Elsewhere Chmod comes a moment later, and who was faster is turned away for being another user.
func bind(path string) (*net.UnixListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0o600) })
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// checkDir refuses a directory in which others can replace the socket.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the directory of the socket: %w", err)
	}
	if owner := ownerOf(info); !ownUser(owner) {
		return fmt.Errorf("the directory of the socket, %s, belongs to user %d: choose one of your own", dir, owner)
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("others can write to the directory of the socket, %s (%v): make it private with chmod go-w, or choose another", dir, info.Mode().Perm())
	}
	return nil
}

func ownerOf(info fs.FileInfo) uint32 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Uid
	}
	return 0
}

// removeStale removes a socket that nobody listens on, and fails if there is anything else.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it has gone by itself
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return &fs.PathError{Op: "socket", Path: path, Err: fmt.Errorf("%w, and is none: remove it, or choose another path", fs.ErrExist)}
	case ownerOf(info) != uint32(os.Geteuid()):
		return &fs.PathError{Op: "socket", Path: path, Err: fmt.Errorf("%w, and belongs to user %d: choose another path", fs.ErrExist, ownerOf(info))}
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return &fs.PathError{Op: "socket", Path: path, Err: fmt.Errorf("%w, and a program listens on it: end that, or choose another path", fs.ErrExist)}
	}
	// Since then somebody may have replaced it with one that is in use. To move it away tells: what was moved is
	// looked at, and moved back if it is another one.
	away := path + fmt.Sprintf(".%x", newID())
	if err := os.Rename(path, away); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if moved, err := os.Lstat(away); err == nil && !os.SameFile(info, moved) {
		_ = os.Link(away, path) // unless there is yet another one
	}
	return os.Remove(away)
}

// Accept waits for a client, also while the service is stopped.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		socket, err, turn := l.socket, l.err, l.turn
		l.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case socket == nil:
			<-turn
			continue
		}
		conn, err := socket.Accept()
		if err == nil {
			return conn, nil
		}
		l.mu.Lock()
		same := l.socket == socket
		l.mu.Unlock()
		if same {
			return nil, err
		}
	}
}

// Addr returns the address; its String method the absolute path.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Env is what a program needs in its environment to find the socket: the variable PCSCLITE_CSOCK_NAME with the path.
// libpcsclite looks at it once, so it has to be there before the program's first PC/SC function.
func (l *Listener) Env() string { return "PCSCLITE_CSOCK_NAME=" + l.path }

// Close ends Accept and removes the socket. Closing twice returns [net.ErrClosed].
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, net.ErrClosed) {
		return net.ErrClosed
	}
	l.shut(net.ErrClosed)
	l.removeDir()
	return nil
}

// pause removes the socket, as the end of pcscd does.
func (l *Listener) pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut(l.err)
}

// resume makes it again. If that fails, Accept tells why.
func (l *Listener) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil || l.err != nil {
		return
	}
	if err := l.open(); err != nil {
		l.err = fmt.Errorf("virtual: %w", err)
	}
	l.turned()
}

// shut closes the socket. The caller holds mu.
func (l *Listener) shut(err error) {
	if l.socket != nil {
		socket := l.socket
		l.socket = nil
		socket.Close()
		// What is at the path now may be somebody else's.
		if file, e := os.Lstat(l.path); e == nil && os.SameFile(file, l.file) {
			os.Remove(l.path)
		}
	}
	l.err = err
	l.turned()
}

func (l *Listener) turned() {
	close(l.turn)
	l.turn = make(chan struct{})
}

func (l *Listener) removeDir() {
	if l.dir != "" {
		os.Remove(l.dir)
	}
}
