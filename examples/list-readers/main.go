// Command list-readers lists the readers that are connected.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/gopcsc/gopcsc/pcsc"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	// A Context is the connection to the system's smart card service.
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	if err != nil {
		return err
	}
	defer pc.Close()

	readers, err := pc.ListReaders(ctx)
	if err != nil {
		return err
	}
	// That there is no reader is not an error.
	if len(readers) == 0 {
		fmt.Println("No readers are connected.")
	}
	for _, reader := range readers {
		fmt.Println(reader)
	}
	return nil
}
