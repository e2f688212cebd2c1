//go:build !unix

package backendpurego

// privileged is false: Windows has no set-user-id programs.
func privileged() bool { return false }
