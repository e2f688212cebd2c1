package pcsc

import (
	"fmt"
	"time"

	"github.com/gopcsc/gopcsc/internal/part10"
)

// PINEncoding is how the digits of a PIN stand in the command. There is no default: the card knows only one.
type PINEncoding byte

// The encodings.
const (
	PINBinary PINEncoding = iota + 1 // a byte of 0 to 9 for each digit
	PINBCD                           // half a byte for each digit
	PINASCII                         // a character for each digit
)

// PINUnit is the unit of an offset.
type PINUnit byte

// The units.
const (
	PINBytes PINUnit = iota
	PINBits
)

// PINEnd is what ends the entry of a PIN, as bits.
type PINEnd byte

// What can end the entry of a PIN.
const (
	PINEndMaxDigits PINEnd = 1 << iota // as many digits as are allowed
	PINEndKey                          // the reader's key for it, mostly a green one
	PINEndTimeout                      // no key for a while
)

// PINDefaultMessages as a number of messages lets the reader show those that it thinks fit.
const PINDefaultMessages = 0xFF

// PINBlock is how the reader writes the PIN into the data field of the command, and thus what the card expects.
// [PINBlockASCII] and [PINBlockFormat2] are the usual ones.
type PINBlock struct {
	Encoding   PINEncoding
	AlignRight bool // the PIN stands at the end of the block, not at its beginning

	// Offset is where the block begins, 0 to 15 units from the beginning of the data field (or, with PINModify, from
	// OldOffset and NewOffset): 1 byte if the length stands before it.
	Offset     int
	OffsetUnit PINUnit

	// Size is the size of the block, 0 to 15 bytes. With 0 the block is as long as the PIN, and the reader sets Lc.
	// What the PIN does not fill stays as it is in the APDU: the padding.
	Size int

	// LengthBits is the size of the field that the reader sets to the number of digits, 0 to 15 bits; 0 is none.
	// LengthOffset is where it stands, 0 to 15 units from the beginning of the data field.
	LengthBits   int
	LengthOffset int
	LengthUnit   PINUnit
}

// PINBlockASCII is a PIN in ASCII at the beginning of the data field: in a block of size bytes, 1 to 15, that the APDU
// pads, or, with 0, without padding.
func PINBlockASCII(size int) PINBlock { return PINBlock{Encoding: PINASCII, Size: size} }

// PINBlockFormat2 is a PIN in BCD after a byte whose lower half is the number of digits, as in the data field
// 2N PP PP PP FF FF FF FF: format 2 of ISO 9564, which Global Platform and many identity cards use. The data field
// of the APDU is 20 FF FF FF FF FF FF FF.
func PINBlockFormat2() PINBlock {
	return PINBlock{Encoding: PINBCD, Offset: 1, Size: 7, LengthBits: 4, LengthOffset: 4, LengthUnit: PINBits}
}

// PINVerify is what [Card.VerifyPINDirect] has the reader do: the PIN_VERIFY_STRUCTURE of part 10, in words. It holds
// no PIN.
type PINVerify struct {
	// Timeout is how long the reader waits for the entry, and TimeoutAfterKey how long after the first key: whole
	// seconds, at most 255. 0 is the reader's own.
	Timeout         time.Duration
	TimeoutAfterKey time.Duration

	Block PINBlock
	// MinDigits and MaxDigits are the lengths of PIN that the reader takes, 0 to 255 digits, MaxDigits at least 1.
	// A reader can have bounds of its own, see [Properties].
	MinDigits, MaxDigits int
	EndOn                PINEnd // 0 is PINEndKey

	// Messages is the number of messages to show: 0 or 1, or PINDefaultMessages. Language says in which language, as
	// Windows numbers them: 0x0409 is English as in the United States (and 0x0904, which many programs have, is that
	// with its bytes swapped). It must be given if there are messages. MessageIndex is the number of the message,
	// normally 0.
	Messages     int
	Language     uint16
	MessageIndex byte

	// Prologue is the prologue of the T=1 block; zeros, unless the reader's manual says something else.
	Prologue [3]byte

	// APDU is the command that the reader completes with the PIN and sends to the card, such as
	// 00 20 00 01 08 FF FF FF FF FF FF FF FF, or 00 20 00 01 00 for a PIN without padding.
	APDU []byte
}

