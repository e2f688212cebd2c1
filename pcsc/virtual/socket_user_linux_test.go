package virtual_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/gopcsc/gopcsc/internal/pcscclient"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// as runs f as another user, in a thread of its own that ends with it.
func as(t *testing.T, uid int, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
		if errno != 0 {
			done <- errno
			return
		}
		f()
		done <- nil
	}()
	require.NoError(t, <-done)
}

// Another user can't connect at all; where the permissions let him, he is turned away; with both opened he comes in.
func TestServeOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		pcscdtest.Skip(t, "to be another user takes root")
	}
	const stranger = 65534
	s, _ := setup(t, nil)
	enter := func(socket string) (err error) {
		as(t, stranger, func() {
			var c *pcscclient.Client
			if c, err = pcscclient.Open(socket, 6, time.Now().Add(socketPatience)); err == nil {
				c.Close()
			}
		})
		return err
	}
	allowed, _ := serve(t, s, virtual.WithUsers(func(uid uint32) bool { return uid == stranger || uid == 0 }))
	private, _ := serve(t, s)
	for _, socket := range []string{allowed, private} {
		require.ErrorIs(t, enter(socket), os.ErrPermission)
		require.NoError(t, os.Chmod(filepath.Dir(socket), 0o711))
		require.ErrorIs(t, enter(socket), os.ErrPermission, "the socket's own mode")
		require.NoError(t, os.Chmod(socket, 0o666))
	}
	require.NoError(t, enter(allowed))
	err := enter(private)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrPermission)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	open(t, private, 6)
	open(t, allowed, 6)
}
