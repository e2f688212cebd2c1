package atr_test

import (
	"errors"
	"fmt"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

func ExampleParse() {
	// The answer of a YubiKey 5.
	a, err := atr.Parse([]byte{
		0x3B, 0xFD, 0x13, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x15,
		0x80, 0x73, 0xC0, 0x21, 0xC0, 0x57, 0x59, 0x75, 0x62, 0x69, 0x4B, 0x65, 0x79, 0x40,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	rate, t1 := a.Rate(), a.T1Parameters()
	fmt.Println(a.Protocols())
	fmt.Println(rate)
	fmt.Printf("%.0f bit/s\n", rate.BitRate(rate.FMax))
	fmt.Println("at most", t1.IFSC, "bytes, answer within", t1.BWT(rate, rate.FMax))
	capabilities, _ := a.Historical().Capabilities()
	fmt.Println("extended length:", capabilities.ExtendedLength)
	// Output:
	// [T=1]
	// Fi=372, Di=4, fmax 5 MHz
	// 53763 bit/s
	// at most 254 bytes, answer within 143.0526ms
	// extended length: true
}

func ExampleParse_truncated() {
	a, err := atr.Parse([]byte{0x3B, 0xFD, 0x13, 0x00, 0x00, 0x81, 0x31})
	fmt.Println(err)
	var syntax *atr.SyntaxError
	if errors.As(err, &syntax) {
		fmt.Println("offset", syntax.Offset)
	}
	fmt.Println(a.Protocols(), a.Rate()) // what came before
	// Output:
	// atr: byte 7: TD2 announces TA3, but the answer to reset ends after 7 bytes
	// offset 7
	// [T=1] Fi=372, Di=4, fmax 5 MHz
}

func ExampleParseStrict() {
	// A card that leaves out its check byte.
	b := []byte{0x3B, 0x80, 0x01}
	a, err := atr.Parse(b)
	fmt.Println(err, a.TCK.Valid())
	_, err = atr.ParseStrict(b)
	fmt.Println(err)
	// Output:
	// <nil> false
	// atr: byte 3: TCK is missing: it is required as a protocol other than T=0 is announced
}

func ExampleATR_Explain() {
	// The answer of an OpenPGP card.
	a, err := atr.Parse([]byte{
		0x3B, 0xDA, 0x18, 0xFF, 0x81, 0xB1, 0xFE, 0x75, 0x1F, 0x03,
		0x00, 0x31, 0xC5, 0x73, 0xC0, 0x01, 0x40, 0x00, 0x90, 0x00, 0x0C,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(a.Explain())
	// Output:
	// Answer to reset: 3B DA 18 FF 81 B1 FE 75 1F 03 00 31 C5 73 C0 01 40 00 90 00 0C
	// TS   3B  direct convention
	// T0   DA  TA1 TC1 TD1 follow, 10 historical bytes
	// TA1  18  Fi=372, Di=12, fmax 5 MHz: 31 clock cycles per ETU, 161290 bit/s at 5 MHz
	// TC1  FF  extra guard time N=255: 12 ETU between characters for T=0, 11 ETU for T=1
	// TD1  81  T=1; TD2 follows
	// TD2  B1  T=1; TA3 TB3 TD3 follow
	// TA3  FE  T=1: IFSC, the card receives 254 bytes at a time
	// TB3  75  T=1: BWI=7, CWI=5: block waiting time 9.142s, character waiting time 43 ETU, 266.6µs, at 5 MHz
	// TD3  1F  T=15, for global interface bytes; TA4 follows
	// TA4  03  clock stop not supported, class A (5 V), B (3 V)
	//      00 31 C5 73 C0 01 40 00 90 00  historical bytes
	//      00  category indicator: COMPACT-TLV data objects and a status indicator
	//      31 C5  card service data: selects applications by full and partial DF name, files read with GET DATA, no MF
	//      73 C0 01 40  card capabilities: selects DFs by full name, partial name; one-time write, data unit of 2 quartets; extended Lc and Le, no logical channels
	//      00 90 00  status indicator: life cycle 00, no information; SW 9000
	// TCK  0C  check byte, correct
	// Protocols: T=1; negotiable mode, starts with T=1
}

func ExampleATR_StorageCard() {
	a, err := atr.Parse([]byte{
		0x3B, 0x8F, 0x80, 0x01, 0x80, 0x4F, 0x0C,
		0xA0, 0x00, 0x00, 0x03, 0x06, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x6A,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if card, ok := a.StorageCard(); ok {
		fmt.Println(card.Name)
		fmt.Println(card.Standard)
	}
	// Output:
	// MIFARE Classic 1K
	// ISO/IEC 14443 A, part 3
}

func ExampleATR_String() {
	a, _ := atr.Parse([]byte{0x3B, 0x81, 0x80, 0x01, 0x80, 0x80})
	fmt.Println(a)
	fmt.Println(a.Contactless())
	// Output:
	// 3B 81 80 01 80 80: direct convention, T=0 T=1, Fi=372, Di=1, fmax 5 MHz, IFSC 32
	// contactless card with APDUs (ISO/IEC 14443-4)
}

// Historical bytes that do not come from an answer to reset, but from the answer to select of a contactless card.
func ExampleParseHistorical() {
	h := atr.ParseHistorical([]byte{0x80, 0x31, 0x80, 0x73, 0xC0, 0x21, 0xC0})
	fmt.Println(h.Format)
	capabilities, ok := h.Capabilities()
	fmt.Println(capabilities.CommandChaining, capabilities.ExtendedLength, ok)
	// Output:
	// COMPACT-TLV data objects
	// true true true
}

// What a faster rate is worth, by its TA1.
func ExampleRateOf() {
	for _, rate := range []atr.Rate{atr.DefaultRate(), atr.RateOf(0x96)} {
		fmt.Printf("%v: %v a bit, %.0f bit/s\n", rate, rate.ETU(1, 4*atr.Megahertz), rate.BitRate(4*atr.Megahertz))
	}
	// Output:
	// Fi=372, Di=1, fmax 5 MHz: 93µs a bit, 10753 bit/s
	// Fi=512, Di=32, fmax 5 MHz: 4µs a bit, 250000 bit/s
}
