//go:build cgo && !purego && !pcsc_purego

package conformance

import (
	backendcgo "github.com/gopcsc/gopcsc/backend_cgo"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

// openBackend opens the backend that package pcsc has in this build.
func openBackend() (winscard.Backend, error) { return backendcgo.Open("") }
