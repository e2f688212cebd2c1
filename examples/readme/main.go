// Command readme is the program of the README: it sends an APDU to each card and prints the answer.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/gopcsc/gopcsc/pcsc"
)

func main() {
	ctx := context.Background()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	check(err)
	defer pc.Close()
	readers, err := pc.ListReadersWithCard(ctx)
	check(err)
	for _, reader := range readers {
		card, err := pc.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
		check(err)
		response, err := card.Transmit(ctx, []byte{0x00, 0xA4, 0x04, 0x00, 0x00}) // SELECT
		check(err)
		fmt.Printf("%s: % X\n", reader, response)
		check(card.Close())
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
