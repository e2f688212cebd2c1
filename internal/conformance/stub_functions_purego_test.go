//go:build purego || pcsc_purego || !cgo

package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	backendpurego "github.com/gopcsc/gopcsc/backend_purego"
	"github.com/gopcsc/gopcsc/internal/cstub"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// The libraries of a process that has the backend of Windows on another system.
const (
	windowsEnv    = "CONFORMANCE_WINDOWS"
	oldWindowsEnv = "CONFORMANCE_OLD_WINDOWS"
)

// TestStubFunctions calls what Windows alone has. On Linux it runs in a process that is built with the backend and the
// constants of Windows in place of its own, on an ELF library that has the layouts of Windows, after TestStub, which
// calls there what every system has.
func TestStubFunctions(t *testing.T) {
	library := os.Getenv(windowsEnv)
	switch {
	case runtime.GOOS == "windows":
		library = cstub.Build(t)
	case library == "":
		asWindows(t)
		return
	default:
		backend, err := backendpurego.Open(os.Getenv(oldWindowsEnv))
		require.NoError(t, err)
		t.Run("OldWindows", func(t *testing.T) { testOldWindows(t, backend.(*concrete)) })
	}
	backend, err := backendpurego.Open(library)
	require.NoError(t, err)
	testStubFunctions(t, backend.(*concrete))
}

// asWindows runs the test again, with the Windows files of the backend and of the contract in place of this system's.
func asWindows(t *testing.T) {
	if runtime.GOOS != "linux" {
		pcscdtest.Skip(t, "the library is built for Linux and Windows alone")
	}
	if testing.Short() {
		pcscdtest.Skip(t, "builds the tests once more")
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	for ours, theirs := range map[string]string{
		"backend_purego/zbackend_pcsclite.go":      "backend_purego/zbackend_windows.go",
		"backend_purego/slice_linux.go":            "backend_purego/slice_windows.go",
		"generated/winscard/constants_pcsclite.go": "generated/winscard/constants_windows.go",
	} {
		src, err := os.ReadFile(filepath.Join(root, theirs))
		require.NoError(t, err)
		src = regexp.MustCompile(`(?m)^//go:build .*$`).ReplaceAll(src, []byte("//go:build linux"))
		file := filepath.Join(dir, filepath.Base(theirs))
		require.NoError(t, os.WriteFile(file, src, 0o600))
		replace[filepath.Join(root, ours)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, overlay, 0o600))
	cmd := exec.Command("go", "test", "-overlay", file, "-count=1", "-run=^(TestStub|TestStubFunctions)$", "-v", ".")
	library := cstub.BuildWindows(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0",
		cstub.LibraryEnv+"="+library, windowsEnv+"="+library, oldWindowsEnv+"="+cstub.BuildOldWindows(t))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestStub/FullCapacity")
	require.Contains(t, string(out), "--- PASS: TestStubFunctions/IntroduceCardType")
}
