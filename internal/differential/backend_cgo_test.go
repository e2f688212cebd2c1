//go:build cgo && !purego && !pcsc_purego

package differential

import (
	"testing"

	"github.com/stretchr/testify/require"

	backendcgo "github.com/gopcsc/gopcsc/backend_cgo"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

func openBackend(t *testing.T) winscard.Backend {
	backend, err := backendcgo.Open("")
	require.NoError(t, err)
	return backend
}
