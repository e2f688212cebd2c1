//go:build !unix

package main

import (
	"context"

	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func (a *app) listen(context.Context, *virtual.Service, string) error {
	return &failure{exit: exitError, what: "pcsc-lite and its socket are not on this system",
		todo: "pcsc --virtual works on all systems, and so does package virtual in a Go program"}
}
