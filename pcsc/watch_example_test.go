package pcsc_test

import (
	"context"
	"fmt"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// The function Watch needs no context, and no service yet.
func ExampleWatch() {
	service := virtual.New() // with WithBackend it stands for the system's
	service.Stop()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for event, err := range pcsc.Watch(ctx, pcsc.WithBackend(service), pcsc.WithReaders("Door 00 00")) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%v %q\n", event.Kind, event.Reader)
		switch event.Kind {
		case pcsc.ServiceDown:
			service.Start()
			service.AddReader("Door")
			service.AddReader("Desk")
		case pcsc.ReaderAdded:
			return
		}
	}
	// Output:
	// service down ""
	// service up ""
	// reader added "Door 00 00"
}

func ExampleContext_Watch() {
	// Without these lines, and without the option, this is about the system's readers.
	service := virtual.New()
	reader := service.AddReader("Test Reader")
	reader.Insert(virtual.NewDemoCard())

	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for event, err := range pc.Watch(ctx) {
		if err != nil {
			if ctx.Err() == nil {
				fmt.Println(err)
			}
			break
		}
		switch event.Kind {
		case pcsc.CardInserted:
			fmt.Println(event.Reader, "has a card, its ATR has", len(event.ATR), "bytes")
			if event.Initial {
				reader.Remove() // somebody pulls the card and puts it back before the loop goes on
				reader.Insert(virtual.NewDemoCard())
			} else {
				cancel()
			}
		default:
			fmt.Println(event.Reader, event.Kind)
		}
	}
	// Output:
	// Test Reader 00 00 reader added
	// Test Reader 00 00 has a card, its ATR has 16 bytes
	// Test Reader 00 00 card removed
	// Test Reader 00 00 has a card, its ATR has 16 bytes
}

func ExampleContext_WaitCard() {
	service := virtual.New()
	service.AddReader("Empty Reader")
	service.AddReader("Other Reader").Insert(virtual.NewDemoCard())
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()

	reader, _, err := pc.WaitCard(context.Background())
	fmt.Println(reader, err)
	// Output: Other Reader 01 00 <nil>
}
