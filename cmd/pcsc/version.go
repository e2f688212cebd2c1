package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

const (
	modulePath    = "github.com/gopcsc/gopcsc"
	unknown       = "unknown"
	libraryPrefix = "libpcsclite" // of file names; pcsc-lite 2 adds libpcsclite_real.so.1
)

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program and what it is built on",
		Long: `Show the versions of this program, its backend and the PC/SC library. It needs neither a service nor a library.

The version of libpcsclite is unknown, since the library does not tell it: the number in its file name is that of its
interface, which has been 1.0.0 for all of pcsc-lite 1 and 2.

With --json:
  {"module": "github.com/gopcsc/gopcsc", "version": "v1.2.3", "revision": "...", "go": "go1.26.0", "os": "linux",
   "arch": "amd64", "backend": "purego",
   "library": {"loaded": true, "path": "/usr/lib/libpcsclite.so.1.0.0", "version": "", "problem": ""}}
What is not known is an empty string. backend is cgo, purego or none. problem says why the library is not loaded, which
is no error here.`,
		Args: cobra.NoArgs,
		RunE: a.runE(func(ctx context.Context, _ []string) error { return a.version(ctx) }),
	}
	a.jsonFlag(cmd)
	return cmd
}

type versionReport struct {
	Module   string      `json:"module"`
	Version  string      `json:"version"`
	Revision string      `json:"revision"`
	Go       string      `json:"go"`
	OS       string      `json:"os"`
	Arch     string      `json:"arch"`
	Backend  string      `json:"backend"`
	Library  jsonLibrary `json:"library"`
	outcome
}

type jsonLibrary struct {
	Loaded  bool   `json:"loaded"`
	Path    string `json:"path"`
	Version string `json:"version"`
	Problem string `json:"problem"`
}

func (a *app) version(ctx context.Context) error {
	r := &versionReport{
		Module:  modulePath,
		Go:      runtime.Version(),
		OS:      runtime.GOOS,
		Arch:    runtime.GOARCH,
		Backend: pcsc.BackendName(),
		Library: a.findLibrary(ctx),
	}
	r.Version, r.Revision = moduleVersion()
	a.report = r
	if a.json {
		return nil
	}
	program := "version " + orUnknown(r.Version)
	if r.Revision != "" {
		program += ", revision " + r.Revision
	}
	library := "not loaded: " + r.Library.Problem
	if r.Library.Loaded {
		library = fmt.Sprintf("%s, version %s", orUnknown(r.Library.Path), orUnknown(r.Library.Version))
	}
	fmt.Fprintf(a.stdout, "module   %s\n         %s\ngo       %s %s/%s\nbackend  %s\nlibrary  %s\n",
		r.Module, program, r.Go, r.OS, r.Arch, r.Backend, library)
	return nil
}

func orUnknown(s string) string {
	if s == "" {
		return unknown
	}
	return s
}

// moduleVersion returns the version and the revision that the program was built from.
func moduleVersion() (version, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	module := &info.Main
	for _, dep := range info.Deps { // in a test, or built as a tool of another module
		if dep.Path == modulePath {
			module = dep
		}
	}
	if module.Path == modulePath {
		version = module.Version
	}
	if module == &info.Main {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return version, revision
}

// findLibrary loads the library, by contacting the service, and finds its file. It does not matter whether there is a
// service.
func (a *app) findLibrary(ctx context.Context) jsonLibrary {
	if a.virtual {
		return jsonLibrary{Problem: "--virtual needs none"}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	pc, err := a.establish(ctx)
	if err == nil {
		defer release(ctx, pc.Close)
	}
	var f *failure
	switch {
	case errors.As(err, &f): // --library is wrong
		return jsonLibrary{Problem: f.todo}
	case errors.Is(err, pcsc.ErrUnavailable):
		return jsonLibrary{Problem: explain(err).todo}
	}
	return jsonLibrary{Loaded: true, Path: strings.Join(a.libraryFiles(), ", ")}
}

// libraryFiles are the files of the library, once it has been loaded, as far as they are known.
func (a *app) libraryFiles() []string {
	name := a.library
	if name == "" && pcsc.BackendName() == "purego" {
		name = os.Getenv("PCSC_LIBRARY")
	}
	return loadedLibraries(name)
}

// isLibrary says whether file is, or may be, the library that was asked for by name, or the system's if name is empty.
func isLibrary(file, name string) bool {
	if filepath.IsAbs(name) {
		real, err := filepath.EvalSymlinks(name)
		return err == nil && file == real
	}
	prefix := libraryPrefix
	if name != "" {
		prefix, _, _ = strings.Cut(name, ".")
	}
	rest, found := strings.CutPrefix(filepath.Base(file), prefix)
	return found && strings.Contains(rest, ".so")
}
