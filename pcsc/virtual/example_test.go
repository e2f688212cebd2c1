package virtual_test

import (
	"fmt"

	"github.com/gopcsc/gopcsc/generated/winscard"
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