// PINModify is what [Card.ModifyPINDirect] has the reader do: the PIN_MODIFY_STRUCTURE of part 10, in words. It holds
// no PIN.
type PINModify struct {
	// Timeout is how long the reader waits for the entry, and TimeoutAfterKey how long after the first key: whole
	// seconds, at most 255. 0 is the reader's own.
	Timeout         time.Duration
	TimeoutAfterKey time.Duration

	Block PINBlock
	// OldOffset and NewOffset are where the blocks of the old and of the new PIN begin in the data field, 0 to 255
	// bytes. OldOffset is not used without AskOld.
	OldOffset, NewOffset int
	// MinDigits and MaxDigits are the lengths of PIN that the reader takes, 0 to 255 digits, MaxDigits at least 1.
	MinDigits, MaxDigits int
	AskOld               bool   // the user enters the old PIN, too
	ConfirmNew           bool   // the user enters the new PIN twice
	EndOn                PINEnd // 0 is PINEndKey

	// Messages is the number of messages to show: 0 to 3, or PINDefaultMessages. Language says in which language, as
	// Windows numbers them; it must be given if there are messages. MessageIndexes are the numbers of the messages,
	// such as 0, 1, 2 for the old PIN, the new one, and the new one again.
	Messages       int
	Language       uint16
	MessageIndexes [3]byte

	// Prologue is the prologue of the T=1 block; zeros, unless the reader's manual says something else.
	Prologue [3]byte

	// APDU is the command that the reader completes with the PINs and sends to the card.
	APDU []byte
}

// AppendBinary appends the PIN_VERIFY_STRUCTURE, in the byte order of this machine, which is what drivers expect. The
// error says what is wrong with v; it is [ErrInvalidParameter]. Only [Card.ControlFeature] needs it.
func (v PINVerify) AppendBinary(b []byte) ([]byte, error) {
	c := pinCheck{of: "PINVerify"}
	raw := part10.PINVerify{
		TimerOut:                 c.seconds("Timeout", v.Timeout),
		TimerOut2:                c.seconds("TimeoutAfterKey", v.TimeoutAfterKey),
		FormatString:             c.format(&v.Block),
		PINBlockString:           c.block(&v.Block),
		PINLengthFormat:          c.length(&v.Block),
		PINMaxExtraDigit:         c.digits(v.MinDigits, v.MaxDigits, &v.Block),
		EntryValidationCondition: c.end(v.EndOn),
		NumberMessage:            c.messages(v.Messages, 1, v.Language),
		LangID:                   v.Language,
		MsgIndex:                 v.MessageIndex,
		TeoPrologue:              v.Prologue,
		DataLength:               uint32(len(v.APDU)),
		Data:                     v.APDU,
	}
	c.fits("the PIN block", 0, v.Block.Size, c.apdu(v.APDU))
	if c.err != nil {
		return b, c.err
	}
	return raw.AppendTo(b), nil
}

// AppendBinary appends the PIN_MODIFY_STRUCTURE, in the byte order of this machine, which is what drivers expect. The
// error says what is wrong with m; it is [ErrInvalidParameter]. Only [Card.ControlFeature] needs it.
func (m PINModify) AppendBinary(b []byte) ([]byte, error) {
	c := pinCheck{of: "PINModify"}
	raw := part10.PINModify{
		TimerOut:                 c.seconds("Timeout", m.Timeout),
		TimerOut2:                c.seconds("TimeoutAfterKey", m.TimeoutAfterKey),
		FormatString:             c.format(&m.Block),
		PINBlockString:           c.block(&m.Block),
		PINLengthFormat:          c.length(&m.Block),
		InsertionOffsetOld:       byte(c.number("OldOffset", m.OldOffset, 0, 255)),
		InsertionOffsetNew:       byte(c.number("NewOffset", m.NewOffset, 0, 255)),
		PINMaxExtraDigit:         c.digits(m.MinDigits, m.MaxDigits, &m.Block),
		EntryValidationCondition: c.end(m.EndOn),
		NumberMessage:            c.messages(m.Messages, 3, m.Language),
		LangID:                   m.Language,
		MsgIndex1:                m.MessageIndexes[0],
		MsgIndex2:                m.MessageIndexes[1],
		MsgIndex3:                m.MessageIndexes[2],
		TeoPrologue:              m.Prologue,
		DataLength:               uint32(len(m.APDU)),
		Data:                     m.APDU,
	}
	if m.ConfirmNew {
		raw.ConfirmPIN |= 1
	}
	if m.AskOld {
		raw.ConfirmPIN |= 2
	}
	room := c.apdu(m.APDU)
	c.fits("the block of the new PIN", m.NewOffset, m.Block.Size, room)
	if m.AskOld {
		c.fits("the block of the old PIN", m.OldOffset, m.Block.Size, room)
		if d := m.NewOffset - m.OldOffset; d < m.Block.Size && -d < m.Block.Size {
			c.fail("NewOffset", "the block of the new PIN, at %d, overlaps that of the old one, at %d", m.NewOffset, m.OldOffset)
		}
	}
	if c.err != nil {
		return b, c.err
	}
	return raw.AppendTo(b), nil
}

// pinCheck makes the bytes of a structure and keeps the first fault.
type pinCheck struct {
	of  string
	err error
}

func (c *pinCheck) fail(field, format string, args ...any) {
	if c.err == nil {
		c.err = &Error{Op: opControl, Code: ErrInvalidParameter, Detail: c.of + "." + field + ": " + fmt.Sprintf(format, args...)}
	}
}

func (c *pinCheck) number(field string, n, least, most int) int {
	if n < least || n > most {
		c.fail(field, "%d is not in %d to %d", n, least, most)
		return 0
	}
	return n
}

