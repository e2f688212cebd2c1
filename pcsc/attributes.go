package pcsc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf16"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// An AttributeValue is an attribute of a reader as [Card.Attributes] found it.
type AttributeValue struct {
	ID Attribute
	// Value is what the attribute says: a string, bool, uint8, uint32, []byte, [Version], [Channel] or [Protocol], the
	// type that the attribute's own method has, such as [Card.VendorName] for AttrVendorName. It is nil with an Err.
	Value any
	Unit  string // of a number, as "kHz"; may be empty
	Raw   []byte // the reader's answer; nil if there was none
	// Err says why there is no value. It is errors.ErrUnsupported if the reader does not have the attribute; see
	// Absent. Every other error is a failure: of the driver, or of the decoding, and then there is Raw.
	Err error
}

// Absent reports whether the reader does not have the attribute.
func (v AttributeValue) Absent() bool { return errors.Is(v.Err, errors.ErrUnsupported) }

// String is the value with its unit, bytes in hexadecimal; or "absent", or the error.
func (v AttributeValue) String() string {
	switch value := v.Value.(type) {
	case nil:
		switch {
		case v.Absent():
			return "absent"
		case v.Err != nil:
			return v.Err.Error()
		}
		return ""
	case []byte:
		return fmt.Sprintf("% X", value)
	default:
		return strings.TrimSuffix(fmt.Sprintf("%v %s", value, v.Unit), " ")
	}
}

// Version is the version of a reader.
type Version struct {
	Major, Minor uint8
	Build        uint16
}

// String is the version as "1.2.3".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Build) }

// Channel is how a reader is attached.
type Channel struct {
	Type ReaderType
	// Number tells readers of the type apart: a number of the port, or, with USB on Linux, the bus in the upper 8 bits
	// and the device in the lower.
	Number uint16
}

// String is the type and the number, as "usb 260".
func (c Channel) String() string { return fmt.Sprintf("%v %d", c.Type, c.Number) }

// Attributes asks for every attribute that can be read and that the description of PC/SC knows, and returns them all,
// by number, those that are absent or failed too: see [AttributeValue.Absent]. Attributes of the reader's vendor that
// it does not know can be read with [Card.GetAttrib].
//
// It is some forty calls of the driver, which answers most of them without asking the reader. It works without a card,
// too, with [ShareDirect].
//
// The error is not that of an attribute. It says that the question could not be put: the connection, the reader or the
// service is gone, the card was reset by another program ([ErrResetCard]) or is in another program's transaction, or
// ctx has ended.
func (c *Card) Attributes(ctx context.Context) ([]AttributeValue, error) {
	defer runtime.KeepAlive(c)
	return c.target().attributes(ctx)
}

// Attributes is [Card.Attributes] in the transaction.
func (t *Transaction) Attributes(ctx context.Context) ([]AttributeValue, error) {
	defer runtime.KeepAlive(t)
	return t.target().attributes(ctx)
}

func (t target) attributes(ctx context.Context) ([]AttributeValue, error) {
	table := make([]AttributeValue, len(readableAttributes))
	for i, a := range readableAttributes {
		v := &table[i]
		v.ID, v.Unit = a.id, a.unit
		raw, err := t.getAttrib(ctx, nil, a.id)
		switch {
		case err == nil:
			v.Raw = raw
			if v.Value, err = decodeAttribute(a.id, raw); err != nil {
				v.Value, v.Err = nil, t.undecodable(a.id, err)
			}
		case refusal(err):
			v.Err = err
		default:
			return nil, err
		}
	}
	return table, nil
}

// readAttribute reads an attribute and decodes it.
func readAttribute[T any](ctx context.Context, t target, id Attribute, decode func([]byte) (T, error)) (T, error) {
	var none T
	raw, err := t.getAttrib(ctx, nil, id)
	if err != nil {
		return none, err
	}
	v, err := decode(raw)
	if err != nil {
		return none, t.undecodable(id, err)
	}
	return v, nil
}

// undecodable is the error for an answer that is not what the attribute should be.
func (t target) undecodable(id Attribute, err error) error {
	code := ErrInternalError
	if err == errNoValue {
		code = ErrUnsupportedFeature
	}
	return t.refuse(opGetAttrib, code, fmt.Sprintf("%v: %v", id, err))
}

// errNoValue is a number without a byte, by which some drivers say that they do not have the attribute.
var errNoValue = errors.New("the driver's answer is empty")

// decodeUint decodes an integer, which is in the host's byte order. Drivers do not agree on its width: pcsc-lite's
// DWORD has 8 bytes, and numbers that fit a byte come as one. What counts is that the value fits.
func decodeUint(raw []byte, bits int) (v uint64, err error) {
	switch len(raw) {
	case 0:
		return 0, errNoValue
	case 1:
		v = uint64(raw[0])
	case 2:
		v = uint64(binary.NativeEndian.Uint16(raw))
	case 4:
		v = uint64(binary.NativeEndian.Uint32(raw))
	case 8:
		v = binary.NativeEndian.Uint64(raw)
	default:
		return 0, fmt.Errorf("the driver's answer has %d bytes, an integer 1, 2, 4 or 8", len(raw))
	}
	if v>>bits != 0 {
		return 0, fmt.Errorf("the driver's answer, 0x%X, has more than %d bits", v, bits)
	}
	return v, nil
}

func decodeUint32(raw []byte) (uint32, error) {
	v, err := decodeUint(raw, 32)
	return uint32(v), err
}

func decodeUint8(raw []byte) (uint8, error) {
	v, err := decodeUint(raw, 8)
	return uint8(v), err
}

func decodeBool(raw []byte) (bool, error) {
	v, err := decodeUint(raw, 32)
	return v != 0, err
}

func decodeProtocols(raw []byte) (Protocol, error) {
	v, err := decodeUint(raw, 32)
	return Protocol(v), err
}

func decodeVersion(raw []byte) (Version, error) {
	v, err := decodeUint(raw, 32)
	return Version{Major: uint8(v >> 24), Minor: uint8(v >> 16), Build: uint16(v)}, err
}

func decodeChannel(raw []byte) (Channel, error) {
	v, err := decodeUint(raw, 32)
	return Channel{Type: ReaderType(v >> 16), Number: uint16(v)}, err
}

// decodeString decodes a text up to its NUL. Drivers end it with one or not.
func decodeString(raw []byte) (string, error) {
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		raw = raw[:i]
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD"), nil
}

func decodeUTF16(raw []byte) (string, error) {
	if len(raw)%2 != 0 {
		return "", fmt.Errorf("the driver's answer has %d bytes, UTF-16 an even number", len(raw))
	}
	var units []uint16
	for ; len(raw) > 0; raw = raw[2:] {
		unit := binary.NativeEndian.Uint16(raw)
		if unit == 0 {
			break
		}
		units = append(units, unit)
	}
	return string(utf16.Decode(units)), nil
}

// decodeATR decodes an answer to reset. It is empty if there is no card.
func decodeATR(raw []byte) ([]byte, error) {
	if len(raw) > winscard.ReaderStateATRSize {
		return nil, fmt.Errorf("the driver's answer has %d bytes, an ATR at most %d", len(raw), winscard.ReaderStateATRSize)
	}
	return bytes.Clone(raw), nil
}

func decodeBytes(raw []byte) ([]byte, error) { return bytes.Clone(raw), nil }

// readableAttribute is an attribute that Attributes asks for.
type readableAttribute struct {
	id   Attribute
	unit string
}
