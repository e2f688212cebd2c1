//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// windowsPackages are the machine's packages.
var windowsPackages = []string{"debootstrap", "gcc-mingw-w64-x86-64", "gcc-mingw-w64-i686"}

// wineRecipe is the system with wine. Its pcscd and the libpcsclite that wine calls are of one version, as they have to.
var wineRecipe = recipe{
	name:     "wine",
	suite:    "trixie",
	packages: []string{"wine64", "pcscd", "vsmartcard-vpcd"},
	finish:   makePrefix,
	download: 250, disk: 2100, time: 3 * time.Minute,
}

// wine32Recipe is the same where the machine runs 32-bit programs.
var wine32Recipe = recipe{
	name:     "wine32",
	suite:    "trixie",
	foreign:  []string{"i386"},
	packages: []string{"wine64", "wine32:i386", "pcscd", "vsmartcard-vpcd", "libpcsclite1:i386"},
	finish:   makePrefix,
	download: 500, disk: 3600, time: 5 * time.Minute,
}

// wineEnv is the environment of wine. Its own messages go nowhere, those of the programs stay.
var wineEnv = []string{"WINEPREFIX=/root/wine", "WINEDEBUG=-all", "XDG_RUNTIME_DIR=/tmp", "WINEDLLOVERRIDES=mscoree,mshtml="}

const makePrefix = `
export WINEPREFIX=/root/wine WINEDEBUG=-all XDG_RUNTIME_DIR=/tmp WINEDLLOVERRIDES=mscoree,mshtml=
/usr/lib/wine/wine64 wineboot -i
/usr/lib/wine/wineserver -w
test -f $WINEPREFIX/drive_c/windows/system32/winscard.dll`

// stubPrefix makes the argument-checking library the system's winscard.dll, in a prefix that is gone afterwards: it is
// then what a program is linked with, and what one finds that looks for the system's.
const stubPrefix = `
cp -a /root/wine /tmp/wine
export WINEPREFIX=/tmp/wine WINEDLLOVERRIDES='winscard=n;mscoree,mshtml='
cp "$1" /tmp/wine/drive_c/windows/$2/winscard.dll
shift 2
exec "$@"`

// A windows is one architecture of Windows.
type windows struct {
	goarch, cc  string
	loader      string
	systemDir   string   // for programs of this architecture, as seen from outside
	libraryArgs []string // for the compiler
}

var windowses = []windows{
	{"amd64", "x86_64-w64-mingw32-gcc", "/usr/lib/wine/wine64", "system32", nil},
	// --kill-at: winscard.dll's names are bare, although its functions are stdcall.
	{"386", "i686-w64-mingw32-gcc", "/usr/lib/wine/wine", "syswow64", []string{"-static-libgcc", "-Wl,--kill-at"}},
}

func testWindows(ctx context.Context, s *session) error {
	r := &wineRecipe
	no32 := s.runs32(ctx)
	if no32 == nil {
		r = &wine32Recipe
	}
	y, err := s.system(ctx, r)
	if err != nil {
		return err
	}
	y.binds = []string{s.work + ":/work"}
	if _, err := s.build(ctx, &target{goos: "linux", goarch: "amd64"}, "withpcscd", "build", "./internal/pcscdtest/withpcscd"); err != nil {
		return err
	}
	version, err := y.run(ctx, "/usr/lib/wine/wine64", "--version")
	if err != nil {
		return err
	}
	for i := range windowses {
		w := &windowses[i]
		for _, cgo := range []bool{false, true} {
			t := &target{goos: "windows", goarch: w.goarch, cgo: cgo, cc: w.cc}
			if w.goarch == "386" && no32 != nil {
				s.notRun(t, no32)
				continue
			}
			if err := s.testWindows(ctx, y, w, t, firstLine(version)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) notRun(t *target, reason error) {
	s.add(result{Platform: t.goos + "/" + t.goarch, Backend: t.backend(), Suite: "all", Outcome: notRun, Reason: firstLine([]byte(reason.Error()))})
}

func (s *session) testWindows(ctx context.Context, y *system, w *windows, t *target, how string) error {
	base := result{Platform: t.goos + "/" + t.goarch, Backend: t.backend(), How: how}
	if !s.wanted(base.Platform, base.Backend) {
		return nil
	}
	name := fmt.Sprintf("windows-%s-%s", w.goarch, t.backend())
	library := "pcscstub-" + w.goarch + ".dll"
	args := append([]string{"-shared"}, w.libraryArgs...)
	if err := s.compile(ctx, w.cc, library, append(args, stubSource)...); err != nil {
		return err
	}
	programs := map[string]string{}
	for _, pkg := range append([]string{"internal/conformance"}, windowsUnits...) {
		exe, err := s.build(ctx, t, name+"-"+filepath.Base(pkg)+".exe", "test", "-c", "./"+pkg)
		if err != nil {
			base.Suite, base.Outcome, base.Reason = pkg, failed, err.Error()
			s.add(base)
			continue
		}
		if _, err := os.Stat(filepath.Join(s.work, exe)); err != nil {
			continue // no tests
		}
		programs[pkg] = exe
	}
	in := func(env []string, args ...string) func(context.Context) *exec.Cmd {
		return func(ctx context.Context) *exec.Cmd {
			in := *y
			in.env = slices.Concat([]string{"PCSC_MUST_RUN=1"}, wineEnv, env)
			return in.command(ctx, args...)
		}
	}
	if exe := programs["internal/conformance"]; exe != "" {
		r := base
		r.Suite = "conformance, API: wine's winscard, pcscd"
		s.test(ctx, r, in(nil, "/work/withpcscd", w.loader, "/work/"+exe, "-test.v", "-test.short",
			"-test.run=^(TestPurego|TestCgo|TestAPIReal)$"))
		r.Suite = "arguments: checking library"
		stub := []string{"CSTUB_LIBRARY=Z:\\work\\" + library, "CONFORMANCE_STUB=1"}
		s.test(ctx, r, in(stub, "/bin/sh", "-euc", stubPrefix, "sh", "/work/"+library, w.systemDir,
			w.loader, "/work/"+exe, "-test.v", "-test.run=^TestStub"))
		r.Suite = "conformance, API: virtual service"
		s.test(ctx, r, in(nil, w.loader, "/work/"+exe, "-test.v", "-test.short",
			"-test.run=^(TestVirtual|TestAPIVirtual|TestWatchVirtual|TestPart10Virtual)$"))
	}
	for _, pkg := range windowsUnits {
		if exe := programs[pkg]; exe != "" {
			r := base
			r.Suite = pkg
			// The tests of the documentation read the sources, which aren't there.
			s.test(ctx, r, in([]string{"CSTUB_LIBRARY=Z:\\work\\" + library}, w.loader, "/work/"+exe, "-test.v",
				"-test.skip=^(TestExamples|TestPackageComment)$"))
		}
	}
	return nil
}

// stubSource is the argument-checking library.
const stubSource = "internal/cstub/src/stub.c"

// windowsUnits are packages whose tests run there too.
var windowsUnits = []string{"generated/winscard", "internal/callbuf", "internal/cstring", "pcsc", "pcsc/virtual"}
