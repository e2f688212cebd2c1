package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/gen"
)

// tree is a copy of what the generator reads and writes.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range append([]string{"spec"}, gen.Dirs...) {
		require.NoError(t, os.CopyFS(filepath.Join(dir, sub), os.DirFS(filepath.Join("../..", sub))))
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join("../..", f))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, f), data, 0o644))
	}
	return dir
}

func pcscgen(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, &out, &err)
	return code, out.String(), err.String()
}

func TestCheckAndWrite(t *testing.T) {
	dir := tree(t)
	base := []string{"-types=false", "-root", dir}

	code, out, errs := pcscgen(append(base, "-check")...)
	require.Zero(t, code, errs)
	require.Empty(t, out)

	codes := filepath.Join(dir, "generated/winscard/codes.go")
	good, err := os.ReadFile(codes)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(codes, bytes.Replace(good, []byte("0x8010000A"), []byte("0x8010000B"), 1), 0o644))
	orphan := filepath.Join(dir, "pcsc/zapi_orphan.go")
	require.NoError(t, os.WriteFile(orphan, append(good[:bytes.IndexByte(good, '\n')+1], "\npackage pcsc\n"...), 0o644))
	good, err = os.ReadFile("../../generated/winscard/codes.go")
	require.NoError(t, err)

	code, out, errs = pcscgen(append(base, "-check")...)
	require.Equal(t, 1, code)
	require.Contains(t, out, "-\tErrTimeout Code = 0x8010000B\n+\tErrTimeout Code = 0x8010000A\n")
	require.Contains(t, out, "--- a/pcsc/zapi_orphan.go\n+++ /dev/null\n")
	require.Contains(t, errs, "go generate")

	code, out, _ = pcscgen(base...)
	require.Zero(t, code, "a dry run shows what would change")
	require.Contains(t, out, "+++ b/generated/winscard/codes.go")
	require.FileExists(t, orphan)

	code, out, errs = pcscgen(append(base, "-write")...)
	require.Zero(t, code, errs)
	require.Equal(t, "generated/winscard/codes.go\npcsc/zapi_orphan.go\n", out)
	require.NoFileExists(t, orphan)
	now, err := os.ReadFile(codes)
	require.NoError(t, err)
	require.Equal(t, string(good), string(now))
}

// What is wrong with the spec is said with its position, and nothing is written.
func TestFaults(t *testing.T) {
	dir := tree(t)
	extra := filepath.Join(dir, "vendor.yaml")
	require.NoError(t, os.WriteFile(extra, []byte("functions:\n  - name: SCardX\n    go: X\n    on: Crad\n"), 0o644))
	code, _, errs := pcscgen("-types=false", "-root", dir, "-write", extra)
	require.Equal(t, 1, code)
	require.Contains(t, errs, extra+":4:9: SCardX: on:")
	require.Contains(t, errs, `(did you mean "Card"?)`)

	require.NoError(t, os.WriteFile(extra, []byte("functions:\n  - {name: SCardX, go: X, on: none, api: policy, platforms: [windows],\n"+
		"     errors: [SCARD_E_TIMEOUT, SCARD_W_CACHE_ITEM_STALED], doc: returns codes., sources: [mingw-10.0.0]}\n"), 0o644))
	code, _, errs = pcscgen("-types=false", "-root", dir, "-write", extra)
	require.Equal(t, 1, code)
	require.Contains(t, errs, extra+`:3:32: SCardX: errors: no error "SCARD_W_CACHE_ITEM_STALED" (did you mean "SCARD_W_CACHE_ITEM_STALE"?)`)
}

func TestUsage(t *testing.T) {
	code, _, errs := pcscgen("-write", "-check")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "exclude each other")
	code, _, errs = pcscgen("-nonsense")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "usage: pcscgen")
	code, _, errs = pcscgen("-root", t.TempDir())
	require.Equal(t, 1, code)
	require.Contains(t, errs, "spec")
}
