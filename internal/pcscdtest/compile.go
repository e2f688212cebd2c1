package pcscdtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// ErrNoCompiler says that no driver can be built here.
var ErrNoCompiler = errors.New("no C compiler with the headers of pcsc-lite (Debian: gcc, libpcsclite-dev)")

// Compile makes a shared library of a C source, such as a driver for pcscd, with the headers of pcsc-lite.
func Compile(path string, source []byte, flags ...string) error {
	cc := strings.Fields(os.Getenv("CC"))
	if len(cc) == 0 {
		cc = []string{"gcc"}
	}
	args := append(cc[1:], "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")
	args = append(args, flags...)
	if out, err := exec.Command("pkg-config", "--cflags", "libpcsclite").Output(); err == nil {
		args = append(args, strings.Fields(string(out))...)
	} else {
		args = append(args, "-I/usr/include/PCSC")
	}
	run := func(input []byte, more ...string) error {
		cmd := exec.Command(cc[0], append(args[:len(args):len(args)], more...)...)
		cmd.Stdin = bytes.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	if err := run([]byte("#include <ifdhandler.h>\n#include <reader.h>\n"), "-fsyntax-only", "-x", "c", "-"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoCompiler, err)
	}
	return run(source, "-o", path, "-x", "c", "-")
}
