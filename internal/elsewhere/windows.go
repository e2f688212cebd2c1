//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// windowsPackages are the machine's packages.
var windowsPackages = []string{"debootstrap", "gcc-mingw-w64-x86-64", "gcc-mingw-w64-i686", "gcc-i686-linux-gnu",
	"libc6-dev-i386-cross"}

// wineRecipe is the system with wine. Its pcscd and the libpcsclite that wine calls are of one version, as they have to.
var wineRecipe = recipe{
	name:     "wine",
	suite:    "trixie",
	packages: []string{"wine64", "pcscd", "vsmartcard-vpcd"},
	finish:   makePrefix,
	download: 250, disk: 2100, time: 4 * time.Minute,
}

// wine32Recipe is the system with a wine that is of 32 bits itself. Its server is that of 64 bits, which no emulator slows
// down and which needs nothing of the wine that it comes with.
var wine32Recipe = recipe{
	name:     "wine32",
	suite:    "trixie",
	foreign:  []string{"i386"},
	packages: []string{"wine64", "wine32:i386", "pcscd", "vsmartcard-vpcd"},
	finish:   "export WINEARCH=win32\nrm -rf /usr/lib/x86_64-linux-gnu/wine" + strings.Replace(makePrefix, "wine64", "wine", 1),
	download: 450, disk: 2900, time: 6 * time.Minute,
}

// wineEnv is the environment of wine. Its own messages go nowhere, those of the programs stay. Nothing of what it starts
// beside a program is needed.
var wineEnv = []string{"WINEPREFIX=/root/wine", "WINEDEBUG=-all", "XDG_RUNTIME_DIR=/tmp",
	"WINEDLLOVERRIDES=services.exe,winemenubuilder.exe,explorer.exe,mscoree,mshtml="}

const makePrefix = `
export WINEPREFIX=/root/wine WINEDEBUG=-all XDG_RUNTIME_DIR=/tmp WINEDLLOVERRIDES=mscoree,mshtml=
/usr/lib/wine/wine64 wineboot -i
/usr/lib/wine/wineserver -w
test -f $WINEPREFIX/drive_c/windows/system32/winscard.dll`

// stubSystem makes the argument-checking library the system's winscard.dll: it is then what a program is linked with, and
// what one finds that looks for the system's.
const stubSystem = `
export WINEDLLOVERRIDES="winscard=n;$WINEDLLOVERRIDES"
cp "$1" $WINEPREFIX/drive_c/windows/system32/winscard.dll
shift
exec "$@"`

// A windows is one architecture of Windows.
type windows struct {
	goarch, cc  string
	recipe      *recipe
	loader      string
	libraryArgs []string // for the compiler
}

var windowses = []windows{
	{"amd64", "x86_64-w64-mingw32-gcc", &wineRecipe, "/usr/lib/wine/wine64", nil},
	// --kill-at: winscard.dll's names are bare, although its functions are stdcall.
	{"386", "i686-w64-mingw32-gcc", &wine32Recipe, "/usr/lib/wine/wine", []string{"-static-libgcc", "-Wl,--kill-at"}},
}

// makeWindows makes the systems, for tests that come later.
func makeWindows(ctx context.Context, s *session) error {
	var g errgroup.Group
	for i := range windowses {
		g.Go(func() error { _, err := s.wine(ctx, &windowses[i]); return err })
	}
	return g.Wait()
}

func testWindows(ctx context.Context, s *session) error {
	if _, err := s.build(ctx, &target{goos: "linux", goarch: "amd64"}, "withpcscd", "build", "./internal/pcscdtest/withpcscd"); err != nil {
		return err
	}
	var jobs []func()
	// Systems are made while programs are built.
	var making sync.WaitGroup
	defer making.Wait()
	for i := range windowses {
		w := &windowses[i]
		dlopen := &target{goos: "windows", goarch: w.goarch}
		cgo := &target{goos: "windows", goarch: w.goarch, cgo: true, cc: w.cc}
		targets := slices.DeleteFunc([]*target{dlopen, cgo}, func(t *target) bool { return !s.wanted(t.platform(), t.backend()) })
		if len(targets) == 0 {
			continue
		}
		withWine := sync.OnceValues(func() (*wine, error) { return s.wine(ctx, w) })
		making.Go(func() { withWine() })
		for _, t := range targets {
			jobs = append(jobs, func() { s.testWindows(ctx, withWine, w, t) })
		}
	}
	s.parallel(jobs)
	return nil
}

// A wine is the system with the wine for an architecture.
type wine struct {
	system
	how string // which wine, run by what
}

