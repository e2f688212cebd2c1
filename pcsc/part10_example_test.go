package pcsc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// padReader is a virtual reader with a PIN pad, at which the user enters a wrong PIN.
func padReader() (*pcsc.Context, string) {
	const verify = 0x42000DB1
	service := virtual.New()
	reader := service.AddReader("PIN Pad")
	reader.Insert(virtual.NewDemoCard())
	reader.SetController(virtual.ControlFunc(func(code uint32, in []byte) ([]byte, error) {
		switch code {
		case pcsc.CtlGetFeatureRequest:
			return []byte{byte(pcsc.FeatureVerifyPINDirect), 4, 0x42, 0x00, 0x0D, 0xB1}, nil
		case verify:
			return []byte{0x63, 0xC2}, nil
		}
		return nil, errors.ErrUnsupported
	}))
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		panic(err)
	}
	return pc, reader.Name()
}

// The user enters the PIN at the reader. It never comes to this program.
func ExampleCard_VerifyPINDirect() {
	pc, reader := padReader()
	defer pc.Close()
	card, err := pc.Connect(context.Background(), reader, pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer card.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the reader gives up then, too
	defer cancel()
	err = card.VerifyPINDirect(ctx, pcsc.PINVerify{
		Block:     pcsc.PINBlockASCII(8), // 8 bytes, of which the PIN fills the first
		MinDigits: 4,
		MaxDigits: 8,
		Messages:  pcsc.PINDefaultMessages,
		Language:  0x0409, // English
		APDU:      []byte{0x00, 0x20, 0x00, 0x01, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
	})
	var status pcsc.PINStatus
	switch {
	case err == nil:
		fmt.Println("verified")
	case errors.Is(err, errors.ErrUnsupported):
		fmt.Println("this reader has no keys: ask for the PIN here")
	case errors.Is(err, pcsc.ErrCancelledByUser):
		fmt.Println("cancelled")
	case errors.As(err, &status):
		tries, _ := status.TriesLeft()
		fmt.Println(status, "/", tries)
	default:
		fmt.Println(err)
	}
	// Output: status 63C2, wrong PIN, 2 tries left / 2
}

// A structure that makes no sense is refused before anything is sent to the reader.
func ExampleCard_ModifyPINDirect() {
	pc, reader := padReader()
	defer pc.Close()
	ctx := context.Background()
	card, err := pc.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer card.Close()

	change := pcsc.PINModify{
		Block:      pcsc.PINBlockASCII(8),
		MinDigits:  4,
		MaxDigits:  8,
		AskOld:     true,
		ConfirmNew: true,
		NewOffset:  4, // the new PIN follows the old one, which has 8 bytes
		APDU:       append([]byte{0x00, 0x24, 0x00, 0x01, 0x10}, bytes.Repeat([]byte{0xFF}, 16)...),
	}
	var wrong *pcsc.Error
	if errors.As(card.ModifyPINDirect(ctx, change), &wrong) {
		fmt.Println(wrong.Detail)
	}
	change.NewOffset = 8
	fmt.Println(errors.Is(card.ModifyPINDirect(ctx, change), errors.ErrUnsupported)) // this reader only verifies
	// Output:
	// PINModify.NewOffset: the block of the new PIN, at 4, overlaps that of the old one, at 0
	// true
}

func ExampleCard_Features() {
	pc, reader := padReader()
	defer pc.Close()
	ctx := context.Background()
	card, err := pc.Connect(ctx, reader, pcsc.ShareDirect, pcsc.ProtocolUndefined)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer card.Close()
	features, err := card.Features(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for feature, code := range features.All() {
		fmt.Printf("%v is 0x%08X\n", feature, code)
	}
	properties, err := features.Properties(ctx, card)
	if errors.Is(err, errors.ErrUnsupported) {
		fmt.Println("no properties")
	} else if err == nil && properties.Has(pcsc.PropertyMaxPINSize) {
		fmt.Println("at most", properties.MaxPINSize, "digits")
	}
	// Output:
	// FEATURE_VERIFY_PIN_DIRECT is 0x42000DB1
	// no properties
}
