//go:build purego || pcsc_purego || !cgo

package conformance

import (
	backendpurego "github.com/gopcsc/gopcsc/backend_purego"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

// openBackend opens the backend that package pcsc has in this build.
func openBackend() (winscard.Backend, error) { return backendpurego.Open("") }
