package pcsc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// demoReader is a service with a reader that holds a card.
func demoReader() (*pcsc.Context, *virtual.Reader) {
	service := virtual.New()
	reader := service.AddReader("Demo")
	reader.Insert(virtual.NewDemoCard())
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		panic(err)
	}
	return pc, reader
}

func ExampleCard_Transact() {
	pc, reader := demoReader()
	defer pc.Close()
	ctx := context.Background()
	card, err := pc.Connect(ctx, reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer card.Close()

	// Another program uses the card, and leaves it reset.
	other, err := pc.Connect(ctx, reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	other.Close()

	selectDemo := append([]byte{0x00, 0xA4, 0x04, 0x00, 7}, virtual.DemoAID()...)
	var name []byte
	readName := func(tx *pcsc.Transaction) error {
		// From the beginning each time: a reset undoes what an earlier run has selected.
		if _, err := tx.Transmit(ctx, selectDemo); err != nil {
			return err
		}
		response, err := tx.Transmit(ctx, []byte{0x00, 0xCA, 0x5F, 0x20, 0x00})
		if err != nil {
			return err
		}
		name = response[:len(response)-2]
		return nil
	}
	err = card.Transact(ctx, readName)
	fmt.Println(errors.Is(err, pcsc.ErrResetCard))
	err = card.Transact(ctx, readName, pcsc.RetryAfterReset(3))
	fmt.Printf("%s, %v\n", name, err)
	// Output:
	// true
	// Ada Lovelace, <nil>
}

// With BeginTransaction a transaction lasts as long as the program wants; Card.Transact is simpler where a function is
// enough.
func ExampleCard_BeginTransaction() {
	pc, reader := demoReader()
	defer pc.Close()
	ctx := context.Background()
	card, err := pc.Connect(ctx, reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer card.Close()

	tx, err := card.BeginTransaction(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Close() // has no effect after End
	response, err := tx.Transmit(ctx, append([]byte{0x00, 0xA4, 0x04, 0x00, 7}, virtual.DemoAID()...))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("% X\n", response)
	fmt.Println(tx.End(pcsc.LeaveCard))
	// Output:
	// 90 00
	// <nil>
}

func ExampleCard_Attributes() {
	pc, reader := demoReader()
	defer pc.Close()
	ctx := context.Background()
	// The reader is asked, so that no card is needed.
	card, err := pc.Connect(ctx, reader.Name(), pcsc.ShareDirect, pcsc.ProtocolUndefined)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer card.Disconnect(pcsc.LeaveCard)
	table, err := card.Attributes(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	absent := 0
	for _, v := range table {
		switch {
		case v.Absent():
			absent++
		case v.Err != nil:
			fmt.Println(v.ID, "failed:", v.Err)
		default:
			fmt.Println(v.ID, "is", v)
		}
	}
	fmt.Println(absent > 0)

	version, err := card.VendorIFDVersion(ctx)
	fmt.Println(version.Major, err)
	_, err = card.MaxClk(ctx)
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	// Output:
	// SCARD_ATTR_VENDOR_NAME is gopcsc
	// SCARD_ATTR_VENDOR_IFD_VERSION is 1.0.0
	// SCARD_ATTR_CHANNEL_ID is usb 257
	// SCARD_ATTR_MAXINPUT is 65548 byte
	// SCARD_ATTR_ICC_PRESENCE is 2
	// SCARD_ATTR_ICC_INTERFACE_STATUS is true
	// SCARD_ATTR_ATR_STRING is 3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22
	// SCARD_ATTR_DEVICE_FRIENDLY_NAME is Demo 00 00
	// SCARD_ATTR_DEVICE_SYSTEM_NAME is Demo 00 00
	// true
	// 1 <nil>
	// true
}

func ExampleWithTracer() {
	service := virtual.New()
	reader := service.AddReader("Demo")
	reader.Insert(virtual.NewDemoCard())

	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == "duration") {
				return slog.Attr{} // they differ each time
			}
			return a
		},
	}))
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service), pcsc.WithTracer(pcsc.SlogTracer(logger)))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	card, err := pc.Connect(ctx, reader.Name(), pcsc.ShareShared, pcsc.ProtocolT1)
	if err != nil {
		fmt.Println(err)
		return
	}
	card.Transmit(ctx, append([]byte{0x00, 0xA4, 0x04, 0x00, 7}, virtual.DemoAID()...))
	reader.Remove()
	card.Transmit(ctx, []byte{0x00, 0xCA, 0x5F, 0x20, 0x00})
	card.Close()
	pc.Close()
	// Output:
	// level=DEBUG msg=SCardEstablishContext code=SCARD_S_SUCCESS args.scope=2 sent=0 received=0
	// level=DEBUG msg=SCardConnect reader="Demo 00 00" code=SCARD_S_SUCCESS args.shareMode=2 args.preferredProtocols=2 sent=0 received=0
	// level=DEBUG msg=SCardTransmit reader="Demo 00 00" code=SCARD_S_SUCCESS args.pci=2 sent=12 received=2
	// level=DEBUG msg=SCardTransmit reader="Demo 00 00" code=SCARD_W_REMOVED_CARD args.pci=2 sent=5 received=0
	// level=DEBUG msg=SCardDisconnect reader="Demo 00 00" code=SCARD_S_SUCCESS args.disposition=1 sent=0 received=0
	// level=DEBUG msg=SCardReleaseContext code=SCARD_S_SUCCESS sent=0 received=0
}

// How many calls a program makes.
func ExampleTracerFunc() {
	service := virtual.New()
	service.AddReader("Demo")
	calls := map[string]int{}
	var mu sync.Mutex
	count := pcsc.TracerFunc(func(call pcsc.TraceCall) {
		mu.Lock()
		defer mu.Unlock()
		calls[call.Op]++
	})
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service), pcsc.WithTracer(count))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		if _, err := pc.ListReaders(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	pc.Close()
	mu.Lock()
	defer mu.Unlock()
	fmt.Println(calls)
	// Output: map[SCardEstablishContext:1 SCardListReaders:3 SCardReleaseContext:1]
}
