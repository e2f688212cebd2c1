package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/spec"
)

// root goes to where the command is run. In a TestMain the go command would not notice, and take a result for one of
// other files from its cache.
func root(t *testing.T) {
	t.Helper()
	t.Chdir("../..")
}

func load(t *testing.T) (*spec.Spec, *gen.Model) {
	t.Helper()
	root(t)
	s, err := spec.LoadDir("spec")
	require.NoError(t, err)
	// The compiler of the machine alone, and the tables: make abi has them all.
	s.Platforms = slices.Clone(s.Platforms)
	for _, p := range s.Platforms {
		p.Proofs = slices.DeleteFunc(p.Proofs, func(p *spec.Proof) bool { return p.Compiler != "gcc" })
	}
	m, err := gen.Resolve(s)
	require.NoError(t, err)
	return s, m
}

// headers are the real headers of pcsc-lite, changed.
func headers(t *testing.T, change func(file, text string) string) string {
	flags, err := exec.Command("pkg-config", "--variable=includedir", "libpcsclite").Output()
	if err != nil {
		pcscdtest.Skip(t, "no headers of pcsc-lite")
	}
	from, dir := strings.TrimSpace(string(flags)), t.TempDir()
	files, err := os.ReadDir(from)
	require.NoError(t, err)
	changed := false
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(from, f.Name()))
		require.NoError(t, err)
		now := change(f.Name(), string(text))
		changed = changed || now != string(text)
		require.NoError(t, os.WriteFile(filepath.Join(dir, f.Name()), []byte(now), 0o600))
	}
	require.True(t, changed, "the change has changed nothing")
	return dir
}

// A later header whose constants, types or functions are others is noticed, by name.
func TestChangedHeaders(t *testing.T) {
	replace := func(old, new string) func(file, text string) string {
		return func(_, text string) string { return strings.Replace(text, old, new, 1) }
	}
	for name, test := range map[string]struct {
		change func(file, text string) string
		want   string
	}{
		"changed": {replace("#define SCARD_SHARE_SHARED\t\t0x0002", "#define SCARD_SHARE_SHARED 5"), "spec/constants.yaml: SCARD_SHARE_SHARED: value"},
		"added": {func(file, text string) string {
			if file == "pcsclite.h" {
				return text + "\n#define SCARD_STATE_LEVITATING 0x4000\n"
			}
			return text
		}, "the headers define what the spec does not have of them: SCARD_STATE_LEVITATING"},
		"added, as on another platform": {func(file, text string) string {
			if file == "pcsclite.h" {
				return text + "\n#define SCARD_E_PIN_CACHE_EXPIRED 0x80100099\n#define SCARD_READER_TYPE_USB 0x99\n" +
					"#define SCARD_PROTOCOL_OPTIMAL 0x77\n#define SCARD_ALL_READERS \"all\"\n"
			}
			return text
		}, "the headers define what the spec does not have of them: " +
			"SCARD_ALL_READERS, SCARD_E_PIN_CACHE_EXPIRED, SCARD_PROTOCOL_OPTIMAL, SCARD_READER_TYPE_USB"},
		"removed":   {replace("#define FEATURE_CCID_ESC_COMMAND", "#define FEATURE_SOMETHING_ELSE"), "FEATURE_CCID_ESC_COMMAND"},
		"width":     {replace("typedef unsigned long DWORD;", "typedef unsigned short DWORD;"), "spec/types.yaml: DWORD: size"},
		"prototype": {replace("PCSC_API LONG SCardCancel(SCARDCONTEXT hContext);", "PCSC_API LONG SCardCancel(SCARDCONTEXT *hContext);"), "SCardCancel; // spec/functions.yaml: SCardCancel"},
	} {
		t.Run(name, func(t *testing.T) {
			s, m := load(t)
			dir := headers(t, test.change)
			var details []string
			for _, r := range prove(s, m, dir) {
				if r.outcome == failed {
					details = append(details, r.detail)
				}
			}
			require.Contains(t, strings.Join(details, "\n"), test.want)
		})
	}
}

// The headers and the library of this machine fit the spec.
func TestThisMachine(t *testing.T) {
	s, m := load(t)
	for _, r := range prove(s, m, "") {
		if r.outcome == notRun {
			pcscdtest.Skip(t, "%s: %s", r.target, r.detail)
		}
		if r.outcome == "" {
			continue // by a test of another package
		}
		require.Equal(t, passed, r.outcome, "%s %s: %s", r.target, r.what, r.detail)
	}
}

func TestSymbols(t *testing.T) {
	_, m := load(t)
	var all []string
	for _, f := range m.Functions {
		if s, ok := f.Symbols["pcsclite"]; ok {
			all = append(all, s)
		}
	}
	require.NoError(t, compareSymbols(m, "pcsclite", append(all, "log_msg")))
	require.ErrorContains(t, compareSymbols(m, "pcsclite", append(all, "SCardFly")), "exports SCardFly, which the spec does not have")
	without := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "SCardCancel" })
	require.ErrorContains(t, compareSymbols(m, "pcsclite", without), "does not export SCardCancel")
}

// What was not run is a failure where it must run, and never counts as passed.
func TestReport(t *testing.T) {
	var r result
	r.set(missing{"no compiler"})
	require.Equal(t, notRun, r.outcome)
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	require.False(t, report(f, []result{r}, false))
	require.True(t, report(f, []result{r}, true))
	text, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Contains(t, string(text), "abi: 0 passed, 0 failed, 1 not run")
	require.Contains(t, string(text), "no compiler")
}
