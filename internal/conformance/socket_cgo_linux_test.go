//go:build cgo && !purego && !pcsc_purego

package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	backendcgo "github.com/gopcsc/gopcsc/backend_cgo"
)

// The virtual service passes behind the library that pcscd passes behind.
func TestSocketCgo(t *testing.T) {
	backend, err := backendcgo.Open("")
	require.NoError(t, err)
	Run(t, overSocket(t, backend))
}
