//go:build purego || pcsc_purego || !cgo

package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	backendpurego "github.com/gopcsc/gopcsc/backend_purego"
	"github.com/gopcsc/gopcsc/internal/cstub"
)

func TestPurego(t *testing.T) {
	backend, err := backendpurego.Open("")
	require.NoError(t, err)
	Run(t, Real(t, backend))
}

func TestStub(t *testing.T) {
	backend, err := backendpurego.Open(cstub.Build(t))
	require.NoError(t, err)
	testStub(t, backend.(*concrete))
}

// concrete is the backend's type: called through it, and not through the
// interface, buffers of the caller can lie on the stack.
type concrete = backendpurego.Backend
