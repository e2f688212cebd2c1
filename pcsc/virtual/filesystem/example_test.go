package filesystem_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

func Example() {
	card, err := filesystem.New(filesystem.Config{
		MF: filesystem.DF{
			PINs: []filesystem.PIN{{Reference: 0x01, Value: []byte("1234")}},
			DFs: []filesystem.DF{{
				ID: 0x5000, Name: []byte("\xF0example"),
				EFs: []filesystem.EF{{ID: 0x5001, SFI: 1, Data: []byte("hello"), Read: filesystem.Verified(0x01)}},
			}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	service := virtual.New()
	reader := service.AddReader("Test Reader")
	reader.Insert(card)

	// What follows is the client.
	ctx := context.Background()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	c, err := pc.Connect(ctx, reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	transport := iso7816.NewTransport(c)
	do := func(cmd iso7816.Command, err error) []byte {
		if err != nil {
			fmt.Println(err)
			return nil
		}
		response, err := transport.Do(ctx, cmd)
		var sw iso7816.StatusWord
		if errors.As(err, &sw) {
			fmt.Println(cmd, "-", sw)
		}
		return response
	}
	do(iso7816.SelectAID([]byte("\xF0example")))
	do(iso7816.ReadBinarySFI(1, 0, 256))
	do(iso7816.Verify(0x01, []byte("0000")))
	do(iso7816.Verify(0x01, []byte("1234")))
	fmt.Printf("%s\n", do(iso7816.ReadBinarySFI(1, 0, 256)))
	// Output:
	// 00B08100 READ BINARY Ne=256 - the security status is not satisfied (6982)
	// 00200001 VERIFY Nc=4 - the counter is at 2 (63C2)
	// hello
}

func ExampleCard_Contents() {
	card, err := filesystem.New(filesystem.Config{
		MF: filesystem.DF{EFs: []filesystem.EF{{ID: 0x2F02, SFI: 2, Size: 4}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = card.Transmit([]byte{0x00, 0xD6, 0x82, 0x01, 0x02, 0xAA, 0xBB}) // UPDATE BINARY
	contents, ok := card.Contents(0x2F02)
	fmt.Printf("% X %t\n", contents[0], ok)
	// Output: 00 AA BB 00 true
}

func ExampleNew_faults() {
	_, err := filesystem.New(filesystem.Config{
		MF: filesystem.DF{EFs: []filesystem.EF{{ID: 0x2F02, Read: filesystem.Verified(0x01)}}},
	})
	fmt.Println(err)
	// Output: filesystem: MF.EFs[0].Read: there is no PIN 01 here
}
