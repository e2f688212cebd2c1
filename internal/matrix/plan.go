package main

import (
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/spec"
)

// A run is a choice of backend for a target.
type run struct {
	goos, goarch string
	cgo          bool
	tag          string
	flags        string   // that go build needs
	cc           string   // the C compiler
	what         []string // the packages
	tests        bool
}

func (r run) target() string { return r.goos + "/" + r.goarch }

func (r run) String() string {
	s := r.target()
	if r.cgo {
		s += " cgo"
	}
	if r.tag != "" {
		s += " -tags " + r.tag
	}
	return s
}

func (r run) env() []string {
	env := append(os.Environ(), "GOOS="+r.goos, "GOARCH="+r.goarch, "CGO_ENABLED=0")
	if r.cgo {
		env = append(env, "CGO_ENABLED=1", "CC="+r.cc)
	}
	return env
}

// ofPrograms are the packages that programs are made of.
var ofPrograms = []string{"./backend_cgo", "./backend_purego", "./pcsc/...", "./cmd/pcsc"}

// built are the targets that programs are built for, of each system and layout one. The tests build those of the machine.
var built = []string{"windows/amd64", "windows/386", "darwin/amd64", "darwin/arm64", "freebsd/amd64", "netbsd/amd64"}

// withoutPCSC are targets where the module compiles and every call says that there is no PC/SC.
var withoutPCSC = []string{"plan9/amd64", "js/wasm", "wasip1/wasm", "aix/ppc64"}

// plan says what is vetted, the runs of a target one after the other, and what is built.
func plan(s *spec.Spec) (vets, builds []run) {
	add := func(goos, goarch, flags, cc string) {
		for _, tag := range []string{"", "pcsc_purego", "cgo", "purego"} {
			r := run{goos: goos, goarch: goarch, tag: tag, what: []string{"./..."}, tests: true}
			switch tag {
			case "cgo":
				// Without cgo, the standard library's net does not compile with this tag, whatever is built.
				r.what, r.tests = []string{"./pcsc"}, false
			case "purego":
				// It selects what pcsc_purego selects; what it adds is another crypto of the standard library.
				r.what, r.tests = ofPrograms, false
			}
			vets = append(vets, r)
			if cc != "" && tag != "purego" {
				r.cgo, r.cc, r.what, r.tests = true, cc, []string{"./..."}, true
				vets = append(vets, r)
			}
		}
		if !slices.Contains(built, goos+"/"+goarch) {
			return
		}
		r := run{goos: goos, goarch: goarch, what: ofPrograms}
		builds = append(builds, r)
		if flags != "" {
			// Without a tag the dlopen backend is left out, so that a build without the flags works.
			builds = append(builds, run{goos: goos, goarch: goarch, what: ofPrograms, tag: "pcsc_purego", flags: flags})
		}
		if cc != "" {
			r.cgo, r.cc = true, cc
			builds = append(builds, r)
		}
	}
	for _, p := range s.Platforms {
		for _, t := range p.Targets {
			for _, arch := range t.GOARCH {
				add(t.GOOS, arch, t.Flags, compiler(p, t.GOOS+"/"+arch))
			}
		}
	}
	for _, t := range withoutPCSC {
		goos, goarch, _ := strings.Cut(t, "/")
		add(goos, goarch, "", "")
	}
	byName := func(a, b run) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(vets, byName)
	slices.SortFunc(builds, byName)
	return vets, builds
}

// compiler is the C compiler for a target, if programs can be made with it, and the headers of PC/SC come with it or are the
// machine's own.
func compiler(p *spec.Platform, target string) string {
	for _, proof := range p.Proofs {
		if proof.Target == target && proof.Libc == "" && proof.Cgo != "" && (p.Cgo.PkgConfig == "" || target == runtime.GOOS+"/"+runtime.GOARCH) {
			return proof.Compiler
		}
	}
	return ""
}
