//go:build unix

package virtual

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// whileThere carries out a call that may wait for a lock. Nothing is read from the client meanwhile, so that it has gone
// would not be noticed; and if the lock is its own, which a second connection of the same context can wait for, that
// would be for ever. The end of the client ends the call.
func (p *peer) whileThere(call func()) {
	conn, ok := p.conn.(syscall.Conn)
	if !ok {
		call() // a listener of the caller's own making
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		call()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if raw.Read(hungUp) != nil {
			return
		}
		p.conn.Close()
		s := p.server.service
		s.mu.Lock()
		defer s.mu.Unlock()
		if p.client != nil {
			s.retire(p.client)
		}
	}()
	call()
	_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // ends Read; if it fails, the connection is closed, which does so too
	<-done
	_ = p.conn.SetReadDeadline(time.Time{})
}

// hungUp reports whether the other side of a connection is closed, whatever it has sent before.
func hungUp(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLHUP != 0
}
