package atr

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A Contactless says what kind of contactless card an answer to reset stands for. The reader makes the answer up
// (PC/SC Part 3, 3.1.3.2.3).
type Contactless uint8

// The kinds.
const (
	NotContactless     Contactless = iota // a card with contacts, as far as can be told
	ContactlessStorage                    // a memory card: see ATR.StorageCard
	ContactlessSmart                      // a card that takes APDUs by ISO/IEC 14443-4
)

// String names the kind.
func (c Contactless) String() string {
	switch c {
	case ContactlessStorage:
		return "contactless storage card"
	case ContactlessSmart:
		return "contactless card with APDUs (ISO/IEC 14443-4)"
	default:
		return "card with contacts"
	}
}

// Contactless says whether the answer is of the form that readers give to contactless cards, 3B 8n 80 01. A card with
// contacts may send the same, but few do: it would be one with nothing to say about its speed.
func (a *ATR) Contactless() Contactless {
	if _, ok := a.StorageCard(); ok {
		return ContactlessStorage
	}
	td1, _ := a.TD(1)
	td2, _ := a.TD(2)
	if a.TS == TSDirect && a.T0.Value>>4 == 8 && td1 == 0x80 && td2 == 0x01 {
		return ContactlessSmart
	}
	return NotContactless
}

// A StorageCard is what a reader says of a contactless memory card.
type StorageCard struct {
	Standard StorageStandard
	Name     CardName
}

// String is the name and the standard.
func (s StorageCard) String() string { return fmt.Sprintf("%v, %v", s.Name, s.Standard) }

// pcscRID is the registered application provider identifier of the PC/SC workgroup.
var pcscRID = []byte{0xA0, 0x00, 0x00, 0x03, 0x06}

// StorageCard is the contactless memory card, if it is one: its application identifier is that of the PC/SC workgroup,
// A000000306, with the standard and the card's name after it.
func (a *ATR) StorageCard() (StorageCard, bool) {
	for _, o := range a.Historical().Objects {
		if o.BER && len(o.Data) >= 8 && bytes.HasPrefix(o.Data, pcscRID) {
			return StorageCard{
				Standard: StorageStandard(o.Data[5]),
				Name:     CardName(binary.BigEndian.Uint16(o.Data[6:])),
			}, true
		}
	}
	return StorageCard{}, false
}

// A StorageStandard is the standard of a memory card, SS in PC/SC Part 3, supplemental document.
type StorageStandard byte

// String names the standard.
func (s StorageStandard) String() string {
	switch s {
	case 0x00:
		return "no standard given"
	case 0x01, 0x02, 0x03:
		return fmt.Sprintf("ISO/IEC 14443 A, part %d", s)
	case 0x05, 0x06, 0x07:
		return fmt.Sprintf("ISO/IEC 14443 B, part %d", s-4)
	case 0x09, 0x0A, 0x0B, 0x0C:
		return fmt.Sprintf("ISO/IEC 15693, part %d", s-8)
	case 0x0D:
		return "ISO/IEC 7816-10 I2C"
	case 0x0E:
		return "ISO/IEC 7816-10 extended I2C"
	case 0x0F:
		return "ISO/IEC 7816-10 2WBP"
	case 0x10:
		return "ISO/IEC 7816-10 3WBP"
	case 0x11:
		return "FeliCa"
	case 0x40:
		return "low frequency contactless card"
	default:
		return fmt.Sprintf("reserved standard %02X", byte(s))
	}
}

// A CardName is the name of a memory card, NN NN in PC/SC Part 3, supplemental document. Readers know fewer types than
// there are: an NTAG, for one, is usually reported as CardUltralight.
type CardName uint16

// The names of the cards that are met most.
const (
	CardClassic1K   CardName = 0x0001
	CardClassic4K   CardName = 0x0002
	CardUltralight  CardName = 0x0003
	CardICODESLI    CardName = 0x0014
	CardClassicMini CardName = 0x0026
	CardTopaz       CardName = 0x0030
	CardPlusSL12K   CardName = 0x0036
	CardPlusSL14K   CardName = 0x0037
	CardPlusSL22K   CardName = 0x0038
	CardPlusSL24K   CardName = 0x0039
	CardUltralightC CardName = 0x003A
	CardFeliCa      CardName = 0x003B
)

