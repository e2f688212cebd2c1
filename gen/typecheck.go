package gen

import (
	"errors"
	"fmt"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// TypeCheck checks the packages with generated files as they would be after the changes, for every target of the
// spec: the dlopen backend for all of them, which needs no C compiler, and the cgo backend for the host. Nothing is
// written to the tree.
func TypeCheck(root string, m *Model, files []File, changes []Change) error {
	overlay := map[string][]byte{}
	abs, err := filepath.Abs(root)
	if err != nil {
		return fmt.Errorf("gen: %w", err)
	}
	for _, c := range changes {
		content := c.New
		if content == nil {
			// An orphan is as good as deleted when no build has it.
			content = []byte("//go:build ignore\n\npackage ignored\n")
		}
		overlay[filepath.Join(abs, filepath.FromSlash(c.Path))] = content
	}
	var dirs []string
	for _, f := range files {
		dir := "./" + filepath.ToSlash(filepath.Dir(f.Path))
		if !slices.Contains(dirs, dir) && strings.HasSuffix(f.Path, ".go") {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	// A fault is mostly one of every target: it is reported once, with where it was found.
	faults := map[string][]string{}
	check := func(env, flags []string, label string) error {
		pkgs, err := packages.Load(&packages.Config{
			Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes |
				packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps,
			Dir: abs, Env: append(os.Environ(), env...), BuildFlags: flags, Overlay: overlay,
		}, dirs...)
		if err != nil {
			return fmt.Errorf("gen: %s: %w", label, err)
		}
		packages.Visit(pkgs, nil, func(p *packages.Package) {
			if !strings.HasPrefix(p.PkgPath, module) {
				return
			}
			for _, e := range p.Errors {
				faults[e.Error()] = append(faults[e.Error()], label)
			}
		})
		return nil
	}
	for _, p := range m.Platforms {
		for _, t := range p.Targets {
			if t.Go != "" && version.Compare(runtime.Version(), "go"+t.Go) < 0 {
				continue
			}
			for _, arch := range t.GOARCH {
				label := t.GOOS + "/" + arch
				env := []string{"GOOS=" + t.GOOS, "GOARCH=" + arch, "CGO_ENABLED=0"}
				if err := check(env, []string{"-tags=pcsc_purego"}, label); err != nil {
					return err
				}
			}
		}
	}
	if cgoReady(m) {
		env := []string{"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH, "CGO_ENABLED=1"}
		if err := check(env, []string{"-tags=cgo"}, "cgo"); err != nil {
			return err
		}
	}
	return faultsError(faults)
}

// maxFaults is how many faults are spelled out.
const maxFaults = 20

func faultsError(faults map[string][]string) error {
	if len(faults) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("gen: what was generated does not compile:")
	for i, msg := range slices.Sorted(maps.Keys(faults)) {
		if i == maxFaults {
			fmt.Fprintf(&b, "\n… and %d more", len(faults)-maxFaults)
			break
		}
		on := faults[msg]
		fmt.Fprintf(&b, "\n%s (%s", msg, on[0])
		if len(on) > 1 {
			fmt.Fprintf(&b, " and %d more", len(on)-1)
		}
		b.WriteString(")")
	}
	return errors.New(b.String())
}

// cgoReady reports whether the host has a C compiler and the headers of PC/SC. Generating needs neither: nothing but
// Go has to be there.
func cgoReady(m *Model) bool {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(strings.Fields(cc)[0]); err != nil {
		return false
	}
	for _, p := range m.Platforms {
		if slices.Contains(p.GOOS, runtime.GOOS) && p.Cgo.PkgConfig != "" {
			return exec.Command("pkg-config", "--exists", p.Cgo.PkgConfig).Run() == nil
		}
	}
	return true
}
