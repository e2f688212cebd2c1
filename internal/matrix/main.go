// Command matrix checks the module for every target of the spec, and for systems without PC/SC, under every choice of
// backend: no tag, cgo, purego and pcsc_purego, without cgo everywhere and with it where there is a C compiler for the
// target. Targets that differ are vetted, which compiles all that is imported anew; for the others the compiler's type check
// has to do, which finds as well what is undefined or declared twice. Tests are checked with the rest.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/tools/go/packages"

	"github.com/gopcsc/gopcsc/spec"
)

// A run is one go vet, or one type check.
type run struct {
	goos, goarch string
	cgo          bool
	tag          string
	flags        string // that the dlopen backend needs
	cc           string
	vet          depth
}

// depth is how much of a target go vet looks at.
type depth int

const (
	none     depth = iota // types alone
	programs              // what programs are made of
	whole                 // everything, with the tests
)

func (r run) String() string {
	s := r.goos + "/" + r.goarch
	if r.cgo {
		s += " cgo"
	}
	if r.tag != "" {
		s += " -tags " + r.tag
	}
	return s
}

// compilers are the C compilers of Debian for the targets whose headers of PC/SC can be had with them.
var compilers = map[string]string{
	"linux/" + runtime.GOARCH: "gcc",
	"windows/amd64":           "x86_64-w64-mingw32-gcc",
	"windows/386":             "i686-w64-mingw32-gcc",
}

// vetted are the targets that go vet looks at.
var vetted = map[string]depth{
	"linux/" + runtime.GOARCH: whole,
	"windows/amd64":           whole,
	"windows/386":             programs,
	"darwin/amd64":            programs,
	"darwin/arm64":            programs,
	"freebsd/amd64":           programs,
	"netbsd/amd64":            programs,
}

// ofPrograms are the packages that programs are made of.
var ofPrograms = []string{"./backend_cgo", "./backend_purego", "./pcsc/...", "./cmd/pcsc"}

// withoutPCSC are targets where the module compiles and every call says that there is no PC/SC.
var withoutPCSC = []string{"plan9/amd64", "js/wasm", "wasip1/wasm", "aix/ppc64"}

func main() {
	only := flag.String("only", "", "only targets whose name has this in it")
	all := flag.Bool("whole", false, "vet everything for every target, which takes long")
	verbose := flag.Bool("v", false, "say what runs")
	flag.Parse()
	runs, err := plan(*all)
	if err == nil {
		err = check(runs, *only, *verbose)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func check(runs []run, only string, verbose bool) error {
	withoutTests, err := overlay()
	if err != nil {
		return err
	}
	defer os.Remove(withoutTests)
	start := time.Now()
	var mu sync.Mutex
	var vets, types, failed, skipped int
	one := func(r run) {
		if r.cgo {
			if _, err := exec.LookPath(r.cc); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if os.Getenv("PCSC_MUST_RUN") == "1" {
					fmt.Printf("FAIL %s: %v\n", r, err)
					failed++
				} else {
					fmt.Printf("skip %s: %v\n", r, err)
					skipped++
				}
				return
			}
		}
		began := time.Now()
		how, count := "types of", &types
		f := typeCheck
		if r.vet != none {
			how, count = "vet", &vets
			f = func(r run) error { return vet(r, withoutTests) }
		}
		err := f(r)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			fmt.Printf("FAIL %s %s: %v\n", how, r, err)
			failed++
		default:
			*count++
			if verbose {
				fmt.Printf("ok   %s %s %.1fs\n", how, r, time.Since(began).Seconds())
			}
		}
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for _, r := range runs {
		switch {
		case !strings.Contains(r.String(), only):
		case r.vet == none:
			g.Go(func() error { one(r); return nil })
		default:
			one(r) // the go command uses all processors itself
		}
	}
	g.Wait()
	fmt.Printf("vetted %d, types checked %d, failed %d, skipped %d in %s\n", vets, types, failed, skipped, time.Since(start).Round(time.Second))
	if failed > 0 {
		return fmt.Errorf("%d failed", failed)
	}
	return nil
}

func plan(all bool) ([]run, error) {
	s, err := spec.LoadDir("spec")
	if err != nil {
		return nil, err
	}
	var runs []run
	add := func(goos, goarch, flags string) {
		target := goos + "/" + goarch
		deep, cc := vetted[target], compilers[target]
		if all {
			deep = whole
		}
		for _, tag := range []string{"", "pcsc_purego", "cgo", "purego"} {
			r := run{goos: goos, goarch: goarch, tag: tag, vet: deep}
			switch tag {
			case "pcsc_purego":
				r.flags = flags
			case "cgo", "purego":
				// Without cgo, the standard library's net does not compile with the tag cgo, whatever is built. The tag purego
				// selects what pcsc_purego selects; what it adds is that the standard library's crypto is compiled again.
				r.vet = none
			}
			runs = append(runs, r)
			if cc != "" && tag != "purego" {
				r.cgo, r.cc, r.vet = true, cc, deep
				runs = append(runs, r)
			}
		}
	}
	for _, p := range s.Platforms {
		for _, t := range p.Targets {
			for _, arch := range t.GOARCH {
				add(t.GOOS, arch, t.Flags)
			}
		}
	}
	for _, t := range withoutPCSC {
		goos, goarch, _ := strings.Cut(t, "/")
		add(goos, goarch, "")
	}
	slices.SortFunc(runs, func(a, b run) int { return strings.Compare(a.String(), b.String()) })
	return runs, nil
}

// overlay makes a file for the go command in which there are no tests: what they import is most of what a vet compiles.
func overlay() (string, error) {
	list, err := exec.Command("go", "list", "-f", `{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}
{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}
{{end}}{{range .IgnoredGoFiles}}{{$d}}/{{.}}
{{end}}`, "./...").Output()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file := range bytes.FieldsSeq(list) {
		if bytes.HasSuffix(file, []byte("_test.go")) {
			replace[filepath.FromSlash(string(file))] = ""
		}
	}
	f, err := os.CreateTemp("", "overlay-*.json")
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.Name(), json.NewEncoder(f).Encode(map[string]any{"Replace": replace})
}

func (r run) env() []string {
	env := append(os.Environ(), "GOOS="+r.goos, "GOARCH="+r.goarch, "CGO_ENABLED=0")
	if r.cgo {
		env = append(env, "CGO_ENABLED=1", "CC="+r.cc)
	}
	return env
}

func vet(r run, withoutTests string) error {
	args := []string{"vet", "-tags=" + r.tag}
	if r.flags != "" {
		args = append(args, r.flags)
	}
	if r.vet == whole {
		args = append(args, "./...")
	} else {
		args = append(append(args, "-overlay="+withoutTests), ofPrograms...)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = r.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if r.vet == programs && r.tag == "" && !r.cgo {
		r.vet = none
		return typeCheck(r) // the tests
	}
	return nil
}

// typeCheck checks the types of all that is in the module, of what it imports, and, once for a target, of the tests.
func typeCheck(r run) error {
	what := ofPrograms
	switch r.tag {
	case "":
		what = []string{"./..."}
	case "cgo":
		what = []string{"./pcsc"}
	}
	found, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesSizes,
		Env:        r.env(),
		BuildFlags: []string{"-tags=" + r.tag},
		Tests:      r.tag == "",
	}, what...)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no packages in %v", what)
	}
	var text strings.Builder
	packages.Visit(found, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			fmt.Fprintln(&text, e)
		}
	})
	if text.Len() > 0 {
		return fmt.Errorf("\n%s", text.String())
	}
	return nil
}
