//go:build unix && !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package backendpurego

// secureExec is false where only the numbers of the user and group can be asked for.
func secureExec() bool { return false }
