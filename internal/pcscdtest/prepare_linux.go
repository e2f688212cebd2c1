package pcscdtest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	socketEnv = "PCSCLITE_CSOCK_NAME"
	// markEnv says which process the socket path was made for, and with which
	// descriptor. Child processes inherit it; it is not theirs.
	markEnv    = "PCSCDTEST_SOCKET_DIR"
	socketName = "pcscd.comm"
	// noService is a directory that holds no socket.
	noService = "/"
)

// socketDir is the descriptor of the directory that the process's socket path
// leads to, or -1.
var (
	socketDir  = -1
	errPrepare = errors.New("TestMain has to call pcscdtest.Main or Prepare")
)

// Prepare executes the test binary anew with a socket path of its own in the
// environment, unless that has been done. Call it first thing in TestMain if
// that has other uses for m than [Main] has. It returns in the new program; the
// process is the same.
func Prepare() {
	var pid, fd int
	if _, err := fmt.Sscanf(os.Getenv(markEnv), "%d:%d", &pid, &fd); err == nil && pid == os.Getpid() {
		unix.CloseOnExec(fd)
		socketDir = fd
		return
	}
	errPrepare = prepare() // returns only if it failed
}

// PrepareServer is Prepare for a process that uses no service itself but runs them for others with [Serve]: its own
// environment stays as it is.
func PrepareServer() error {
	fd, err := openSocketDir()
	if err != nil {
		return err
	}
	unix.CloseOnExec(fd)
	socketDir = fd
	return nil
}

// openSocketDir opens the descriptor that the socket's path leads through.
func openSocketDir() (int, error) {
	low, err := unix.Open(noService, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", noService, err)
	}
	// The low numbers are left to whoever expects descriptors there, such as
	// the workers of go test -fuzz.
	fd, err := unix.FcntlInt(uintptr(low), unix.F_DUPFD, 200)
	if err != nil {
		return -1, fmt.Errorf("dup: %w", err)
	}
	return fd, nil
}

func prepare() error {
	fd, err := openSocketDir()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, socketEnv+"=") || strings.HasPrefix(kv, markEnv+"=")
	})
	env = append(env,
		fmt.Sprintf("%s=/proc/%d/fd/%d/%s", socketEnv, os.Getpid(), fd, socketName),
		fmt.Sprintf("%s=%d:%d", markEnv, os.Getpid(), fd))
	return fmt.Errorf("exec %s: %w", exe, syscall.Exec(exe, os.Args, env))
}

// pointTo makes the socket path lead to the directory path. It is resolved in
// the mount namespace of the calling thread.
func pointTo(path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	return unix.Dup3(fd, socketDir, unix.O_CLOEXEC)
}
