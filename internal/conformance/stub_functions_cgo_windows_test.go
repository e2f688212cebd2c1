//go:build cgo && !purego && !pcsc_purego

package conformance

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	backendcgo "github.com/gopcsc/gopcsc/backend_cgo"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// TestStubFunctions calls what Windows alone has, in a process whose winscard.dll is the stub library.
func TestStubFunctions(t *testing.T) {
	if os.Getenv(stubEnv) == "" {
		pcscdtest.Skip(t, "the winscard.dll of this process is not said to be the stub library: set %s", stubEnv)
	}
	backend, err := backendcgo.Open("")
	require.NoError(t, err)
	testStubFunctions(t, backend.(*concrete))
}
