package pcsc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// Windows knows cards by name, and their providers by GUID. Elsewhere the methods say that they are not supported.
func ExampleContext_GetProviderID() {
	service := virtual.New()
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	provider, err := c.GetProviderID(context.Background(), "Identity Device (NIST SP 800-73 [PIV])")
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		fmt.Println("no database of cards here")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(provider)
	}
	// Output: no database of cards here
}

// A program that starts with the system waits for the service of Windows. Elsewhere there is nothing to wait for that way,
// and a context can be established or not; Watch waits on every system.
func ExampleWaitStarted() {
	service := virtual.New() // on Windows none needs to be given
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := pcsc.WaitStarted(ctx, pcsc.WithBackend(service))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		log.Fatal("no reader was attached for a minute")
	case err != nil && !errors.Is(err, errors.ErrUnsupported):
		log.Fatal(err)
	}
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println("the service runs")
	// Output: the service runs
}

func ExampleParseGUID() {
	id, err := pcsc.ParseGUID("6f5a3f9b-0c1d-4e2a-8b7c-112233445566")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id)
	fmt.Printf("%X\n", id.Data1)
	// Output:
	// {6F5A3F9B-0C1D-4E2A-8B7C-112233445566}
	// 6F5A3F9B
}

// The second byte of the answer to reset is left out of the comparison.
func ExampleContext_LocateCardsByATR() {
	service := virtual.New()
	service.AddReader("Desk").Insert(virtual.NewCard([]byte{0x3B, 0x80, 0x01, 0x81}, nil))
	service.AddReader("Door")
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	states := []pcsc.ReaderState{pcsc.NewReaderState("Desk 00 00"), pcsc.NewReaderState("Door 01 00")}
	err = c.LocateCardsByATR(context.Background(), []pcsc.ATRMask{{
		ATR:  []byte{0x3B, 0x00, 0x01, 0x81},
		Mask: []byte{0xFF, 0x00, 0xFF, 0xFF},
	}}, states)
	if err != nil {
		log.Fatal(err) // errors.ErrUnsupported on most systems but Windows
	}
	for _, s := range states {
		fmt.Println(s.Reader, s.EventState&pcsc.StateATRMatch != 0)
	}
	// Output:
	// Desk 00 00 true
	// Door 01 00 false
}
