//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

func init() {
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		closedTerminal = syscall.SIGHUP
	}
}
