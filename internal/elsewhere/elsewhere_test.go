//go:build linux

package main

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
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

func TestLinkRoot(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"lib", "usr/lib64", "usr/lib/triple"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o700))
	}
	loader := filepath.Join(root, "usr/lib64/ld.so")
	require.NoError(t, os.WriteFile(filepath.Join(root, "usr/lib/triple/ld.so"), nil, 0o700))
	require.NoError(t, os.Symlink("/usr/lib/triple/ld.so", loader))
	require.NoError(t, linkRoot(root))
	_, err := os.Stat(filepath.Join(root, "lib64/ld.so"))
	require.NoError(t, err, "by both links, in the root")
	target, err := os.Readlink(loader)
	require.NoError(t, err)
	require.Equal(t, "../lib/triple/ld.so", target)
	fi, err := os.Lstat(filepath.Join(root, "lib"))
	require.NoError(t, err)
	require.True(t, fi.IsDir(), "what the packages have stays")
}
