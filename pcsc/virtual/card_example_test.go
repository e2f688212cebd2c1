package virtual_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// T stands for the *testing.T that a test has.
type T struct{}

func (T) Helper()                           {}
func (T) Cleanup(func())                    {}
func (T) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (T) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

var t T

func ExampleCardFunc() {
	service := virtual.New()
	service.AddReader("Test Reader").Insert(virtual.CardFunc(func(apdu []byte) ([]byte, error) {
		if len(apdu) > 1 && apdu[1] == 0xA4 { // SELECT
			return []byte{0x90, 0x00}, nil
		}
		return []byte{0x6D, 0x00}, nil
	}))
	fmt.Println(service.Readers()[0].Name())
	// Output: Test Reader 00 00
}

func ExampleNewScript() {
	card := virtual.NewScript(t, `
		00A40400 07 F0676F70637363:    9000
		00200001 04 *:                 63C2     # any PIN is wrong
		00CA5F20 00: 41 64 61          9000
	`)

	response, _ := card.Transmit([]byte("\x00\xA4\x04\x00\x07\xF0gopcsc"))
	fmt.Printf("%X\n", response)
	_, _ = card.Transmit([]byte("\x00\x20\x00\x02\x041234")) // fails the test: another PIN than expected
	// Output:
	// 9000
	// virtual: the card got another command than its script has in line 3:
	// --- expected
	// +++ sent
	// @@ -1,2 +1,2 @@
	// -header 00 20 00 01
	// +header 00 20 00 02
	//  rest   masked
	// What follows the header may hold a PIN and is not shown; WithUnsafePINs shows it.
}

// A script that every connection of a client begins anew, since that resets the card.
func ExampleWithRewind() {
	card, err := virtual.LoadScript(strings.NewReader("00A40400: 9000\n00840000 08: 0102030405060708 9000"), virtual.WithRewind())
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		response, _ := card.Transmit([]byte{0x00, 0xA4, 0x04, 0x00})
		fmt.Printf("%X\n", response)
		card.Reset()
	}
	// Output:
	// 9000
	// 9000
}

func ExampleRecorder() {
	var file bytes.Buffer // in a test, a file in testdata
	recorder := virtual.NewRecorder(&file)
	card := recorder.Card(virtual.NewDemoCard())
	_, _ = card.Transmit([]byte("\x00\xA4\x04\x00\x07\xF0gopcsc"))
	_, _ = card.Transmit([]byte("\x00\x20\x00\x01\x041234"))
	fmt.Print(file.String())

	player := virtual.NewPlayer(t, &file)
	_, _ = player.Transmit([]byte("\x00\xA4\x04\x00\x07\xF0gopcsc"))
	response, _ := player.Transmit([]byte("\x00\x20\x00\x01\x045678"))
	fmt.Printf("%X\n", response)
	// Output:
	// atr: 3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22
	// 00A40400 07F0676F70637363: 9000
	// 00200001 *: 9000
	// 9000
}

// What was recorded answers again. A PIN was not recorded, so that any will do.
func ExampleNewPlayer() {
	card := virtual.NewPlayer(t, strings.NewReader(`
		atr: 3B 00
		00200001 *: 9000
		00840000 04: 01020304 9000
	`))
	response, _ := card.Transmit([]byte("\x00\x20\x00\x01\x041234"))
	fmt.Printf("%X\n", response)
	response, _ = card.Transmit([]byte{0x00, 0x84, 0x00, 0x00, 0x04})
	fmt.Printf("%X\n", response)
	// Output:
	// 9000
	// 010203049000
}

// A card with a PIN, to begin with.
func ExampleDemoCard() {
	card := virtual.NewDemoCard()
	service := virtual.New()
	service.AddReader("Test Reader").Insert(card)
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	c, err := pc.Connect(context.Background(), service.Readers()[0].Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	send(c, selectApp)
	send(c, []byte{0x00, 0x20, 0x00, 0x01, 4, '9', '9', '9', '9'})
	fmt.Println(card.Tries(), "tries left")
	// Output:
	// 90 00
	// 63 C2
	// 2 tries left
}

// A real card is recorded where the program sends its APDUs: card stands for a *pcsc.Card.
func ExampleRecorder_Transmitter() {
	var card virtual.Transmitter = real{}
	recorder := virtual.NewRecorder(os.Stdout)
	recorder.ATR([]byte{0x3B, 0x00}) // from Card.Status

	card = recorder.Transmitter(card)
	_, _ = card.Transmit(context.Background(), []byte{0x00, 0x84, 0x00, 0x00, 0x04})
	if err := recorder.Err(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// atr: 3B 00
	// 00840000 04: 01020304 9000
}

type real struct{}

func (real) Transmit(context.Context, []byte) ([]byte, error) {
	return []byte{1, 2, 3, 4, 0x90, 0x00}, nil
}

func ExampleLoadScript() {
	card, err := virtual.LoadScript(strings.NewReader("00A40400: 9000\n00B0000O: 9000"))
	fmt.Println(card, err)
	// Output:
	// <nil> virtual: script that can't be read:
	// line 2: command: "0O" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)
}
