package pcsc_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// The virtual service stands for the system's, which is there without WithBackend.
func exampleService() pcsc.Option {
	service := virtual.New()
	service.AddReader("Desk").Insert(virtual.NewDemoCard())
	service.AddReader("Door")
	return pcsc.WithBackend(service)
}

func Example() {
	ctx := context.Background()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, exampleService())
	if err != nil {
		log.Fatal(err)
	}
	defer pc.Close()
	for reader, err := range pc.Readers(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		card, err := pc.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
		if errors.Is(err, pcsc.ErrNoSmartcard) {
			fmt.Println(reader, "is empty")
			continue
		} else if err != nil {
			log.Fatal(err)
		}
		response, err := card.Transmit(ctx, append([]byte{0x00, 0xA4, 0x04, 0x00, byte(len(virtual.DemoAID()))}, virtual.DemoAID()...))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: % X\n", reader, response[len(response)-2:])
		if err := card.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// Desk 00 00: 90 00
	// Door 01 00 is empty
}

func ExampleCard_Status() {
	ctx := context.Background()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, exampleService())
	if err != nil {
		log.Fatal(err)
	}
	defer pc.Close()
	card, err := pc.Connect(ctx, "Desk 00 00", pcsc.ShareShared, pcsc.ProtocolT1)
	if err != nil {
		log.Fatal(err)
	}
	defer card.Close()
	status, err := card.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.State, status.Protocol)
	// Output: present|powered|negotiable T1
}

func ExampleContext_GetStatusChange() {
	ctx := context.Background()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, exampleService())
	if err != nil {
		log.Fatal(err)
	}
	defer pc.Close()
	// A state that says nothing yet is a change at once.
	states := []pcsc.ReaderState{pcsc.NewReaderState("Desk 00 00"), pcsc.NewReaderState("Door 01 00")}
	if err := pc.GetStatusChange(ctx, states); err != nil {
		log.Fatal(err)
	}
	for i := range states {
		fmt.Println(states[i].Reader, states[i].EventState&pcsc.StatePresent != 0)
		states[i].SyncCurrentState() // from here on, a wait ends when something else is so
	}
	// Output:
	// Desk 00 00 true
	// Door 01 00 false
}

func ExampleError() {
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, exampleService())
	if err != nil {
		log.Fatal(err)
	}
	defer pc.Close()
	_, err = pc.Connect(context.Background(), "Door 01 00", pcsc.ShareShared, pcsc.ProtocolAny)
	var e *pcsc.Error
	if errors.As(err, &e) {
		fmt.Println(e.Op, e.Reader, e.Code.Name())
	}
	fmt.Println(errors.Is(err, pcsc.ErrNoSmartcard))
	// Output:
	// SCardConnect Door 01 00 SCARD_E_NO_SMARTCARD
	// true
}
