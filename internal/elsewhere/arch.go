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
)

// An arch is a processor that Linux programs are run for.
type arch struct {
	goarch string
	debian string // its name at Debian
	suite  string // Debian's release that its packages are from; empty for the machine's own
	triple string
	qemu   string
	loader string   // below the root
	env    []string // for Go
	// toolchain of Go that purego needs there.
	toolchain string
	// service are the packages of a pcscd of its own, for a processor whose byte order isn't the machine's: the socket
	// protocol has the host's. A processor whose release is fixed has the pcscd of that release, from the root of the
	// emulators: the protocol has versions too, which have to be the same.
	service []string
}

// fixed is the release of what the machine's own release doesn't have.
const fixed = "trixie"

// libraryPackages are what a client needs, and what it is linked with.
var libraryPackages = []string{"libc6", "libgcc-s1", "libpcsclite1", "libpcsclite-dev"}

var arches = []*arch{
	{goarch: "386", debian: "i386", triple: "i686-linux-gnu", qemu: "qemu-i386", loader: "lib/ld-linux.so.2"},
	{goarch: "arm64", debian: "arm64", triple: "aarch64-linux-gnu", qemu: "qemu-aarch64", loader: "lib/ld-linux-aarch64.so.1"},
	{goarch: "arm", debian: "armhf", triple: "arm-linux-gnueabihf", qemu: "qemu-arm", loader: "lib/ld-linux-armhf.so.3",
		env: []string{"GOARM=7"}},
	{goarch: "ppc64le", debian: "ppc64el", triple: "powerpc64le-linux-gnu", qemu: "qemu-ppc64le", loader: "lib64/ld64.so.2"},
	// A release architecture since trixie.
	{goarch: "riscv64", debian: "riscv64", suite: fixed, triple: "riscv64-linux-gnu", qemu: "qemu-riscv64",
		loader: "lib/ld-linux-riscv64-lp64d.so.1"},
	{goarch: "s390x", debian: "s390x", triple: "s390x-linux-gnu", qemu: "qemu-s390x", loader: "lib/ld64.so.1", toolchain: "go1.27.1",
		service: []string{"pcscd", "vsmartcard-vpcd", "libsystemd0", "libudev1", "libpolkit-gobject-1-0", "libglib2.0-0", "libqrencode4",
			"libcap2", "liblzma5", "libzstd1", "liblz4-1", "libgcrypt20", "libgpg-error0", "libpcre2-8-0", "libffi8", "libmount1",
			"libblkid1", "libselinux1", "zlib1g"}},
}

// archPackages are the machine's packages for all of it.
func archPackages() []string {
	packages := []string{"musl-tools"}
	for _, a := range arches {
		packages = append(packages, "gcc-"+a.triple, "libc6-dev-"+a.debian+"-cross")
	}
	return packages
}

func (a *arch) packages() []string {
	if a == emulators {
		return a.service
	}
	return slices.Concat(libraryPackages, a.service)
}

// emulators is the root with qemu, of the machine's processor. Its release is fixed: in the one before, threads of a 386
// program share their thread-local memory, which Go's don't survive.
var emulators = &arch{goarch: "amd64", debian: "amd64", suite: fixed, triple: "x86_64-linux-gnu", loader: "lib64/ld-linux-x86-64.so.2",
	service: []string{"qemu-user", "libc6", "pcscd", "vsmartcard-vpcd", "libsystemd0", "libudev1", "libpolkit-gobject-1-0",
		"libglib2.0-0t64", "libatomic1", "libcap2", "libpcre2-8-0", "libffi8", "libmount1", "libblkid1", "libselinux1", "zlib1g"}}