func (s *session) wine(ctx context.Context, w *windows) (*wine, error) {
	var emulator, by string
	if w.recipe == &wine32Recipe {
		var err error
		if emulator, err = s.emulator32(ctx); err != nil {
			return nil, err
		}
		if emulator != "" {
			by = " under " + filepath.Base(emulator)
		}
	}
	y, err := s.system(ctx, w.recipe, emulator)
	if err != nil {
		return nil, err
	}
	y.binds = []string{s.work + ":/programs", s.module + ":/module:ro"}
	version, err := y.run(ctx, w.loader, "--version")
	return &wine{*y, firstLine(version) + by}, err
}

func (s *session) testWindows(ctx context.Context, withWine func() (*wine, error), w *windows, t *target) {
	base := result{Platform: t.platform(), Backend: t.backend(), Suite: "all"}
	name := fmt.Sprintf("windows-%s-%s", w.goarch, t.backend())
	library := "pcscstub-" + w.goarch + "-" + t.backend() + ".dll"
	args := append([]string{"-shared"}, w.libraryArgs...)
	noLibrary := s.compile(ctx, w.cc, library, append(args, stubSource)...)
	packages := []string{"internal/conformance", "pcsc"}
	if !t.cgo {
		packages = append(packages, withoutBackend...)
	}
	programs := map[string]string{}
	for _, pkg := range packages {
		exe, err := s.build(ctx, t, name+"-"+filepath.Base(pkg)+".exe", "test", "-c", "./"+pkg)
		if err != nil {
			r := base
			r.Suite = pkg
			s.addError(r, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(s.work, exe)); err != nil {
			continue // no tests
		}
		programs[pkg] = exe
	}
	y, err := withWine()
	if err != nil {
		s.addError(base, err)
		return
	}
	base.How = y.how
	stub := []string{"CSTUB_LIBRARY=Z:\\programs\\" + library, "CONFORMANCE_STUB=1"}
	// before is what the program's name and arguments are given to.
	in := func(r result, tests tests, env []string, exe string, before ...string) {
		s.test(ctx, r, tests, func(ctx context.Context) *exec.Cmd {
			in := y.system
			in.env = slices.Concat([]string{"PCSC_MUST_RUN=1"}, wineEnv, env)
			return in.command(ctx, slices.Concat(before, []string{w.loader, "/programs/" + exe}, tests.args())...)
		})
	}
	if exe := programs["internal/conformance"]; exe != "" {
		r := base
		r.Suite = "conformance, API: wine's winscard, pcscd"
		if env, err := s.bridge(ctx, w, name); err != nil {
			s.addError(r, err)
		} else {
			in(r, tests{realTests(t), true}, env, exe, "/programs/withpcscd")
		}
		r.Suite = "arguments: checking library"
		if noLibrary != nil {
			s.addError(r, noLibrary)
		} else {
			in(r, tests{names: []string{"TestStub", "TestStubFunctions"}}, stub, exe, "/bin/sh", "-euc", stubSystem, "sh", "/programs/"+library)
		}
		r.Suite = "conformance, API: virtual service"
		if !t.cgo {
			in(r, tests{[]string{"TestVirtual", "TestAPIVirtual", "TestWatchVirtual", "TestPart10Virtual"}, true}, nil, exe)
		}
	}
	for _, pkg := range packages[1:] {
		if exe := programs[pkg]; exe != "" {
			r := base
			r.Suite = pkg
			if pkg == "pcsc" && noLibrary != nil {
				s.addError(r, noLibrary)
				continue
			}
			// In the package's folder, as the tests of the documentation read the sources.
			in(r, tests{}, stub[:1], exe, "/bin/sh", "-euc", `cd "$1"; shift; exec "$@"`, "sh", "/module/"+pkg)
		}
	}
}

// bridge returns the environment in which wine's winscard reaches libpcsclite: that of 32 bits needs a library in between.
func (s *session) bridge(ctx context.Context, w *windows, name string) ([]string, error) {
	if w.recipe != &wine32Recipe {
		return nil, nil
	}
	dir := name + "-bridge"
	if err := os.Mkdir(filepath.Join(s.work, dir), 0o700); err != nil {
		return nil, err
	}
	return []string{"LD_LIBRARY_PATH=/programs/" + dir}, s.compile(ctx, "i686-linux-gnu-gcc", dir+"/libpcsclite.so.1", "-shared", "-fPIC",
		"-fvisibility=hidden", "-Wl,-soname,libpcsclite.so.1", "internal/elsewhere/src/bridge.c")
}

// stubSource is the argument-checking library.
const stubSource = "internal/cstub/src/stub.c"

// withoutBackend are packages whose tests run there too, once: they are the same with either backend, as is the virtual
// service.
var withoutBackend = []string{"generated/winscard", "internal/callbuf", "internal/cstring", "pcsc/virtual"}
