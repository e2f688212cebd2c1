package iso7816

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// The largest lengths of an APDU, in bytes (ISO/IEC 7816-3, decoding conventions for command APDUs).
const (
	MaxShortData    = 255   // command data in short form
	MaxShortNe      = 256   // response data in short form
	MaxExtendedData = 65535 // command data in extended form
	MaxExtendedNe   = 65536 // response data in extended form
)

// ErrInvalidCommand is in every error about a command that cannot be encoded, or bytes that are none.
var ErrInvalidCommand = errors.New("invalid command")

func invalidCommand(format string, args ...any) error {
	return fmt.Errorf("iso7816: %w: %s", ErrInvalidCommand, fmt.Sprintf(format, args...))
}

// A Command is a command APDU (ISO/IEC 7816-4, command-response pairs).
type Command struct {
	CLA, INS, P1, P2 byte

	// Data is the command data, Nc bytes; empty if there is none.
	Data []byte

	// Ne is the largest number of bytes that are expected in the response, the status word not counted: 0 if none are,
	// up to 65536. In short form 256, and in extended form 65536, ask for all there are.
	Ne int

	// Extended asks for the extended form of the lengths where the short form would do.
	Extended bool
}

// extended says whether the lengths have to be in extended form, or are to be.
func (c Command) extended() bool {
	return c.Extended || len(c.Data) > MaxShortData || c.Ne > MaxShortNe
}

// Append appends the APDU to dst and returns the extended slice: in short form if it fits, else, or if
// [Command.Extended] asks for it, in extended form. Not every card takes the latter. The error is [ErrInvalidCommand];
// dst is then returned as it is.
func (c Command) Append(dst []byte) ([]byte, error) {
	nc := len(c.Data)
	switch {
	case nc > MaxExtendedData:
		return dst, invalidCommand("%d bytes of data, an APDU holds at most %d", nc, MaxExtendedData)
	case c.Ne < 0:
		return dst, invalidCommand("Ne is %d, at least 0 is wanted", c.Ne)
	case c.Ne > MaxExtendedNe:
		return dst, invalidCommand("Ne is %d, an APDU can ask for at most %d bytes", c.Ne, MaxExtendedNe)
	}
	// With room for all there can be, nothing that may be secret is left behind in a slice that was too small.
	dst = slices.Grow(dst, 4+3+nc+2)
	dst = append(dst, c.CLA, c.INS, c.P1, c.P2)
	// The largest Ne is encoded as 0, which the conversions do by themselves.
	if c.extended() && nc+c.Ne > 0 {
		dst = append(dst, 0)
		if nc > 0 {
			dst = append(dst, byte(nc>>8), byte(nc))
			dst = append(dst, c.Data...)
		}
		if c.Ne > 0 {
			dst = append(dst, byte(c.Ne>>8), byte(c.Ne))
		}
		return dst, nil
	}
	if nc > 0 {
		dst = append(dst, byte(nc))
		dst = append(dst, c.Data...)
	}
	if c.Ne > 0 {
		dst = append(dst, byte(c.Ne))
	}
	return dst, nil
}

// Bytes is [Command.Append] into a new slice.
func (c Command) Bytes() ([]byte, error) {
	b, err := c.Append(nil)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// ParseCommand decodes an APDU of any case: 1, 2S, 3S, 4S, 2E, 3E or 4E (ISO/IEC 7816-3, decoding conventions for
// command APDUs). Data refers to the memory of apdu. The error is [ErrInvalidCommand].
func ParseCommand(apdu []byte) (Command, error) {
	if len(apdu) < 4 {
		return Command{}, invalidCommand("%s, the header alone has 4", bytesText(len(apdu)))
	}
	c := Command{CLA: apdu[0], INS: apdu[1], P1: apdu[2], P2: apdu[3]}
	body := apdu[4:]
	switch n := len(body); {
	case n == 0: // case 1
		return c, nil
	case n == 1: // case 2S
		c.Ne = length(int(body[0]), MaxShortNe)
		return c, nil
	case body[0] != 0: // case 3S or 4S
		nc := int(body[0])
		switch {
		case n < 1+nc:
			return Command{}, invalidCommand("Lc is %d, and what follows has %s", nc, bytesText(n-1))
		case n > 1+nc+1:
			return Command{}, invalidCommand("Lc is %d and Le has 1 byte, and what follows Lc has %s", nc, bytesText(n-1))
		case n == 1+nc+1:
			c.Ne = length(int(body[n-1]), MaxShortNe)
		}
		c.Data = body[1 : 1+nc : 1+nc]
		return c, nil
	case n == 2:
		return Command{}, invalidCommand("an extended length begins with 00 and has 2 more bytes, not 1")
	}
	c.Extended = true
	n, first := len(body), int(body[1])<<8|int(body[2])
	switch {
	case n == 3: // case 2E
		c.Ne = length(first, MaxExtendedNe)
		return c, nil
	case first == 0:
		return Command{}, invalidCommand("extended Lc is 0, and what follows has %s", bytesText(n-3))
	case n < 3+first:
		return Command{}, invalidCommand("extended Lc is %d, and what follows has %s", first, bytesText(n-3))
	case n == 3+first+1 || n > 3+first+2:
		return Command{}, invalidCommand("extended Lc is %d and Le has 2 bytes, and what follows Lc has %s", first, bytesText(n-3))
	case n == 3+first+2: // case 4E
		c.Ne = length(int(body[n-2])<<8|int(body[n-1]), MaxExtendedNe)
	}
	c.Data = body[3 : 3+first : 3+first]
	return c, nil
}

// length is what a length field says, where 0 stands for the largest.
func length(field, largest int) int {
	if field == 0 {
		return largest
	}
	return field
}

// String describes the command without its data, which may be a PIN:
//
//	00A40400 SELECT Nc=7 Ne=256
//
// Nc is the number of bytes of data.
func (c Command) String() string {
	var b strings.Builder
	b.WriteString(headerText(c.header()))
	if len(c.Data) > 0 {
		fmt.Fprintf(&b, " Nc=%d", len(c.Data))
	}
	if c.Ne > 0 {
		fmt.Fprintf(&b, " Ne=%d", c.Ne)
	}
	if c.extended() {
		b.WriteString(" extended")
	}
	return b.String()
}

// Format implements [fmt.Formatter]: every verb prints what [Command.String] returns, so that %x and %#v do not show
// data either.
func (c Command) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, c.String()) }

// LogValue implements [slog.LogValuer] with [Command.String].
func (c Command) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c Command) header() [4]byte { return [4]byte{c.CLA, c.INS, c.P1, c.P2} }

// headerText is the header in hexadecimal and, in an interindustry class, the name of the instruction.
func headerText(h [4]byte) string {
	text := fmt.Sprintf("%X", h[:])
	if name := instructionNames[h[1]]; name != "" && h[0]&0x80 == 0 {
		text += " " + name
	}
	return text
}
