//go:build !(cgo && !purego && !pcsc_purego && (linux || freebsd || netbsd || darwin || windows || openbsd || dragonfly || solaris) && !android)

package bench

import (
	backendpurego "github.com/gopcsc/gopcsc/backend_purego"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

// BackendName is the backend that the program was built with.
const BackendName = "purego"

func open(library string) (winscard.Backend, error) { return backendpurego.Open(library) }
