//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package backendpurego

import "golang.org/x/sys/unix"

// secureExec says whether the process has run with other rights than its user's, even if it has given them up since.
func secureExec() bool { return unix.Issetugid() }
