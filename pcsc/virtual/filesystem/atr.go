package filesystem

import (
	"slices"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

// What the card can, in the coding of ISO/IEC 7816-4 for historical bytes (card service data, card capabilities).
const (
	cardService = 0xC0 // applications are selected by their name or the beginning of it, there is a master file
	selection   = 0xF7 // by name, beginning of the name, path, identifier; short identifiers, record numbers and identifiers
	dataCoding  = 0x21 // a data unit has 2 quartets
	lengths     = 0xC0 // chains of commands, extended lengths
)

// DefaultATR offers T=0 and T=1, and its historical bytes say what the card can do.
func DefaultATR() []byte {
	historical := []byte{0x80, 0x31, cardService, 0x73, selection, dataCoding, lengths}
	b := append([]byte{0x3B, 0x80 | byte(len(historical)), 0x80, 0x01}, historical...)
	var check byte // over all bytes but the first
	for _, x := range b[1:] {
		check ^= x
	}
	return append(b, check)
}

// onlyT0 says whether an answer to reset offers T=0 and nothing else.
func onlyT0(b []byte) bool {
	a, err := atr.Parse(b)
	return err == nil && slices.Equal(a.Protocols(), []atr.Protocol{atr.ProtocolT0})
}
