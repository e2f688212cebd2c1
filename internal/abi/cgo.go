package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// checkCgo compiles the C of a file of the cgo backend, has cgo make Go of the file, and checks the types of that. The go
// command would do so by itself, but compiles the runtime's C too, which needs the C library of the target.
func checkCgo(file string, source []byte, target string, c compiler) error {
	_, rest, _ := strings.Cut(string(source), "\n/*\n")
	preamble, _, found := strings.Cut(rest, "\n*/\nimport \"C\"")
	if !found {
		return fmt.Errorf("%s: there is no C before import \"C\"", file)
	}
	preamble = regexp.MustCompile(`(?m)^#cgo .*$`).ReplaceAllString(preamble, "")
	if _, err := c.run(preamble, "-Wno-unused-function", "-fsyntax-only", "-x", "c", "-"); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	dir, err := os.MkdirTemp("", "gopcsc-cgo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	base := filepath.Base(file)
	if err := os.WriteFile(filepath.Join(dir, base), source, 0o600); err != nil {
		return err
	}
	goos, goarch, _ := strings.Cut(target, "/")
	env := append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=1", "CC="+c.command[0])
	cmd := exec.Command("go", slices.Concat([]string{"tool", "cgo", "-objdir", dir, "--"}, c.command[1:], []string{base})...)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cgo: %w\n%s", err, out)
	}
	return checkGo(file, dir, append(env, "CGO_ENABLED=0"))
}

// ofRuntimeCgo is what cgo takes from runtime/cgo for a type without fields, of which there are none here: the package has
// cgo itself.
var ofRuntimeCgo = regexp.MustCompile(`(?m)^(import _cgopackage "runtime/cgo"|type _ _cgopackage\.Incomplete)$`)

// checkGo checks the types of a package with what cgo has made of one of its files, in a folder.
func checkGo(file, dir string, env []string) error {
	pkg, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	overlay := map[string][]byte{}
	for made, as := range map[string]string{
		strings.TrimSuffix(filepath.Base(file), ".go") + ".cgo1.go": filepath.Base(file),
		"_cgo_gotypes.go": "zcgo_gotypes.go", // a name with _ in front is ignored
	} {
		text, err := os.ReadFile(filepath.Join(dir, made))
		if err != nil {
			return err
		}
		overlay[filepath.Join(pkg, as)] = ofRuntimeCgo.ReplaceAll(text, nil)
	}
	pkgs, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedSyntax | packages.NeedTypes |
			packages.NeedTypesInfo | packages.NeedTypesSizes | packages.NeedImports | packages.NeedDeps,
		Dir: pkg, Env: env, BuildFlags: []string{"-tags=cgo"}, Overlay: overlay,
	}, ".")
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range pkgs {
		for _, e := range p.Errors {
			errs = append(errs, e)
		}
		for made := range overlay {
			if !slices.Contains(p.CompiledGoFiles, made) {
				errs = append(errs, fmt.Errorf("%s was not checked", made))
			}
		}
	}
	return errors.Join(errs...)
}
