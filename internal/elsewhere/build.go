//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errAbsent is in the errors of what the machine lacks. All others are faults.
var errAbsent = errors.New("the machine lacks something")

// A target is what a program is built for.
type target struct {
	goos, goarch string
	cgo          bool
	cc           string // of the machine or, where there is a system, of that
	env          []string
	ldflags      string
	toolchain    string // of Go, where the machine's won't do
}

func (t *target) backend() string { return backend(t.cgo) }

func backend(cgo bool) string {
	if cgo {
		return "cgo"
	}
	return "dlopen"
}

func (t *target) platform() string { return t.goos + "/" + t.goarch }

func (t *target) environ() []string {
	env := append([]string{"GOOS=" + t.goos, "GOARCH=" + t.goarch, "CGO_ENABLED=0"}, t.env...)
	if t.cgo {
		env = append(env, "CGO_ENABLED=1", "CC="+t.cc)
	}
	if t.toolchain != "" {
		env = append(env, "GOTOOLCHAIN="+t.toolchain)
	}
	return env
}

// builds has room for those that run. The go command uses all processors by itself, and so many times the memory of a
// compiler: one for each of many jobs would take more than a machine with many processors need have.
var builds = make(chan struct{}, 2)

// build builds something of the module, args being those of the go command, on the machine. It returns the file's name
// in the work folder.
func (s *session) build(ctx context.Context, t *target, name string, args ...string) (string, error) {
	if t.cgo {
		if _, err := exec.LookPath(strings.Fields(t.cc)[0]); err != nil {
			return "", fmt.Errorf("%w: %w", errAbsent, err)
		}
	}
	if t.toolchain != "" {
		err := retry(ctx, t.platform(), func() error {
			cmd := exec.CommandContext(ctx, "go", "version")
			cmd.Env = append(os.Environ(), t.environ()...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: Go's toolchain %s: %w: %s", errAbsent, t.toolchain, err, firstLine(out))
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	builds <- struct{}{}
	defer func() { <-builds }()
	cmd := exec.CommandContext(ctx, "go", s.buildArgs(t, name, args)...)
	cmd.Dir = s.module
	cmd.Env = append(os.Environ(), t.environ()...)
	return name, buildError(cmd.CombinedOutput())
}

func (s *session) buildArgs(t *target, name string, args []string) []string {
	all := []string{args[0], "-buildvcs=false", "-o", filepath.Join(s.work, name), "-ldflags=-w " + t.ldflags}
	if args[0] == "test" {
		all = append(all, "-vet=off") // it would vet all of the standard library for each target
	}
	return append(all, args[1:]...)
}

func buildError(out []byte, err error) error {
	if err != nil {
		return fmt.Errorf("building: %w\n%s", err, tail(out, 4<<10))
	}
	return nil
}

// compile compiles a C source of the module on the machine.
func (s *session) compile(ctx context.Context, cc, name string, args ...string) error {
	words := strings.Fields(cc)
	if _, err := exec.LookPath(words[0]); err != nil {
		return fmt.Errorf("%w: %w", errAbsent, err)
	}
	args = append(append(words[1:], "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", filepath.Join(s.work, name)), args...)
	cmd := exec.CommandContext(ctx, words[0], args...)
	cmd.Dir = s.module
	return buildError(cmd.CombinedOutput())
}
