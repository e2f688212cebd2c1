// Command pcscgen writes the Go of the PC/SC binding from its spec.
//
// By itself it shows what would change, as a diff. With -write it changes the tree; with -check it exits with 1 if
// anything would change.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/spec"
)

const usage = `usage: pcscgen [-write | -check] [-root DIR] [-types=false] [SPEC...]

pcscgen reads the spec (DIR/spec and every SPEC, a file or directory that extends it) and shows, as a diff, what the
generated files would change to.

`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errDrift is what -check ends with when the tree is not what the spec gives.
var errDrift = errors.New("the generated files are not what the spec gives; run go generate ./... and review the diff")

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("pcscgen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	write := flags.Bool("write", false, "write the files that differ and delete orphans")
	check := flags.Bool("check", false, "exit with 1, after the diff, if a file differs")
	types := flags.Bool("types", true, "type-check the output for every target of the spec before anything is written")
	root := flags.String("root", "", "root of the module (default: the nearest go.mod above)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *write && *check {
		fmt.Fprintln(stderr, "pcscgen: -write and -check exclude each other")
		return 2
	}
	switch err := generate(*root, flags.Args(), *write, *check, *types, stdout, stderr); {
	case err == nil:
		return 0
	case errors.Is(err, errDrift):
		fmt.Fprintln(stderr, "pcscgen:", err)
		return 1
	default:
		fmt.Fprintln(stderr, err)
		return 1
	}
}

func generate(root string, more []string, write, check, types bool, stdout, stderr io.Writer) error {
	if root == "" {
		var err error
		if root, err = moduleRoot(); err != nil {
			return err
		}
	}
	dir := filepath.Join(root, "spec")
	if wd, err := os.Getwd(); err == nil {
		// Positions in messages are best read from where the user stands.
		if rel, err := filepath.Rel(wd, dir); err == nil {
			dir = rel
		}
	}
	s, err := spec.LoadDir(dir, more...)
	if err != nil {
		return err
	}
	if err := spec.Validate(s); err != nil {
		return err
	}
	m, err := gen.Resolve(s)
	if err != nil {
		return err
	}
	files, err := gen.Emit(m)
	if err != nil {
		return err
	}
	changes, err := gen.Changes(root, files)
	if err != nil {
		return err
	}
	if types && len(changes) > 0 {
		if err := gen.TypeCheck(root, m, files, changes); err != nil {
			return err
		}
	}
	if write {
		return gen.Write(root, changes, func(c gen.Change) { fmt.Fprintln(stdout, c.Path) })
	}
	for _, c := range changes {
		fmt.Fprint(stdout, c.Diff())
	}
	if check && len(changes) > 0 {
		return errDrift
	}
	if len(changes) > 0 {
		fmt.Fprintf(stderr, "pcscgen: %d files would change; -write changes them\n", len(changes))
	}
	return nil
}

// moduleRoot is the nearest directory above that has a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("pcscgen: no go.mod here or above; give -root")
		}
		dir = parent
	}
}
