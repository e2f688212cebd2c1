package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/analysis"

	"github.com/gopcsc/gopcsc/spec"
)

// elsewhere are analyzers of go vet that are not in golang.org/x/tools (yet), with the reason why they can be left out.
var elsewhere = map[string]string{}

// The suite has every analyzer of the go vet that is installed.
func TestSuite(t *testing.T) {
	out, err := exec.Command("go", "tool", "vet", "help").CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, list, ok := strings.Cut(string(out), "Registered analyzers:\n\n")
	require.True(t, ok, "%s", out)
	list, _, _ = strings.Cut(list, "\n\n")
	var names []string
	for line := range strings.Lines(list) {
		names = append(names, strings.Fields(line)[0])
	}
	require.Greater(t, len(names), 30, "%s", out)
	for _, name := range names {
		if elsewhere[name] == "" {
			require.True(t, slices.ContainsFunc(suite, func(a *analysis.Analyzer) bool { return a.Name == name }),
				"go vet has the analyzer %s: add it to suite, or say in elsewhere why not", name)
		}
	}
}

// Each finding is of a file that one target alone has, and says where it is.
func TestFindings(t *testing.T) {
	dir := write(t, map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.25\n",
		"m.go": `package m

import (
	"fmt"
	"os"
)

// Fatalf prints and does not return, which who vets other packages has to know.
func Fatalf(format string, args ...any) {
	fmt.Printf(format, args...)
	os.Exit(1)
}
`,
		"m_test.go":              "package m\n\nfunc helper() {}\n",
		"m_darwin_test.go":       "package m\n\nimport \"sync\"\n\nfunc g(m sync.Mutex) { helper() }\n",
		"x_darwin_test.go":       "package m_test\n\nimport \"example.com/m\"\n\nfunc f() { m.Fatalf(\"%d\", \"test\") }\n",
		"asm/f_arm64.s":          "TEXT ·f(SB), 4, $0-8\n\tRET\n",
		"asm/f_arm64.go":         "package asm\n\nfunc f(a, b int64)\n",
		"fine/fine_darwin.go":    "package fine\n\nconst Large = 1 << 40\n\nvar _ int = Large\n",
		"ptr/ptr_arm64.go":       "package ptr\n\nimport \"unsafe\"\n\nfunc f(p uintptr) unsafe.Pointer { return unsafe.Pointer(p) }\n",
		"missing/m_386.go":       "package missing\n\nvar _ = undefined\n",
		"large/large_386.go":     "package large\n\nvar _ int = 1 << 40\n",
		"syntax/s_windows.go":    "package syntax\n\nvar x = 1 2\n",
		"import/i_windows.go":    "package imports\n\nimport _ \"example.com/m/nothing\"\n",
		"test/t_windows_test.go": "package test\n\nfunc TestX(int) {}\n",
		"tag/tag_386.go":         "//go:build !no\n\npackage tag\n\n//go:build yes\n",
		"lost/lost_arm64.go": `package lost

import (
	"context"

	"example.com/m"
)

func lost(ctx context.Context, fails, returns bool) {
	_, cancel := context.WithCancel(ctx)
	if fails {
		m.Fatalf("this does not return: the context is not lost")
	}
	if returns {
		return
	}
	cancel()
}
`,
	})
	all := []string{"./..."}
	wanted := map[string][]string{
		"darwin/arm64": {
			`asm/f_arm64\.s:1:1: \[arm64\] f: wrong argument size 8; expected \$\.\.\.-16 \(asmdecl\)`,
			`lost/lost_arm64\.go:10:2: the cancel function is not used .* \(lostcancel\)`,
			`lost/lost_arm64\.go:15:3: this return statement may be reached .* \(lostcancel\)`,
			`m_darwin_test\.go:5:10: g passes lock by value: sync\.Mutex \(copylocks\)`,
			`ptr/ptr_arm64\.go:5:43: possible misuse of unsafe\.Pointer \(unsafeptr\)`,
			`x_darwin_test\.go:5:22: .*Fatalf format %d has arg "test" of wrong type string \(printf\)`,
		},
		"windows/386": {
			`import/i_windows\.go:3:8: .*example\.com/m/nothing`,
			`import/i_windows\.go:3:10: could not import example\.com/m/nothing`,
			`large/large_386\.go:3:13: .*overflows.*`,
			`missing/m_386\.go:3:9: undefined: undefined`,
			`syntax/s_windows\.go:3:11: expected .*`,
			`tag/tag_386\.go:5:1: misplaced //go:build.* \(buildtag\)`,
			`test/t_windows_test\.go:3:1: wrong signature for TestX.*`,
		},
	}
	var runs []run
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		goos, goarch, _ := strings.Cut(name, "/")
		runs = append(runs, run{goos: goos, goarch: goarch, what: all, tests: true})
	}
	for target := range listed(runs, dir) {
		for _, o := range target.vet() {
			var got []string
			for _, text := range o.wrong {
				got = append(got, strings.ReplaceAll(text, dir+string(filepath.Separator), ""))
			}
			for _, want := range wanted[o.run.String()] {
				i := slices.IndexFunc(got, regexp.MustCompile("^(-: )?"+want).MatchString)
				require.GreaterOrEqual(t, i, 0, "%s: no %q in\n%s", o.run, want, strings.Join(got, "\n"))
				got = slices.Delete(got, i, i+1)
			}
			require.Empty(t, got, o.run)
		}
	}
}

