//go:build linux

package main

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExit32(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(exit32()))
	require.NoError(t, err)
	require.Equal(t, elf.EM_386, f.Machine)
	require.Equal(t, elf.ET_EXEC, f.Type)
	require.Len(t, f.Progs, 1)
	require.Equal(t, f.Progs[0].Vaddr+52+32, f.Entry)
	require.EqualValues(t, len(exit32()), f.Progs[0].Filesz)
}

func TestCount(t *testing.T) {
	var r result
	r.count([]byte(`=== RUN   TestA
    run.go:1: left out: X/Y: it can't
--- PASS: TestA (0.00s)
    --- PASS: TestA/One (0.00s)
        --- PASS: TestA/One/Deep (0.00s)
    --- FAIL: TestA/Two (0.00s)
    --- SKIP: TestA/Three (0.00s)
--- PASS: TestB (0.01s)
PASS
`))
	require.Equal(t, result{Passed: 2, Failed: 1, Skipped: 1, LeftOut: 1}, r)
}
