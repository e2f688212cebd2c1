// Command pcsc lists and watches smart card readers, explains what they and the cards in them can do, sends APDUs to cards
// and shows what package pcsc can do.
//
// See pcsc help for its commands and exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, env{interactive: isTerminal(os.Stdin)}))
}

// isTerminal says whether a person may be at the other end. It is a guess that can be wrong in favour of the person,
// so whatever waits for one has an end.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
