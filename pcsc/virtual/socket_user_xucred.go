//go:build darwin || freebsd

package virtual

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUser returns the user that a client runs as.
func peerUser(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	const solLocal = 0 // SOL_LOCAL
	var cred *unix.Xucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED)
	}); e != nil {
		err = e
	}
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
