// Command matrix vets the module, tests included, for the targets of the spec whose systems differ, and builds the packages
// for programs for all others, under every choice of backend: no tag, cgo, purego and pcsc_purego, without cgo everywhere
// and with it where there is a C compiler for the target.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gopcsc/gopcsc/spec"
)

// A run is one go vet, or one go build.
type run struct {
	goos, goarch string
	cgo          bool
	whole        bool // go vet ./...
	tag          string
	flags        string // that the dlopen backend needs
	cc           string
}

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

// vetted are the targets that are vetted whole. What the tests import takes most of the time, and is compiled anew for each.
var vetted = []string{
	"linux/amd64", "linux/386", "windows/amd64", "windows/386", "darwin/amd64", "darwin/arm64", "freebsd/amd64", "netbsd/amd64",
}

// withoutPCSC are targets where the module compiles and every call says that there is no PC/SC.
var withoutPCSC = []string{"plan9/amd64", "js/wasm", "wasip1/wasm", "aix/ppc64"}

func main() {
	only := flag.String("only", "", "only targets whose name has this in it")
	whole := flag.Bool("whole", false, "vet everything for every target, tests too")
	verbose := flag.Bool("v", false, "say what runs")
	flag.Parse()
	runs, err := plan(*whole)
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
	start := time.Now()
	passed, failed, skipped := 0, 0, 0
	for _, r := range runs {
		if !strings.Contains(r.String(), *only) {
			continue
		}
		if r.cgo {
			if _, err := exec.LookPath(r.cc); err != nil {
				if os.Getenv("PCSC_MUST_RUN") == "1" {
					fmt.Printf("FAIL %s: %v\n", r, err)
					failed++
				} else {
					fmt.Printf("skip %s: %v\n", r, err)
					skipped++
				}
				continue
			}
		}
		began := time.Now()
		out, err := vet(r)
		if err != nil {
			fmt.Printf("FAIL %s: %v\n%s", r, err, out)
			failed++
			continue
		}
		if *verbose {
			fmt.Printf("ok   %s %.1fs\n", r, time.Since(began).Seconds())
		}
		passed++
	}
	fmt.Printf("vet and build: %d passed, %d failed, %d skipped in %s\n", passed, failed, skipped, time.Since(start).Round(time.Second))
	if failed > 0 {
		os.Exit(1)
	}
}

func plan(whole bool) ([]run, error) {
	s, err := spec.LoadDir("spec")
	if err != nil {
		return nil, err
	}
	var runs []run
	add := func(goos, goarch, flags string) {
		for _, tag := range []string{"", "pcsc_purego", "cgo", "purego"} {
			if tag == "purego" && (goos != "linux" && goos != "windows" && goos != "darwin" || goarch != "amd64") {
				// It selects what pcsc_purego selects. What it adds is that the standard library's crypto is
				// compiled again, which takes most of the time.
				continue
			}
			r := run{goos: goos, goarch: goarch, tag: tag, whole: whole || slices.Contains(vetted, goos+"/"+goarch)}
			if strings.Contains(tag, "purego") {
				r.flags = flags
			}
			runs = append(runs, r)
		}
		if cc := compilers[goos+"/"+goarch]; cc != "" {
			for _, tag := range []string{"", "cgo", "pcsc_purego", "purego"} {
				runs = append(runs, run{goos: goos, goarch: goarch, cgo: true, tag: tag, cc: cc, whole: true})
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

func vet(r run) ([]byte, error) {
	args, packages := []string{"vet"}, []string{"./..."}
	switch {
	case r.tag == "cgo" && !r.cgo:
		// The tag without cgo: the standard library's net does not compile so, whatever is built. This module does.
		args, packages = []string{"build"}, []string{"./pcsc"}
	case !r.whole:
		args, packages = []string{"build"}, []string{"./backend_cgo", "./backend_purego", "./pcsc/...", "./cmd/pcsc"}
	}
	if r.tag != "" {
		args = append(args, "-tags", r.tag)
	}
	if r.flags != "" {
		args = append(args, r.flags)
	}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Env = append(os.Environ(), "GOOS="+r.goos, "GOARCH="+r.goarch, "CGO_ENABLED=0")
	if r.cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1", "CC="+r.cc)
	}
	return cmd.CombinedOutput()
}
