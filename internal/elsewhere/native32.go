//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// runs32 tells why this machine runs no 32-bit programs, if it doesn't: kernels can be built, told or virtualised so that
// they can't.
func (s *session) runs32(ctx context.Context) error {
	path := filepath.Join(s.work, "exit32")
	if err := os.WriteFile(path, exit32(), 0o700); err != nil {
		return err
	}
	if err := exec.CommandContext(ctx, path).Run(); err != nil {
		return fmt.Errorf("this machine runs no 32-bit x86 programs: %w", err)
	}
	return nil
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
