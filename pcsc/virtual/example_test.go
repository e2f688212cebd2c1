package virtual_test

import (
	"context"
	"fmt"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func Example() {
	service := virtual.New()
	reader := service.AddReader("Test Reader")
	reader.Insert(virtual.NewDemoCard())

	ctx, _ := service.EstablishContext(uint32(winscard.ScopeSystem))
	defer service.ReleaseContext(ctx)
	card, protocol, rc := service.Connect(ctx, "Test Reader 00 00", uint32(winscard.ShareShared), uint32(winscard.ProtocolAny))
	if rc != winscard.Success {
		fmt.Println(rc)
		return
	}
	selectDemo := append([]byte{0x00, 0xA4, 0x04, 0x00, 7}, virtual.DemoAID()...)
	response := make([]byte, 258)
	n, rc := service.Transmit(card, protocol, selectDemo, response)
	fmt.Printf("% X, %t\n", response[:n], rc == winscard.Success)
	n, rc = service.Transmit(card, protocol, []byte{0x00, 0xCA, 0x5F, 0x20, 0x00}, response)
	fmt.Printf("%q, %t\n", response[:n-2], rc == winscard.Success)

	reader.Remove()
	_, rc = service.Transmit(card, protocol, selectDemo, response)
	fmt.Println(rc == winscard.ErrRemovedCard)
	// Output:
	// 90 00, true
	// "Ada Lovelace", true
	// true
}

func ExampleNewCard() {
	echo := virtual.NewCard([]byte{0x3B, 0x80, 0x80, 0x01, 0x01}, func(apdu []byte) []byte {
		return append(append([]byte(nil), apdu...), 0x90, 0x00)
	})
	response, err := echo.Transmit([]byte{0x00, 0x01, 0x02, 0x03})
	fmt.Printf("% X %v\n", response, err)
	// Output: 00 01 02 03 90 00 <nil>
}

// A card that never loses its power keeps a verified PIN for the next program, if this one leaves it so.
func ExampleWithPowerOff() {
	service := virtual.New(virtual.WithPowerOff(0))
	reader := service.AddReader("Test Reader")
	reader.Insert(virtual.NewDemoCard())
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	for _, apdus := range [][][]byte{{selectApp, verifyPIN}, {readName}} {
		card, err := pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, apdu := range apdus {
			send(card, apdu)
		}
		if err := card.Disconnect(pcsc.LeaveCard); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 90 00
	// 90 00
	// 41 64 61 20 4C 6F 76 65 6C 61 63 65 90 00
}