func testArch(ctx context.Context, s *session) error {
	m, err := findMirror(ctx)
	if err != nil {
		return err
	}
	s.announce(m)
	if _, err := s.build(ctx, &target{goos: "linux", goarch: "amd64"}, "withpcscd", "build", withpcscd); err != nil {
		return err
	}
	// Roots are fetched while programs for others are built.
	var fetches sync.WaitGroup
	defer fetches.Wait()
	withEmulators := sync.OnceValue(func() error {
		var err error
		if s.emulators, err = s.root(ctx, m, emulators); err != nil {
			return fmt.Errorf("qemu: %w", err)
		}
		return nil
	})
	no32 := s.runs32(ctx)
	var jobs []func()
	for _, a := range arches {
		if !s.wanted("linux/"+a.goarch, "dlopen") && !s.wanted("linux/"+a.goarch, "cgo") {
			continue
		}
		natively := a.goarch == "386" && no32 == nil
		withRoot := sync.OnceValues(func() (string, error) {
			root, err := s.root(ctx, m, a)
			if err == nil && !natively {
				err = withEmulators()
			}
			return root, err
		})
		fetches.Go(func() { withRoot() })
		for _, cgo := range []bool{false, true} {
			base := result{Platform: "linux/" + a.goarch, Backend: backend(cgo), Suite: "all", How: a.qemu}
			if natively {
				base.How = "natively"
			}
			if !s.wanted(base.Platform, base.Backend) {
				continue
			}
			jobs = append(jobs, func() {
				root, err := withRoot()
				if err != nil {
					s.addError(base, err)
					return
				}
				s.testOn(ctx, a, root, a.target(root, cgo), base)
			})
		}
	}
	s.parallel(append(jobs, func() { s.testMusl(ctx) }))
	return nil
}

const withpcscd = "./internal/pcscdtest/withpcscd"

// announce says what is going to be fetched.
func (s *session) announce(m *mirror) {
	fmt.Printf("arch: keeps roots of Debian packages, unpacked and not installed, in %s\n", s.cache)
	for _, a := range append([]*arch{emulators}, arches...) {
		s.announceRoot(m, a)
	}
	for _, a := range arches {
		if a.toolchain != "" {
			fmt.Printf("  %s: uses the Go toolchain %s, which the go command fetches (70 MB) unless it is there\n", a.goarch, a.toolchain)
		}
	}
	fmt.Printf("  of the machine: %s\n", strings.Join(archPackages(), " "))
}

func (s *session) announceRoot(m *mirror, a *arch) {
	name, mb := a.goarch, 3
	switch {
	case a == emulators:
		name, mb = "emulators", 95
	case len(a.service) > 0:
		mb = 7
	}
	if _, err := os.Stat(s.rootPath(m, a)); err == nil {
		fmt.Printf("  %s: has %s\n", name, s.rootPath(m, a))
		return
	}
	fmt.Printf("  %s: fetches the index of Debian %s for %s (9 MB) and %d MB of packages: %s\n", name, m.suiteOf(a), a.debian, mb,
		strings.Join(a.packages(), " "))
}

func (a *arch) target(root string, cgo bool) *target {
	t := &target{goos: "linux", goarch: a.goarch, cgo: cgo, cc: a.triple + "-gcc", env: slices.Clone(a.env)}
	if cgo {
		t.env = append(t.env, "PKG_CONFIG_SYSROOT_DIR="+root,
			"PKG_CONFIG_LIBDIR="+filepath.Join(root, "usr/lib", a.multiarch(), "pkgconfig"))
		return t
	}
	// What Go takes for the loader is not always Debian's.
	t.ldflags = "-I /" + a.loader
	t.toolchain = a.toolchain
	return t
}

// multiarch is the name of the folder of libraries.
func (a *arch) multiarch() string {
	if a.goarch == "386" {
		return "i386-linux-gnu"
	}
	return a.triple
}

// runner is what runs a program of the processor.
func (s *session) runner(a *arch, root string, natively bool, env ...string) []string {
	if natively {
		libraries := []string{filepath.Join(root, "lib", a.multiarch()), filepath.Join(root, "usr/lib", a.multiarch())}
		for _, e := range env {
			if dir, ok := strings.CutPrefix(e, "LD_LIBRARY_PATH="); ok {
				libraries = append([]string{dir}, libraries...)
			}
		}
		return []string{filepath.Join(root, a.loader), "--library-path", strings.Join(libraries, ":")}
	}
	words := []string{filepath.Join(s.emulators, "usr/bin", a.qemu), "-L", root}
	for _, e := range env {
		words = append(words, "-E", e)
	}
	return words
}

