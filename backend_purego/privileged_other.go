//go:build !linux

package backendpurego

func secureExec() bool { return false }