func (c *pinCheck) unit(field string, u PINUnit) byte {
	switch u {
	case PINBytes:
		return 1
	case PINBits:
	default:
		c.fail(field, "%d is no unit", u)
	}
	return 0
}

func (c *pinCheck) seconds(field string, d time.Duration) byte {
	if d < 0 || d > pinTimeoutMax || d%time.Second != 0 {
		c.fail(field, "%v is not a whole number of seconds in 0 to %d", d, pinTimeoutMax/time.Second)
		return 0
	}
	return byte(d / time.Second)
}

// pinTimeoutMax is the most that a byte holds.
const pinTimeoutMax = 255 * time.Second

// format makes bmFormatString: bit 7 is the unit, bits 6 to 3 the offset, bit 2 the justification, bits 1 and 0 the
// encoding.
func (c *pinCheck) format(b *PINBlock) byte {
	if b.Encoding < PINBinary || b.Encoding > PINASCII {
		c.fail("Block.Encoding", "%d is no encoding: set PINBinary, PINBCD or PINASCII", b.Encoding)
		return 0
	}
	v := c.unit("Block.OffsetUnit", b.OffsetUnit) << 7
	v |= byte(c.number("Block.Offset", b.Offset, 0, 15)) << 3
	if b.AlignRight {
		v |= 1 << 2
	}
	return v | byte(b.Encoding-PINBinary)
}

// block makes bmPINBlockString: bits 7 to 4 are the size of the length in bits, bits 3 to 0 that of the block in bytes.
func (c *pinCheck) block(b *PINBlock) byte {
	return byte(c.number("Block.LengthBits", b.LengthBits, 0, 15))<<4 | byte(c.number("Block.Size", b.Size, 0, 15))
}

// length makes bmPINLengthFormat: bit 4 is the unit, bits 3 to 0 the offset of the length.
func (c *pinCheck) length(b *PINBlock) byte {
	unit := c.unit("Block.LengthUnit", b.LengthUnit)
	offset := c.number("Block.LengthOffset", b.LengthOffset, 0, 15)
	if b.LengthBits == 0 {
		if offset != 0 {
			c.fail("Block.LengthOffset", "it has no meaning without LengthBits")
		}
		return 0 // what readers are used to
	}
	return unit<<4 | byte(offset)
}

// digits makes wPINMaxExtraDigit: the least in the upper byte, the most in the lower.
func (c *pinCheck) digits(least, most int, b *PINBlock) uint16 {
	least = c.number("MinDigits", least, 0, 255)
	most = c.number("MaxDigits", most, 1, 255)
	if least > most {
		c.fail("MinDigits", "%d is more than MaxDigits, %d", least, most)
	}
	room := b.Size
	if b.Encoding == PINBCD {
		room *= 2
	}
	if b.Size > 0 && most > room {
		c.fail("MaxDigits", "%d digits do not fit a block of %d bytes", most, b.Size)
	}
	if b.LengthBits > 0 && b.LengthBits < 16 && most >= 1<<b.LengthBits {
		c.fail("MaxDigits", "%d does not fit a length of %d bits", most, b.LengthBits)
	}
	return uint16(least)<<8 | uint16(most)
}

func (c *pinCheck) end(on PINEnd) byte {
	if on == 0 {
		on = PINEndKey
	}
	if on&^(PINEndMaxDigits|PINEndKey|PINEndTimeout) != 0 {
		c.fail("EndOn", "0x%02X has unknown bits", byte(on))
	}
	return byte(on)
}

func (c *pinCheck) messages(n, most int, language uint16) byte {
	if (n < 0 || n > most) && n != PINDefaultMessages {
		c.fail("Messages", "%d is neither in 0 to %d nor PINDefaultMessages", n, most)
		return 0
	}
	if n != 0 && language == 0 {
		c.fail("Language", "messages need a language, such as 0x0409")
	}
	return byte(n)
}

// apdu checks a command and returns the length of its data field, or -1 if the reader sets that.
func (c *pinCheck) apdu(b []byte) int {
	switch n := len(b); {
	case n < 4:
		c.fail("APDU", "%d bytes are no command", n)
	case n == 4 || n == 5 && b[4] == 0:
	case b[4] == 0:
		c.fail("APDU", "Lc is 0, but %d bytes follow: readers take no extended length", n-5)
	case n != 5+int(b[4]) && n != 6+int(b[4]): // without and with Le
		c.fail("APDU", "Lc is %d, but %d bytes follow", b[4], n-5)
	default:
		return int(b[4])
	}
	return -1
}

// fits checks that a block lies within a data field. Block.Offset is not added: programs that work set the size of the
// whole data field in spite of it.
func (c *pinCheck) fits(what string, at, size, room int) {
	if room >= 0 && at+max(size, 1) > room {
		c.fail("APDU", "%s, %d bytes at %d, does not fit the data field of %d bytes", what, size, at, room)
	}
}
