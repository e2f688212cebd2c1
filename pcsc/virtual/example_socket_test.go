//go:build unix

package virtual_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"

	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// A program that is not of this one, in whatever language, finds the reader. Here a shell stands for it; any that uses
// libpcsclite will do, such as opensc-tool --list-readers.
func ExampleService_Serve() {
	service := virtual.New()
	service.AddReader("Test Reader").Insert(virtual.NewDemoCard())

	l, err := virtual.Listen("")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- service.Serve(ctx, l, virtual.WithLogger(slog.New(slog.DiscardHandler))) }()

	program := exec.Command("sh", "-c", `test -S "$PCSCLITE_CSOCK_NAME" && ls -l "$PCSCLITE_CSOCK_NAME" | cut -c 1-10`)
	program.Env = append(os.Environ(), l.Env())
	out, err := program.Output()
	fmt.Print(string(out))
	fmt.Println(err)

	cancel()
	fmt.Println(errors.Is(<-served, context.Canceled))
	_, err = os.Stat(l.Addr().String())
	fmt.Println(errors.Is(err, os.ErrNotExist))
	// Output:
	// srw-------
	// <nil>
	// true
	// true
}
