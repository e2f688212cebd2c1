//go:build linux

// Command elsewhere runs the module's tests for systems and processors that this machine is not:
//
//	elsewhere windows         under wine
//	elsewhere arch            on other processors, under an emulator where it has to be
//	elsewhere make-windows    tests nothing, but makes what the tests under wine need
//
// What it needs beside the Go toolchain it keeps in a cache: Debian systems of their own, made with debootstrap, that
// nothing of the machine is changed by. They are made once, by a recipe; a recipe that changes makes them anew. Programs
// run in them without a network, in namespaces that end with them, whatever happens.
//
// What can't run is said to be not run, with the reason, and is never counted as passed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// cacheEnv is the variable that says where the systems are kept.
const cacheEnv = "GOPCSC_CACHE"

type options struct {
	cache   string
	json    string
	only    string
	jobs    int
	verbose bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == enterCommand {
		fmt.Fprintln(os.Stderr, "elsewhere:", enter(os.Args[2:]))
		os.Exit(126)
	}
	var o options
	flag.StringVar(&o.cache, "cache", defaultCache(), "the folder for what is kept, by default $"+cacheEnv)
	flag.StringVar(&o.json, "json", "", "write the results to this file too")
	flag.StringVar(&o.only, "only", "", "only what has this in `platform/backend`")
	// The tests wait much of the time.
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU()+1, "how many platforms and backends are tested at once")
	packages := flag.Bool("packages", false, "print the Debian packages that the machine has to have, and do nothing")
	flag.BoolVar(&o.verbose, "v", false, "show what the tests print")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: elsewhere [flags] windows|arch|make-windows")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *packages {
		list := map[string][]string{"windows": windowsPackages, "arch": archPackages()}
		fmt.Println(strings.Join(list[flag.Arg(0)], " "))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, o, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "elsewhere:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, args []string) (bool, error) {
	var suite func(context.Context, *session) error
	switch strings.Join(args, " ") {
	case "windows":
		suite = testWindows
	case "arch":
		suite = testArch
	case "make-windows":
		suite = makeWindows
	default:
		flag.Usage()
		return false, errors.New("which tests? windows or arch; or make-windows")
	}
	if os.Geteuid() != 0 {
		return false, errors.New("making a system and its namespaces needs root; run it with sudo -E")
	}
	if o.cache == "" {
		return false, fmt.Errorf("there is no folder for a cache; set %s", cacheEnv)
	}
	// The users of a system that is made, such as apt's, have to be able to read it. What is private says so.
	syscall.Umask(0o022)
	s, err := newSession(ctx, o)
	if err != nil {
		return false, err
	}
	defer s.close()
	if err := suite(ctx, s); err != nil || args[0] == "make-windows" {
		return err == nil, err
	}
	if err := s.compareClaims("test-" + args[0]); err != nil {
		return false, err
	}
	return s.report(os.Stdout)
}

func defaultCache() string {
	if dir := os.Getenv(cacheEnv); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "gopcsc")
}

// A session is one run of the command.
type session struct {
	options
	module    string // the module's folder
	work      string // for what this run makes
	goenv     map[string]string
	emulators string // their root

	mu      sync.Mutex // for what comes of jobs, and for printing it
	results []result
}

// parallel runs jobs, a few at a time.
func (s *session) parallel(jobs []func()) {
	var g errgroup.Group
	g.SetLimit(max(s.jobs, 1))
	for _, job := range jobs {
		g.Go(func() error { job(); return nil })
	}
	_ = g.Wait()
}

func newSession(ctx context.Context, o options) (*session, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOMOD", "GOROOT", "GOMODCACHE", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	s := &session{options: o}
	if s.goenv, err = decodeEnv(out); err != nil {
		return nil, err
	}
	s.module = filepath.Dir(s.goenv["GOMOD"])
	if s.cache, err = filepath.Abs(o.cache); err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(s.module, s.cache); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return nil, fmt.Errorf("the cache %s lies in the module; set %s to a folder outside", s.cache, cacheEnv)
	}
	if err := os.MkdirAll(s.cache, 0o700); err != nil {
		return nil, err
	}
	// Not in /tmp: it becomes a folder of the systems, by a mount.
	if s.work, err = os.MkdirTemp(s.cache, "run-"); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *session) close() {
	if err := os.RemoveAll(s.work); err != nil {
		fmt.Fprintln(os.Stderr, "elsewhere:", err)
	}
}

// wanted says whether the results of a platform and a backend are asked for.
func (s *session) wanted(platform, backend string) bool {
	return strings.Contains(platform+"/"+backend, s.only)
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
