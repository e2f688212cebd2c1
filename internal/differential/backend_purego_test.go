//go:build purego || pcsc_purego || !cgo

package differential

import (
	"testing"

	"github.com/stretchr/testify/require"

	backendpurego "github.com/gopcsc/gopcsc/backend_purego"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

func openBackend(t *testing.T) winscard.Backend {
	backend, err := backendpurego.Open("")
	require.NoError(t, err)
	return backend
}
