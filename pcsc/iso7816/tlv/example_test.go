package tlv_test

import (
	"fmt"

	"github.com/gopcsc/gopcsc/pcsc/iso7816/tlv"
)

func ExampleDecode() {
	fci := []byte("\x6F\x10\x84\x07\xA0\x00\x00\x00\x04\x10\x10\xA5\x05\x50\x03Pay")
	objects, err := tlv.Decode(fci)
	if err != nil {
		fmt.Println(err)
		return
	}
	if label, ok := tlv.Find(objects, 0x6F, 0xA5, 0x50); ok {
		fmt.Printf("%s\n", label.Value)
	}
	_, err = tlv.Decode(fci[:10])
	fmt.Println(err)
	// Output:
	// Pay
	// tlv: offset 1: tag 6F: the length is 16, more than the 8 that are left
}

func ExampleEncode() {
	b, err := tlv.Encode(tlv.NewConstructed(0x7F49,
		tlv.New(0x81, []byte{0x01, 0x00, 0x01}),
		tlv.New(0x82, []byte{0xAA}),
	))
	fmt.Printf("% X %v\n", b, err)
	// Output: 7F 49 08 81 03 01 00 01 82 01 AA <nil>
}

// The content of a file: two data objects, and what is left of an erased one.
func ExampleElements() {
	file := []byte{0x5F, 0x20, 0x03, 'A', 'd', 'a', 0x00, 0x00, 0x00, 0x5F, 0x35, 0x01, '2', 0x00}
	for element, err := range tlv.Elements(file, tlv.SkipZeros()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v at %d: %s\n", element.Tag, element.Offset, element.Value)
	}
	// Output:
	// 5F20 at 0: Ada
	// 5F35 at 9: 2
}
