// Command connect connects to a card, asks for its status, sends it an APDU and reads attributes of the reader.
//
// It uses buffers of its own for what comes back, so that nothing is allocated call by call, and ends everything
// explicitly, so that no error is lost. Example connect-owned is the short form.
package main

import (
	"context"
	"errors"
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
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	if err != nil {
		return err
	}
	// Close after Release does nothing. It is here for the returns in between.
	defer pc.Close()

	readers, err := pc.ListReadersWithCard(ctx)
	if err != nil {
		return err
	}
	if len(readers) == 0 {
		return errors.New("no reader has a card; insert one")
	}
	fmt.Printf("Readers with a card: %q\n", readers)

	// Shared: other programs may be connected to the card at the same time.
	card, err := pc.Connect(ctx, readers[0], pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		return err
	}
	defer card.Close()

	// In a transaction no other program can come in between. It is not required: the card has the same methods.
	tx, err := card.BeginTransaction(ctx)
	if err != nil {
		return err
	}
	defer tx.Close()

	if err := use(ctx, tx); err != nil {
		return err
	}

	// Each of the three takes or implies a disposition: what becomes of the card. Close would have done the same, as
	// far as the card is concerned.
	if err := tx.End(pcsc.LeaveCard); err != nil {
		return err
	}
	if err := card.Disconnect(pcsc.ResetCard); err != nil {
		return err
	}
	return pc.Release()
}

func use(ctx context.Context, tx *pcsc.Transaction) error {
	status, err := tx.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("Readers:  %q\n", status.Readers)
	fmt.Printf("State:    %v\n", status.State)
	fmt.Printf("Protocol: %v\n", status.Protocol)
	fmt.Printf("ATR:      % X\n", status.ATR)

	// SELECT an application that no card has is a harmless command: the answer is a status word, as a rule 6A82. The
	// Append methods write to a buffer of the caller, here one that holds the largest response to a short APDU.
	buffer := make([]byte, 0, pcsc.MaxBufferSize)
	command := []byte{0x00, 0xA4, 0x04, 0x00, 0x07, 0xF0, 'g', 'o', 'p', 'c', 's', 'c'}
	response, err := tx.TransmitAppend(ctx, buffer, command)
	if err != nil {
		return err
	}
	fmt.Printf("Response: % X\n", response)

	for _, attribute := range []pcsc.Attribute{pcsc.AttrATRString, pcsc.AttrVendorName, pcsc.AttrVendorIFDVersion} {
		// The response has been used, so the buffer is free again.
		switch value, err := tx.GetAttribAppend(ctx, buffer, attribute); {
		case errors.Is(err, errors.ErrUnsupported):
			fmt.Printf("%v: not supported\n", attribute) // few readers have all attributes
		case err != nil:
			fmt.Printf("%v: %v\n", attribute, err) // nor is any other reason one to give up
		default:
			fmt.Printf("%v: %q\n", attribute, value)
		}
	}
	return nil
}
