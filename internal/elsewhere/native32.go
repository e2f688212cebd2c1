//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runs32 tells why this machine runs no 32-bit programs, if it doesn't: kernels can be built, told or virtualised so that
// they can't.
func (s *session) runs32(ctx context.Context) error {
	path := filepath.Join(s.work, "exit32")
	if err := os.WriteFile(path, exit32(), 0o700); err != nil {
		return err
	}
	err := exec.CommandContext(ctx, path).Run()
	for errors.Is(err, syscall.ETXTBSY) { // a program that is being started beside has the file open
		time.Sleep(time.Millisecond)
		err = exec.CommandContext(ctx, path).Run()
	}
	if err != nil {
		return fmt.Errorf("this machine runs no 32-bit x86 programs: %w", err)
	}
	return nil
}

// emulator32 returns what the 32-bit x86 programs of a system have to be run by: nothing, where the machine runs them.
func (s *session) emulator32(ctx context.Context) (string, error) {
	native := s.runs32(ctx)
	if native == nil {
		return "", nil
	}
	fmt.Printf("wine32: %v; it is tried under qemu-i386\n", native)
	m, err := findMirror(ctx)
	if err != nil {
		return "", err
	}
	s.announceRoot(m, emulators)
	root, err := s.root(ctx, m, emulators)
	if err != nil {
		return "", err
	}
	y := &system{root: filepath.Join(s.work, "system32"), changes: true, emulator: filepath.Join(root, "usr/bin/qemu-i386")}
	for _, dir := range []string{"proc", "dev", "run", "tmp"} {
		if err := os.MkdirAll(filepath.Join(y.root, dir), 0o700); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(y.root, "exit32"), exit32(), 0o700); err != nil {
		return "", err
	}
	if out, err := y.command(ctx, "/exit32").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %w; nor under qemu-i386, which takes Linux 6.7 and the right to make a user namespace: %w %s", errAbsent,
			native, err, firstLine(out))
	}
	return y.emulator, nil
}

// userNamespace has a command run in a user namespace that has the users of this one: binfmt_misc is one for each.
func userNamespace(attr *syscall.SysProcAttr) {
	ids := func(path string) (all []syscall.SysProcIDMap) {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			var inside, outside, n int
			if _, err := fmt.Sscan(line, &inside, &outside, &n); err == nil {
				all = append(all, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: n})
			}
		}
		return all
	}
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = ids("/proc/self/uid_map"), ids("/proc/self/gid_map"), true
}

// registerEmulator has the kernel run the 32-bit x86 programs of this user namespace by an emulator, which it opens now, so
// that no system has to have it (F). The emulator leaves the programs the name that they are called by (P).
func registerEmulator(root, emulator string) error {
	// A binary for little endian, 32 bits, of any system, that is an executable or a library of the 386.
	const (
		zeros = `\x00\x00\x00\x00\x00\x00\x00\x00`
		magic = `\x7fELF\x01\x01\x01\x00` + zeros + `\x02\x00\x03\x00`
		mask  = `\xff\xff\xff\xff\xff\xff\xff\x00` + zeros + `\xfe\xff\xff\xff`
	)
	dir := filepath.Join(root, "proc/sys/fs/binfmt_misc")
	if err := unix.Mount("binfmt_misc", dir, "binfmt_misc", 0, ""); err != nil {
		return fmt.Errorf("mount binfmt_misc: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "register"), []byte(":i386:M::"+magic+":"+mask+":"+emulator+":FP"), 0); err != nil {
		return fmt.Errorf("register %s: %w", emulator, err)
	}
	// It would write a core file where the program stands, which may be the module.
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// exit32 is the smallest program for 386: exit(0).
func exit32() []byte {
	const base, headers = 0x08048000, 52 + 32
	code := []byte{0xB8, 1, 0, 0, 0, 0x31, 0xDB, 0xCD, 0x80} // mov $1, %eax; xor %ebx, %ebx; int $0x80
	b := append([]byte("\x7fELF\x01\x01\x01"), make([]byte, 9)...)
	le := binary.LittleEndian
	b = le.AppendUint16(b, 2) // executable
	b = le.AppendUint16(b, 3) // 386
	for _, v := range []uint32{1, base + headers, 52, 0, 0} {
		b = le.AppendUint32(b, v) // version, entry, program headers, section headers, flags
	}
	for _, v := range []uint16{52, 32, 1, 40, 0, 0} {
		b = le.AppendUint16(b, v) // sizes and numbers of headers
	}
	size := uint32(headers + len(code))
	for _, v := range []uint32{1, 0, base, base, size, size, 5, 0x1000} {
		b = le.AppendUint32(b, v) // load all of it, to be read and run
	}
	return append(b, code...)
}