// What has the same files and imports the same is checked once for all runs of a target, and nothing else is.
func TestShared(t *testing.T) {
	dir := write(t, map[string]string{
		"go.mod":    "module example.com/m\n\ngo 1.25\n",
		"a/a.go":    "package a\n",
		"b/b.go":    "package b\n\nimport _ \"example.com/m/a\"\n",
		"b/b_x.go":  "//go:build x\n\npackage b\n",
		"c/c.go":    "package c\n\nimport _ \"example.com/m/b\"\n",
		"d/d.go":    "package d\n",
		"d/tagx.go": "//go:build x\n\npackage d\n\nfunc f() int { return \"\" }\n",
	})
	all := []string{"./..."}
	target := <-listed([]run{
		{goos: "plan9", goarch: "386", what: all},
		{goos: "plan9", goarch: "386", tag: "x", what: all},
	}, dir)
	require.Empty(t, target.unlisted)
	require.Len(t, target.runs, 2)
	for i, same := range []bool{true, false, false, false} {
		require.Equal(t, same, target.runs[0].all[i] == target.runs[1].all[i], target.runs[0].all[i].ID)
	}
	outcomes := target.vet()
	require.Empty(t, outcomes[0].wrong)
	require.Len(t, outcomes[1].wrong, 1)
}

// The plan has every target of the spec, and compiles with the C compilers that the spec names.
func TestPlan(t *testing.T) {
	s, err := spec.LoadDir("../../spec")
	require.NoError(t, err)
	vets, builds := plan(s)
	names := func(runs []run) (names []string) {
		for _, r := range runs {
			names = append(names, r.String())
		}
		return names
	}
	for _, p := range s.Platforms {
		for _, target := range p.Targets {
			for _, arch := range target.GOARCH {
				require.Subset(t, names(vets), []string{target.GOOS + "/" + arch, target.GOOS + "/" + arch + " -tags pcsc_purego"})
			}
		}
	}
	require.Subset(t, names(builds), []string{
		"darwin/amd64", "darwin/arm64", "freebsd/amd64", "freebsd/amd64 -tags pcsc_purego", "netbsd/amd64",
		"windows/386 cgo", "windows/amd64", "windows/amd64 cgo",
	})
	for _, r := range builds {
		require.Equal(t, r.target() == "freebsd/amd64" && r.tag != "", r.flags != "", r)
		if r.target() == "windows/386" && r.cgo {
			require.Equal(t, "i686-w64-mingw32-gcc", r.cc)
		}
	}
}

// write makes files in a folder.
func write(t *testing.T, files map[string]string) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	return dir
}
