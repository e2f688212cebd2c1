//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// endSignals are the signals that end a command in good order. A terminal that is closed is among them, unless the
// program was told to go on without it, as by nohup.
func endSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
