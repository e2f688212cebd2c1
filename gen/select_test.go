package gen

import (
	"bufio"
	"fmt"
	"go/build/constraint"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// buildConstraint is the //go:build expression of a file.
func buildConstraint(t *testing.T, path string) constraint.Expr {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if constraint.IsGoBuild(s.Text()) {
			e, err := constraint.Parse(s.Text())
			require.NoError(t, err)
			return e
		}
	}
	t.Fatalf("%s has no build constraint", path)
	return nil
}

// Every build selects exactly one backend, the one that the table of the design says, on the systems of the spec. The
// select files are written by hand, so their list of systems is compared with the spec's.
func TestSelect(t *testing.T) {
	m := model(t, 0)
	selects := map[string]constraint.Expr{}
	for _, name := range []string{"cgo", "purego", "none"} {
		selects[name] = buildConstraint(t, filepath.Join(root, "pcsc", "select_"+name+".go"))
	}
	implied := map[string]string{"android": "linux", "ios": "darwin", "illumos": "solaris"}
	has := map[string]bool{"illumos": true}
	for _, p := range m.Platforms {
		for _, goos := range p.GOOS {
			has[goos] = true
		}
	}
	out, err := exec.Command("go", "tool", "dist", "list").Output()
	require.NoError(t, err)
	systems := strings.Fields(string(out))
	require.Greater(t, len(systems), 40)
	for _, target := range systems {
		goos, goarch, _ := strings.Cut(target, "/")
		for _, cgo := range []bool{false, true} {
			for _, given := range []string{"", "cgo", "purego", "pcsc_purego"} {
				tags := []string{goos, goarch, implied[goos], given}
				if cgo {
					tags = append(tags, "cgo")
				}
				want := "none"
				switch {
				case !has[goos]:
				case given == "purego" || given == "pcsc_purego":
					want = "purego"
				case given == "cgo" || cgo:
					want = "cgo"
				default:
					want = "purego"
				}
				var got []string
				for name, e := range selects {
					if e.Eval(func(tag string) bool { return slices.Contains(tags, tag) }) {
						got = append(got, name)
					}
				}
				require.Equal(t, []string{want}, got, "%s, tag %q, cgo %v", target, given, cgo)
			}
		}
	}
}

// A program that imports pcsc gets the standard library, this module, purego and x/sys, and one backend.
func TestDependencies(t *testing.T) {
	const cgo, purego = module + "/backend_cgo", module + "/backend_purego"
	for _, test := range []struct {
		tags, cgo  string
		want, deny string
	}{
		{"purego", "1", purego, cgo},
		{"pcsc_purego", "1", purego, cgo},
		{"cgo", "1", cgo, purego},
		{"", "1", cgo, purego},
		{"", "0", purego, cgo},
	} {
		t.Run(fmt.Sprintf("tags=%s,cgo=%s", test.tags, test.cgo), func(t *testing.T) {
			cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "-tags", test.tags, "./pcsc")
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "CGO_ENABLED="+test.cgo)
			out, err := cmd.Output()
			require.NoError(t, err)
			deps := strings.Fields(string(out))
			require.Contains(t, deps, test.want)
			require.NotContains(t, deps, test.deny)
			require.Contains(t, deps, module+"/pcsc")
			for _, d := range deps {
				ok := slices.ContainsFunc([]string{module, "github.com/ebitengine/purego", "golang.org/x/sys"}, func(allowed string) bool {
					return d == allowed || strings.HasPrefix(d, allowed+"/")
				})
				require.True(t, ok, "importing pcsc brings in %s", d)
				require.NotContains(t, []string{module + "/spec", module + "/gen"}, d)
			}
		})
	}
}
