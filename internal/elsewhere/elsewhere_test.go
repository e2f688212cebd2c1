//go:build linux

package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// pausing sets the pauses between tries until the test ends.
func pausing(t *testing.T, these ...time.Duration) {
	before := pauses
	t.Cleanup(func() { pauses = before })
	pauses = these
}

// What can't be had is tried again, and nothing else.
func TestRetry(t *testing.T) {
	pausing(t, 0, time.Millisecond)
	absent, fault := fmt.Errorf("%w: a mirror", errAbsent), errors.New("a fault")
	for _, test := range []struct {
		answers []error
		tries   int
	}{
		{[]error{nil}, 1},
		{[]error{fault}, 1},
		{[]error{absent, nil}, 2},
		{[]error{absent, absent, nil}, 3},
		{[]error{absent, fault}, 2},
		{[]error{absent, absent, absent}, 3},
	} {
		tries := 0
		err := retry(t.Context(), "test", func() error { tries++; return test.answers[tries-1] })
		require.Equal(t, test.answers[len(test.answers)-1], err)
		require.Equal(t, test.tries, tries)
	}
	pausing(t, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	err := retry(ctx, "test", func() error { time.AfterFunc(time.Millisecond, cancel); return absent })
	require.Equal(t, absent, err)
}

func TestCount(t *testing.T) {
	var r result
	missing := r.count([]byte(`=== RUN   TestA
    run.go:1: left out: X/Y: it can't
--- PASS: TestA (0.00s)
    --- PASS: TestA/One (0.00s)
        --- PASS: TestA/One/Deep (0.00s)
    --- FAIL: TestA/Two (0.00s)
    --- SKIP: TestA/Three (0.00s)
--- PASS: TestB (0.01s)
PASS
`), []string{"TestA", "TestAB", "TestB", "Two"})
	require.Equal(t, []string{"TestAB", "Two"}, missing)
	require.Equal(t, result{Passed: 2, Failed: 1, Skipped: 1, LeftOut: 1}, r)
}

// Of a program that failed is shown what tells why, however much comes after.
func TestTelling(t *testing.T) {
	later := strings.Repeat("=== RUN   TestB/Later\n    b.go:1: much\n", 10_000)
	out := string(telling([]byte("=== RUN   TestA\n=== RUN   TestA/Bad\n    a.go:1: why\n=== RUN   TestA/Good\n    a.go:2: fine\n" +
		"=== RUN   TestB\n" + later + "--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/Bad (0.00s)\n    --- PASS: TestA/Good (0.00s)\nFAIL\n")))
	require.Contains(t, out, "a.go:1: why")
	require.NotContains(t, out, "a.go:2: fine")
	require.True(t, strings.HasSuffix(out, "FAIL\n"))
	require.Less(t, len(out), 8<<10)

	out = string(telling([]byte("=== RUN   TestB\n" + later + "panic: TestB hangs\n\ngoroutine 1 [running]:\n" + strings.Repeat("a line\n", 100_000))))
	require.Contains(t, out, "panic: TestB hangs")
	require.Less(t, len(out), 40<<10)
}

// The spec's claims and what is run are the same.
func TestCompareClaims(t *testing.T) {
	s := &session{module: "../.."}
	row := func(platform, backend string) result {
		return result{Platform: platform, Backend: backend, Outcome: passed, Passed: 1}
	}
	for _, w := range windowses {
		s.results = append(s.results, row("windows/"+w.goarch, "dlopen"), row("windows/"+w.goarch, "cgo"))
	}
	all := slices.Clone(s.results)
	require.NoError(t, s.compareClaims("test-windows"))
	require.Equal(t, all, s.results)

	s.results = append(all[1:], row("windows/arm64", "cgo"))
	require.NoError(t, s.compareClaims("test-windows"))
	require.Equal(t, 2, len(s.results)-len(all))
	for i, want := range []string{"windows/amd64 dlopen says that make test-windows runs it", "windows/arm64 cgo does not say"} {
		r := s.results[len(all)+i]
		require.Equal(t, failed, r.Outcome)
		require.Regexp(t, want, r.Platform+" "+r.Backend+" "+strings.TrimPrefix(r.Reason, "spec/platforms.yaml "))
	}

	s = &session{module: "../.."}
	for _, a := range arches {
		s.results = append(s.results, row("linux/"+a.goarch, "dlopen"), row("linux/"+a.goarch, "cgo"))
	}
	s.results = append(s.results, row("linux/amd64 musl", "dlopen"))
	all = slices.Clone(s.results)
	require.NoError(t, s.compareClaims("test-arch"))
	require.Equal(t, all, s.results)

	s = &session{module: "../..", options: options{only: "linux/arm/cgo"}, results: []result{row("linux/arm", "cgo")}}
	require.NoError(t, s.compareClaims("test-arch"))
	require.Len(t, s.results, 1)
}

// What is not run never passes, and a fault is not taken for something that the machine lacks.
func TestReport(t *testing.T) {
	row := func(outcome string, passed, failed int) result {
		return result{Platform: "linux/arm", Backend: "cgo", Suite: "all", Outcome: outcome, Passed: passed, Failed: failed}
	}
	for _, test := range []struct {
		rows    []result
		mustRun string
		ok      bool
		last    string
		err     string
	}{
		{rows: []result{row(passed, 3, 0), row(passed, 2, 0)}, mustRun: "1", ok: true, last: "5 passed, 0 failed; 0 rows not run"},
		{rows: []result{row(passed, 3, 0), row(notRun, 0, 0)}, ok: true, last: "3 passed, 0 failed; 1 rows not run"},
		{rows: []result{row(passed, 3, 0), row(notRun, 0, 0)}, mustRun: "1", last: "3 passed, 0 failed; 1 rows not run", err: "PCSC_MUST_RUN"},
		{rows: []result{row(passed, 3, 0), row(failed, 2, 1)}, last: "5 passed, 1 failed; 0 rows not run"},
		{rows: []result{row(passed, 3, 0), row(failed, 0, 0)}, last: "3 passed, 1 failed; 0 rows not run"},
		{rows: []result{row(notRun, 0, 0)}, last: "0 passed, 0 failed; 1 rows not run", err: "nothing could be run"},
		{err: "nothing was to be run"},
	} {
		t.Setenv("PCSC_MUST_RUN", test.mustRun)
		var out strings.Builder
		ok, err := (&session{results: test.rows}).report(&out)
		require.Equal(t, test.ok, ok, "%+v", test)
		if test.err == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, test.err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Equal(t, test.last, lines[len(lines)-1])
	}

	var s session
	s.addError(result{}, fmt.Errorf("arm: %w: no packages", errAbsent))
	s.addError(result{}, errors.New("no space left"))
	require.Equal(t, []string{notRun, failed}, []string{s.results[0].Outcome, s.results[1].Outcome})
}

// Packages that can't be had are something that the machine lacks; what goes wrong with them is a fault.
func TestRootErrors(t *testing.T) {
	pausing(t, 0)
	s := &session{options: options{cache: t.TempDir()}, work: t.TempDir()}
	a := &arch{goarch: "arm", debian: "armhf"}
	_, err := s.root(t.Context(), &mirror{suite: "bookworm"}, a)
	require.ErrorIs(t, err, errAbsent)
	require.ErrorContains(t, err, "apt-get update")

	bin := t.TempDir()
	t.Setenv("PATH", bin)
	program := func(name, script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o700))
	}
	m := &mirror{url: "http://mirror.invalid/", suite: "bookworm"}
	program("apt-get", "echo no route; exit 100")
	_, err = s.root(t.Context(), m, a)
	require.ErrorIs(t, err, errAbsent)
	require.ErrorContains(t, err, "no route")

	program("apt-get", ": > libc6.deb")
	program("dpkg-deb", "echo no space left; exit 2")
	_, err = s.root(t.Context(), m, a)
	require.ErrorContains(t, err, "no space left")
	require.NotErrorIs(t, err, errAbsent)

	program("dpkg-deb", ":")
	root, err := s.root(t.Context(), m, a)
	require.NoError(t, err)
	again, err := s.root(t.Context(), m, a)
	require.NoError(t, err)
	require.Equal(t, root, again)
}

func TestCacheInModule(t *testing.T) {
	dir := filepath.Join("..", "..", "cache-of-a-test")
	_, err := newSession(t.Context(), options{cache: dir})
	require.ErrorContains(t, err, "lies in the module")
	require.NoDirExists(t, dir)
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
