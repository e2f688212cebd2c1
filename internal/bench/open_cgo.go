//go:build cgo && !purego && !pcsc_purego && (linux || freebsd || netbsd || darwin || windows || openbsd || dragonfly || solaris) && !android

package bench

import (
	backendcgo "github.com/gopcsc/gopcsc/backend_cgo"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

// BackendName is the backend that the program was built with.
const BackendName = "cgo"

func open(library string) (winscard.Backend, error) { return backendcgo.Open(library) }