// cardNames are the names that PC/SC assigns, but for the rarest.
var cardNames = map[CardName]string{
	0x0000:          "no name given",
	CardClassic1K:   "MIFARE Classic 1K",
	CardClassic4K:   "MIFARE Classic 4K",
	CardUltralight:  "MIFARE Ultralight",
	0x0004:          "SLE55R",
	0x0006:          "SR176",
	0x0007:          "SRI X4K",
	0x0008:          "AT88RF020",
	0x0009:          "AT88SC0204CRF",
	0x000A:          "AT88SC0808CRF",
	0x000B:          "AT88SC1616CRF",
	0x000C:          "AT88SC3216CRF",
	0x000D:          "AT88SC6416CRF",
	0x000E:          "SRF55V10P",
	0x000F:          "SRF55V02P",
	0x0010:          "SRF55V10S",
	0x0011:          "SRF55V02S",
	0x0012:          "Tag-it",
	0x0013:          "LRI512",
	CardICODESLI:    "ICODE SLI",
	0x0015:          "TempSens",
	0x0016:          "ICODE 1",
	0x0017:          "PicoPass 2K",
	0x0018:          "PicoPass 2KS",
	0x0019:          "PicoPass 16K",
	0x001A:          "PicoPass 16KS",
	0x0021:          "LRI64",
	0x0022:          "ICODE UID",
	0x0023:          "ICODE EPC",
	0x0024:          "LRI12",
	0x0025:          "LRI128",
	CardClassicMini: "MIFARE Mini",
	0x0027:          "my-d move",
	0x0028:          "my-d NFC",
	0x0029:          "my-d proximity 2",
	0x002A:          "my-d proximity enhanced",
	0x002B:          "my-d light",
	0x002F:          "Jewel",
	CardTopaz:       "Topaz",
	0x0031:          "AT88SC0104CRF",
	0x0032:          "AT88SC0404CRF",
	0x0033:          "AT88RF01C",
	0x0034:          "AT88RF04C",
	0x0035:          "ICODE SL2",
	CardPlusSL12K:   "MIFARE Plus SL1 2K",
	CardPlusSL14K:   "MIFARE Plus SL1 4K",
	CardPlusSL22K:   "MIFARE Plus SL2 2K",
	CardPlusSL24K:   "MIFARE Plus SL2 4K",
	CardUltralightC: "MIFARE Ultralight C",
	CardFeliCa:      "FeliCa",

	// Not PC/SC's but ACS's, whose readers are everywhere.
	0xF004: "Topaz or Jewel",
	0xF011: "FeliCa 212K",
	0xF012: "FeliCa 424K",
	0xFF28: "JCOP 30",
}

// String is the card's name.
func (n CardName) String() string {
	if s, ok := cardNames[n]; ok {
		return s
	}
	return fmt.Sprintf("unknown card %04X", uint16(n))
}

// An ATQB is what a reader keeps of the answer of an ISO/IEC 14443 type B card, in the place of historical bytes.
type ATQB struct {
	ApplicationData [4]byte
	ProtocolInfo    [3]byte
	MBLI            byte // maximum buffer length index, 0 to 15
}

// ATQB is the answer of a type B card, if this may be one. A reader does not say whether eight bytes are from a type B
// card or the historical bytes of a type A card; they are taken for the former if they have its fixed bits, which
// historical bytes may have by accident.
func (a *ATR) ATQB() (ATQB, bool) {
	h := a.HistoricalBytes
	// The protocol type is 1 for a card with ISO/IEC 14443-4, and the lower half of the last byte is 0.
	if a.Contactless() != ContactlessSmart || len(h) != 8 || h[5]&0x0F != 1 || h[7]&0x0F != 0 {
		return ATQB{}, false
	}
	return ATQB{ApplicationData: [4]byte(h[:4]), ProtocolInfo: [3]byte(h[4:7]), MBLI: h[7] >> 4}, true
}
