// Command matrix vets the module for every target of the spec, and for systems without PC/SC, under every choice of
// backend: no tag, cgo, purego and pcsc_purego, without cgo everywhere and with it where there is a C compiler for the
// target. Then it builds programs for targets that differ, for the compiler and the linker find what a vet does not.
//
// To vet is to do what go vet does, tests too, but without compiling: go vet compiles all that is imported, the standard
// library first, anew for every target. Here types are checked from source, once for all choices of backend that have the
// same files.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gopcsc/gopcsc/spec"
)

func main() {
	only := flag.String("only", "", "only targets whose name has this in it")
	verbose := flag.Bool("v", false, "say what runs")
	flag.Parse()
	if err := check(*only, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func check(only string, verbose bool) error {
	s, err := spec.LoadDir("spec")
	if err != nil {
		return err
	}
	start := time.Now()
	vets, builds := plan(s)
	rep := &report{verbose: verbose, said: map[string]bool{}}
	chosen := func(runs []run) []run {
		return slices.DeleteFunc(runs, func(r run) bool { return !strings.Contains(r.String(), only) || !rep.possible(r) })
	}
	vets, builds = chosen(vets), chosen(builds)
	if len(vets)+len(builds)+rep.failed+rep.skipped == 0 {
		return fmt.Errorf("no target has %q in its name", only)
	}
	for t := range listed(vets, ".") {
		for _, o := range t.vet() {
			rep.done(&rep.vetted, "vet", o)
		}
	}
	for _, r := range builds {
		rep.done(&rep.built, "build", buildPrograms(r))
	}
	fmt.Printf("vetted %d, built %d, failed %d, skipped %d in %s\n",
		rep.vetted, rep.built, rep.failed, rep.skipped, time.Since(start).Round(time.Second))
	if rep.failed > 0 {
		return fmt.Errorf("%d failed", rep.failed)
	}
	return nil
}
