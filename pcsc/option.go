package pcsc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// An Option changes how [EstablishContext] works.
type Option func(*options)

type options struct {
	ctx     context.Context
	backend winscard.Backend
	given   bool // WithBackend was given, be it with nil
	library string

	tracer     Tracer
	traceBytes bool
}

// WithBackend makes the context use b in place of the backend chosen at build time: a virtual service in tests, a
// remote one, or a wrapper that logs.
func WithBackend(b winscard.Backend) Option {
	return func(o *options) { o.backend, o.given = b, true }
}

// WithLibrary names the PC/SC library to load: an absolute path, or a bare file name which the system looks for in
// its own folders. A relative path is refused, as it would make the library depend on the current directory. The
// empty string is the platform's own library.
//
// A program built with cgo is linked to its library; see package backendcgo for what it does with the name.
func WithLibrary(path string) Option {
	return func(o *options) { o.library = path }
}

// WithContext bounds [EstablishContext] by ctx: when ctx ends first, its error is returned. It bounds nothing that
// comes later.
func WithContext(ctx context.Context) Option {
	return func(o *options) { o.ctx = ctx }
}

// BackendName is the backend chosen at build time: "cgo", "purego", or "none" where there is neither.
func BackendName() string { return backendName }

// open returns the backend to use, traced if that is wanted.
func (o *options) open() (winscard.Backend, error) {
	b, err := o.choose()
	if err != nil || o.tracer == nil {
		return b, err
	}
	return newTraceBackend(b, o.tracer, o.traceBytes), nil
}

func (o *options) choose() (winscard.Backend, error) {
	if o.given {
		switch {
		case o.backend == nil:
			return nil, &Error{Op: opEstablishContext, Code: ErrInvalidParameter, Detail: "WithBackend(nil)"}
		case o.library != "":
			return nil, &Error{Op: opEstablishContext, Code: ErrInvalidParameter,
				Detail: "WithLibrary does not go with WithBackend"}
		}
		return o.backend, nil
	}
	if err := checkLibrary(o.library); err != nil {
		return nil, &Error{Op: opEstablishContext, Code: ErrInvalidParameter, Detail: err.Error()}
	}
	b, err := openBackend(o.library)
	if err == nil {
		return b, nil
	}
	var code Code
	switch {
	case err == error(ErrUnavailable):
		return nil, &Error{Op: opEstablishContext, Code: ErrUnavailable}
	case errors.As(err, &code):
	default:
		code = ErrUnavailable
	}
	return nil, &Error{Op: opEstablishContext, Code: code, Detail: err.Error(), cause: err}
}

// checkLibrary refuses what is neither an absolute path nor a bare name.
func checkLibrary(library string) error {
	switch {
	case strings.ContainsRune(library, 0):
		return fmt.Errorf("library %q contains a NUL", library)
	case library == "" || filepath.IsAbs(library):
		return nil
	// A volume without a root, as in C:winscard.dll, is relative to that volume's current directory.
	case strings.ContainsAny(library, `/\`) || filepath.VolumeName(library) != "" || library == "." || library == "..":
		return fmt.Errorf("library %q is a relative path: give an absolute path or a bare file name", library)
	}
	return nil
}
