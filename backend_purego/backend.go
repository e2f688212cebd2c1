// Package backendpurego is the PC/SC backend that opens the platform's library at run time: no C toolchain and no
// headers to build it, nothing loaded before the first use.
//
// The calls are generated; this file decides which library is loaded.
package backendpurego

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// LibraryVariable is the environment variable that names another library to load. It is ignored in a process that
// runs with more rights than its user.
const LibraryVariable = "PCSC_LIBRARY"

// Backend is a loaded PC/SC library.
type Backend struct {
	winscard.Unimplemented // what the platform does not have

	path string
	sym  [numSymbols]uintptr
}

var _ winscard.Backend = (*Backend)(nil)

// Library returns the name that the library was loaded by.
func (b *Backend) Library() string { return b.path }

// symbol is a function that a library exports.
type symbol struct {
	name     string
	optional bool // a missing symbol is an error of its call only
}

// pointerBits is the width of a pointer; constant, so that the compiler drops the layouts of the other width.
const pointerBits = 32 << (^uintptr(0) >> 63)

var errUnsupported = errors.New("libraries can't be loaded at run time on " + runtime.GOOS + "/" + runtime.GOARCH +
	" in this build")

var loaded struct {
	sync.Mutex
	by map[string]*Backend
}

// Open loads a PC/SC library, or returns it if it is loaded already. An empty name stands for $PCSC_LIBRARY, if that
// is set, or else for the one standard library of the platform. Any other name is an absolute path, or a bare file
// name that the system's loader looks up; a path relative to the current directory is refused.
//
// A library stays loaded until the program ends: calls may be under way in it.
func Open(library string) (winscard.Backend, error) {
	if !supported {
		err := errUnsupported
		if flags := buildFlags(runtime.GOOS); flags != "" {
			err = fmt.Errorf("%w; build with CGO_ENABLED=1, or with -tags pcsc_purego %s", err, flags)
		} else {
			err = fmt.Errorf("%w; build with CGO_ENABLED=1", err)
		}
		return nil, err
	}
	name, install := standardLibrary(runtime.GOOS)
	if v := os.Getenv(LibraryVariable); library == "" && v != "" && !privileged() {
		library = v
	}
	if library != "" {
		if err := checkName(library); err != nil {
			return nil, err
		}
		name, install = library, ""
	}

	loaded.Lock()
	defer loaded.Unlock()
	if b := loaded.by[name]; b != nil {
		return b, nil
	}
	b, err := load(name)
	if err != nil {
		if install != "" {
			err = fmt.Errorf("%w; %s", err, install)
		}
		return nil, err
	}
	if loaded.by == nil {
		loaded.by = map[string]*Backend{}
	}
	loaded.by[name] = b
	return b, nil
}

// checkName refuses what would be looked for in the current directory.
func checkName(name string) error {
	switch {
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("the name of the PC/SC library %q has a NUL in it", name)
	case filepath.IsAbs(name), filepath.Base(name) == name && name != "." && name != "..":
		return nil
	}
	return fmt.Errorf("the PC/SC library %q is relative to the current directory, where nothing is loaded from; give an absolute path", name)
}

// load opens a library and finds its symbols. All that are missing are named in one error.
func load(name string) (*Backend, error) {
	h, err := dlopen(name)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", name, err)
	}
	b := &Backend{path: name}
	var missing []string
	for i, s := range symbols {
		b.sym[i], err = dlsym(h, s.name)
		if (err != nil || b.sym[i] == 0) && !s.optional {
			missing = append(missing, s.name)
		}
	}
	if len(missing) > 0 {
		dlclose(h)
		return nil, fmt.Errorf("%s is no PC/SC library, or too old a one: it lacks %s", name, strings.Join(missing, ", "))
	}
	return b, nil
}

// bytesPtr returns the address of a buffer, nil for an empty one.
func bytesPtr(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[0])
}

// clampLen brings a length into a DWORD of any platform, without the value that stands for SCARD_AUTOALLOCATE. PC/SC
// has no calls with buffers so large; it refuses them.
func clampLen[T any](s []T) uint32 {
	return uint32(min(uint64(len(s)), math.MaxUint32-1))
}

// goString copies a C string.
func goString(p uintptr) string {
	if p == 0 {
		return ""
	}
	// Not unsafe.Pointer(p): the memory is C's, and vet can't know that.
	start := *(*unsafe.Pointer)(unsafe.Pointer(&p))
	n := 0
	for *(*byte)(unsafe.Add(start, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(start), n))
}
