//go:build unix

package backendpurego

import "os"

// privileged reports whether the process has more rights than the user who started it, so that the user's environment
// can't be trusted to name code to run.
func privileged() bool {
	return os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() || secureExec()
}
