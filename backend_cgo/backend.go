// Package backendcgo is the PC/SC backend that is linked with the platform's library through cgo.
//
// The calls are generated. What the C compiler finds wrong in the spec (a size, an offset, a constant) fails the
// build, with the name of the entry.
package backendcgo

import (
	"errors"
	"runtime"
	"sync"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// Backend is the linked PC/SC library.
type Backend struct {
	winscard.Unimplemented // what the platform does not have
}

var _ winscard.Backend = (*Backend)(nil)

// open makes the backend. It is set by the generated file, which is not there when cgo is off: the tag cgo can be
// given by hand.
var open func() winscard.Backend

// linked is the one backend.
var linked = sync.OnceValue(func() winscard.Backend { return open() })

// Open returns the backend, always the same. The library is the one that the program was linked with, no other can be
// asked for.
func Open(library string) (winscard.Backend, error) {
	if open == nil {
		return nil, errors.New("the program was built with -tags cgo but without cgo on " + runtime.GOOS + "/" +
			runtime.GOARCH + "; build with CGO_ENABLED=1 and a C compiler, or with -tags purego")
	}
	if library != "" {
		return nil, errors.New("the cgo backend is linked with its PC/SC library and can't load another; build with -tags purego to choose one")
	}
	return linked(), nil
}