// testOn runs the suites for a processor.
func (s *session) testOn(ctx context.Context, a *arch, root string, t *target, base result) {
	natively := base.How == "natively"
	exe, err := s.build(ctx, t, "conformance-"+a.goarch+"-"+t.backend(), "test", "-c", "./internal/conformance")
	if err != nil {
		s.addError(base, err)
		return
	}
	exe = filepath.Join(s.work, exe)
	run := func(r result, names []string, before, runner, env []string) {
		tests := tests{names, !natively}
		s.test(ctx, r, tests, func(ctx context.Context) *exec.Cmd {
			words := slices.Concat(before, runner, []string{exe}, tests.args())
			cmd := exec.CommandContext(ctx, words[0], words[1:]...)
			cmd.Dir = filepath.Join(s.module, "internal/conformance")
			cmd.Env = slices.Concat(os.Environ(), []string{"PCSC_MUST_RUN=1"}, env)
			return cmd
		})
	}

	r := base
	r.Suite = "conformance, API: pcscd"
	before := []string{filepath.Join(s.work, "withpcscd")}
	var env []string
	switch {
	case len(a.service) > 0:
		r.Suite += " of " + a.goarch
		emulator := s.runner(a, root, false)
		server, err := s.build(ctx, &target{goos: "linux", goarch: a.goarch}, "withpcscd-"+a.goarch+"-"+t.backend(), "build", withpcscd)
		if err != nil {
			s.addError(r, err)
			return
		}
		before = append(slices.Clone(emulator), filepath.Join(s.work, server))
		env = []string{"PCSCDTEST_ROOT=" + root, "PCSCDTEST_RUNNER=" + strings.Join(emulator, " ")}
	case a.suite != "":
		r.Suite += " of " + a.suite
		loader := s.runner(emulators, s.emulators, true)
		env = []string{"PCSCDTEST_ROOT=" + s.emulators, "PCSCDTEST_RUNNER=" + strings.Join(loader, " ")}
	}
	run(r, realTests(t), before, s.runner(a, root, natively), env)

	r = base
	r.Suite = "arguments: checking library"
	// A folder each, as the library's file name is that of the real one.
	dir := filepath.Join(s.work, "library-"+a.goarch+"-"+t.backend())
	library := filepath.Join(dir, "libpcsclite.so.1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.addError(r, err)
		return
	}
	if err := s.compileLibrary(ctx, t.cc, filepath.Join(root, "usr/include/PCSC"), library); err != nil {
		s.addError(r, err)
		return
	}
	env = []string{"CSTUB_LIBRARY=" + library, "CONFORMANCE_STUB=1"}
	var guest []string
	if t.cgo {
		guest = []string{"LD_LIBRARY_PATH=" + dir}
	}
	run(r, []string{"TestStub"}, nil, s.runner(a, root, natively, guest...), env)

	if t.cgo {
		return // the virtual service has no backend: once will do
	}
	r = base
	r.Suite = "conformance: virtual service"
	run(r, []string{"TestVirtual"}, nil, s.runner(a, root, natively), nil)
}

// realTests are those of the backend and the API on a real service.
func realTests(t *target) []string {
	if t.cgo {
		return []string{"TestCgo", "TestAPIReal"}
	}
	return []string{"TestPurego", "TestAPIReal"}
}

// compileLibrary compiles the argument-checking library as a libpcsclite.
func (s *session) compileLibrary(ctx context.Context, cc, headers, library string) error {
	name, err := filepath.Rel(s.work, library)
	if err != nil {
		return err
	}
	return s.compile(ctx, cc, name, "-shared", "-fPIC", "-pthread", "-fvisibility=hidden", "-Wl,-soname,libpcsclite.so.1", "-I"+headers, stubSource)
}

// testMusl runs a program without cgo with the loader of musl.
func (s *session) testMusl(ctx context.Context) {
	base := result{Platform: "linux/amd64 musl", Backend: "dlopen", Suite: "arguments: checking library", How: "natively"}
	if !s.wanted(base.Platform, base.Backend) {
		return
	}
	const loader = "/lib/ld-musl-x86_64.so.1"
	library := filepath.Join(s.work, "library-musl", "libpcsclite.so.1")
	err := os.MkdirAll(filepath.Dir(library), 0o700)
	if _, absent := os.Stat(loader); err == nil && absent != nil {
		err = fmt.Errorf("%w: %w", errAbsent, absent)
	}
	if err == nil {
		err = s.compileLibrary(ctx, "musl-gcc", "/usr/include/PCSC", library)
	}
	if err != nil {
		s.addError(base, err)
		return
	}
	t := &target{goos: "linux", goarch: "amd64", ldflags: "-I " + loader}
	exe, err := s.build(ctx, t, "conformance-musl", "test", "-c", "./internal/conformance")
	if err != nil {
		s.addError(base, err)
		return
	}
	stub := tests{names: []string{"TestStub"}}
	s.test(ctx, base, stub, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(s.work, exe), stub.args()...)
		cmd.Dir = filepath.Join(s.module, "internal/conformance")
		cmd.Env = append(os.Environ(), "PCSC_MUST_RUN=1", "CSTUB_LIBRARY="+library)
		return cmd
	})
}
