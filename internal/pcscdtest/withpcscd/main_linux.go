// Command withpcscd runs a test program that can't run pcscd itself, such as a program of Windows under wine or one for
// another processor under an emulator, and runs its services for it:
//
//	withpcscd COMMAND [ARGUMENT...]
//
// The program finds them by the environment; see pcscdtest.StartRemote. Its exit code is that of the program.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// The program gets the signal of Pdeathsig when the thread that started it ends, and threads that start a pcscd do end. The
// first thread, which is main's now, does not.
func init() { runtime.LockOSThread() }

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "withpcscd:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

func run(command []string) (int, error) {
	if len(command) == 0 {
		return 0, errors.New("usage: withpcscd COMMAND [ARGUMENT...]")
	}
	if err := pcscdtest.PrepareServer(); err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	go pcscdtest.Serve(l)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), pcscdtest.SocketEnv(), pcscdtest.RemoteEnv+"="+l.Addr().String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
