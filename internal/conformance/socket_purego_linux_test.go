//go:build purego || pcsc_purego || !cgo

package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	backendpurego "github.com/gopcsc/gopcsc/backend_purego"
)

// The virtual service passes behind the library that pcscd passes behind.
func TestSocketPurego(t *testing.T) {
	backend, err := backendpurego.Open("")
	require.NoError(t, err)
	Run(t, overSocket(t, backend))
}
