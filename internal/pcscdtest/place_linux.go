package pcscdtest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A Place is where libpcsclite of this process finds its socket, for a test that has two services at a time: it goes
// from one to the other. The library connects in SCardEstablishContext and in SCardCancel. What it has connected stays so.
type Place struct {
	tb testing.TB
	fd int
}

// Here returns the place where the library finds its socket at present: that of [Start]'s service, after [Redirect] the
// other one.
func Here(tb testing.TB) *Place {
	tb.Helper()
	fd, err := unix.FcntlInt(uintptr(socketDir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		tb.Fatalf("pcscdtest: the socket's directory: %v", err)
	}
	tb.Cleanup(func() { unix.Close(fd) })
	return &Place{tb, fd}
}

// Go leads the library to the place, and [Service]'s own requests too.
func (p *Place) Go() {
	p.tb.Helper()
	if err := unix.Dup3(p.fd, socketDir, unix.O_CLOEXEC); err != nil {
		p.tb.Errorf("pcscdtest: the socket's directory: %v", err)
	}
}
