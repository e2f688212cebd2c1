//go:build cgo && !purego && !pcsc_purego

package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	backendcgo "github.com/gopcsc/gopcsc/backend_cgo"
	"github.com/gopcsc/gopcsc/internal/cstub"
)

func TestCgo(t *testing.T) {
	backend, err := backendcgo.Open("")
	require.NoError(t, err)
	Run(t, Real(t, backend))
}

// stubEnv is set in the process that is to be linked with the stub library.
const stubEnv = "CONFORMANCE_STUB"

// TestStub runs again in a process for which the dynamic linker takes the stub
// library for libpcsclite.
func TestStub(t *testing.T) {
	if os.Getenv(stubEnv) != "" {
		backend, err := backendcgo.Open("")
		require.NoError(t, err)
		testStub(t, backend.(*concrete))
		return
	}
	library := cstub.Build(t)
	args := []string{"-test.run=^TestStub$", "-test.v=true"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	if exe, err := os.Executable(); err == nil {
		cmd.Path = exe
	}
	cmd.Env = append(os.Environ(), stubEnv+"=1", "LD_LIBRARY_PATH="+filepath.Dir(library))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestStub")
}

// concrete is the backend's type: called through it, and not through the
// interface, buffers of the caller can lie on the stack.
type concrete = backendcgo.Backend
