// Command connect-owned wraps a card and the context it comes from in one value with one Close, as programs do that
// pass cards around.
//
// Everything that comes back is allocated by the package; example connect uses buffers of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/gopcsc/gopcsc/pcsc"
)

// A Card is a connected card that owns its context. The methods of pcsc.Card are its own.
type Card struct {
	*pcsc.Card
	pc *pcsc.Context
}

// Open connects to the first card that it finds.
func Open(ctx context.Context) (*Card, error) {
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	readers, err := pc.ListReadersWithCard(ctx)
	if err == nil && len(readers) == 0 {
		err = errors.New("no reader has a card; insert one")
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	card, err := pc.Connect(ctx, readers[0], pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	return &Card{card, pc}, nil
}

// Close disconnects the card, which resets it, and releases its context.
func (c *Card) Close() error { return errors.Join(c.Card.Close(), c.pc.Close()) }

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	card, err := Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, card.Close()) }()

	// The transaction ends with the function, whichever way that is left.
	return card.Transact(ctx, func(tx *pcsc.Transaction) error {
		status, err := tx.Status(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("Reader:   %s\n", tx.Reader())
		fmt.Printf("State:    %v\n", status.State)
		fmt.Printf("Protocol: %v\n", tx.ActiveProtocol())
		fmt.Printf("ATR:      % X\n", status.ATR)

		response, err := tx.Transmit(ctx, []byte{0x00, 0xA4, 0x04, 0x00, 0x07, 0xF0, 'g', 'o', 'p', 'c', 's', 'c'})
		if err != nil {
			return err
		}
		fmt.Printf("Response: % X\n", response)

		// Few readers have all attributes: that one is missing is no reason to give up.
		if vendor, err := tx.GetAttrib(ctx, pcsc.AttrVendorName); err == nil {
			fmt.Printf("Vendor:   %s\n", vendor)
		} else {
			fmt.Println("Vendor:   unknown")
		}
		return nil
	})
}
