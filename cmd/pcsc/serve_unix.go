//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// listen serves a virtual service until ctx ends.
func (a *app) listen(ctx context.Context, service *virtual.Service, socket string) error {
	l, err := virtual.Listen(socket)
	if err != nil {
		return err
	}
	defer l.Close()
	for i, reader := range service.Readers() {
		card := "no card"
		if reader.Card() != nil {
			card = "card"
		}
		fmt.Fprintf(a.stdout, "%d: %s, %s\n", i, printable(reader.Name()), card)
	}
	fmt.Fprintf(a.stdout, "For programs that are to use them:\n  export %s\nCtrl-C ends this.\n", l.Env())
	if a.stdout.err != nil {
		return nil // nobody knows the socket
	}
	err = service.Serve(ctx, l, virtual.WithLogger(slog.New(slog.NewTextHandler(a.stderr, nil))))
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
