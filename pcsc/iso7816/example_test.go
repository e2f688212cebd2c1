package iso7816_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/iso7816/tlv"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// insert connects to a card in a virtual reader.
func insert(card virtual.Card) (*pcsc.Context, *pcsc.Card, error) {
	service := virtual.New()
	reader := service.AddReader("Example Reader")
	reader.Insert(card)
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		return nil, nil, err
	}
	connected, err := pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	return pc, connected, err
}

// Selecting an application, reading a data object and verifying a PIN, in one transaction.
func Example() {
	ctx := context.Background()
	pc, card, err := insert(virtual.NewDemoCard())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	defer card.Close()

	err = card.Transact(ctx, func(tx *pcsc.Transaction) error {
		t := iso7816.NewTransport(tx)
		sel, err := iso7816.SelectAID(virtual.DemoAID())
		if err != nil {
			return err
		}
		if _, err := t.Do(ctx, sel); err != nil {
			return err
		}
		get, err := iso7816.GetData(virtual.DemoTagHolder, 256)
		if err != nil {
			return err
		}
		holder, err := t.Do(ctx, get)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", holder)

		verify, err := iso7816.Verify(1, []byte("0000"))
		if err != nil {
			return err
		}
		fmt.Println(verify)
		_, err = t.Do(ctx, verify)
		return err
	})
	var sw iso7816.StatusWord
	if errors.As(err, &sw) {
		tries, _ := sw.TriesLeft()
		fmt.Println("tries left:", tries)
	}
	fmt.Println(err)
	// Output:
	// Ada Lovelace
	// 00200001 VERIFY Nc=4
	// tries left: 2
	// iso7816: 00200001 VERIFY: the counter is at 2 (63C2)
}

// A response that comes in parts, from a card that has to be asked for each.
func ExampleTransport() {
	ctx := context.Background()
	left := []byte("\x6F\x12\x84\x10A long file name")
	pc, card, err := insert(virtual.NewCard([]byte{0x3B, 0x80, 0x01, 0x81}, func(apdu []byte) []byte {
		fmt.Printf("% X\n", apdu)
		if apdu[1] == iso7816.InsSelect {
			return []byte{0x61, 12}
		}
		n := min(int(apdu[4]), len(left)) // GET RESPONSE
		answer := append([]byte(nil), left[:n]...)
		if left = left[n:]; len(left) > 0 {
			return append(answer, 0x61, byte(len(left)))
		}
		return append(answer, 0x90, 0x00)
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	defer card.Close()

	sel, err := iso7816.SelectFile(iso7816.FileMF)
	if err != nil {
		fmt.Println(err)
		return
	}
	fci, err := iso7816.NewTransport(card).Do(ctx, sel)
	if err != nil {
		fmt.Println(err)
		return
	}
	objects, err := tlv.Decode(fci)
	if err != nil {
		fmt.Println(err)
		return
	}
	name, _ := tlv.Find(objects, 0x6F, 0x84)
	fmt.Printf("%s\n", name.Value)
	// Output:
	// 00 A4 00 00 02 3F 00 00
	// 00 C0 00 00 0C
	// 00 C0 00 00 08
	// A long file name
}

func ExampleStatusWord() {
	var err error = iso7816.StatusWord(0x6982)
	fmt.Println(err)
	fmt.Println(errors.Is(err, iso7816.ErrSecurityStatusNotSatisfied))
	fmt.Println(errors.Is(err, iso7816.ErrCommandNotAllowed)) // 69XX
	fmt.Println(errors.Is(err, iso7816.ErrFileNotFound))
	// Output:
	// the security status is not satisfied (6982)
	// true
	// true
	// false
}

func ExampleCommand_Bytes() {
	read, err := iso7816.ReadBinarySFI(2, 0, 256)
	if err != nil {
		fmt.Println(err)
		return
	}
	read.CLA, err = iso7816.ChannelClass(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	apdu, err := read.Bytes()
	fmt.Printf("% X %v\n", apdu, err)
	// Output: 01 B0 82 00 00 <nil>
}

// A command that is longer than a short APDU goes out as one if the card can do it, and as a chain if not.
func ExampleNewTransport() {
	ctx := context.Background()
	pc, card, err := insert(virtual.NewCard([]byte{0x3B, 0x80, 0x01, 0x81}, func(apdu []byte) []byte {
		fmt.Printf("% X, %d bytes\n", apdu[:4], len(apdu))
		return []byte{0x90, 0x00}
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	defer card.Close()

	update, err := iso7816.UpdateBinary(0, make([]byte, 300))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = iso7816.NewTransport(card, iso7816.WithExtendedLength()).Do(ctx, update)
	fmt.Println(err)
	_, err = iso7816.NewTransport(card).Do(ctx, update)
	fmt.Println(err)
	// Output:
	// 00 D6 00 00, 307 bytes
	// <nil>
	// 10 D6 00 00, 260 bytes
	// 00 D6 00 00, 50 bytes
	// <nil>
}

// What comes back from pcsc.Card.Transmit, without a Transport.
func ExampleParseResponse() {
	ctx := context.Background()
	pc, card, err := insert(virtual.NewDemoCard())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	defer card.Close()
	apdu, err := card.Transmit(ctx, []byte{0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x00, 0x01})
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := iso7816.ParseResponse(apdu)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response)
	fmt.Println(errors.Is(response.Err(), iso7816.ErrFileNotFound))
	// Output:
	// 0 bytes, file or application not found (6A82)
	// true
}
