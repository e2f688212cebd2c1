package atr

import (
	"bytes"
	"fmt"
)

// A Format is the format of historical bytes, given by the first of them, the category indicator
// (ISO/IEC 7816-4:2005, 8.1.1.1).
type Format uint8

// The formats.
const (
	FormatNone        Format = iota // there are no historical bytes
	FormatStatus                    // 00: COMPACT-TLV data objects, then three bytes of status
	FormatDIR                       // 10: a DIR data reference
	FormatTLV                       // 80: COMPACT-TLV data objects, the status among them
	FormatReserved                  // 81 to 8F
	FormatProprietary               // all other values: the bytes mean what their issuer wants
)

// String says what follows the category indicator.
func (f Format) String() string {
	switch f {
	case FormatNone:
		return "no historical bytes"
	case FormatStatus:
		return "COMPACT-TLV data objects and a status indicator"
	case FormatDIR:
		return "DIR data reference"
	case FormatTLV:
		return "COMPACT-TLV data objects"
	case FormatReserved:
		return "reserved format"
	default:
		return "proprietary format"
	}
}

// A Tag is the tag of a COMPACT-TLV data object, 0 to 15 (ISO/IEC 7816-4:2005, 8.1.1.2).
type Tag uint8

// The tags.
const (
	TagCountryCode   Tag = 0x1 // country code (ISO 3166-1) and national data
	TagIssuer        Tag = 0x2 // issuer identification number (ISO/IEC 7812-1)
	TagServiceData   Tag = 0x3 // card service data
	TagInitialAccess Tag = 0x4 // initial access data: a command that the card expects first
	TagIssuerData    Tag = 0x5 // card issuer's data, in a format of theirs
	TagPreIssuing    Tag = 0x6 // pre-issuing data: manufacturer, chip, operating system, in a format of theirs
	TagCapabilities  Tag = 0x7 // card capabilities
	TagStatus        Tag = 0x8 // status indicator
	TagAID           Tag = 0xF // application identifier
)

// String names the data object.
func (t Tag) String() string {
	switch t {
	case TagCountryCode:
		return "country code and national data"
	case TagIssuer:
		return "issuer identification number"
	case TagServiceData:
		return "card service data"
	case TagInitialAccess:
		return "initial access data"
	case TagIssuerData:
		return "card issuer's data"
	case TagPreIssuing:
		return "pre-issuing data"
	case TagCapabilities:
		return "card capabilities"
	case TagStatus:
		return "status indicator"
	case TagAID:
		return "application identifier"
	default:
		return "reserved data object"
	}
}

// An Object is a COMPACT-TLV data object.
type Object struct {
	Tag    Tag
	Data   []byte
	Offset int // of its first byte in the historical bytes

	// BER says that it is not compact: tag and length are the two bytes 4F and LL. Only the application identifier of
	// a contactless storage card is written so (PC/SC Part 3, 3.1.3.2.3).
	BER bool
}

// Historical is historical bytes, decoded.
type Historical struct {
	Bytes   []byte
	Format  Format
	Objects []Object // the data objects, in their order

	// Rest is what is not a data object: the bytes after a proprietary category indicator, a reserved one or 10, or
	// those in which a data object does not fit.
	Rest []byte

	// Problems is what ISO/IEC 7816-4 does not allow. Offsets are in the historical bytes.
	Problems []*SyntaxError

	trailer    []byte // the status that FormatStatus has at the end
	trailerSet bool
}

// Historical decodes the historical bytes.
func (a *ATR) Historical() Historical { return ParseHistorical(a.HistoricalBytes) }

// ParseHistorical decodes historical bytes from elsewhere, such as a contactless card's answer to select. It never
// fails: what can't be decoded is in Rest and Problems.
func ParseHistorical(b []byte) Historical {
	h := Historical{Bytes: bytes.Clone(b)}
	if len(b) == 0 {
		return h
	}
	category, body := h.Bytes[0], h.Bytes[1:]
	switch {
	case category == 0x00:
		h.Format = FormatStatus
		if len(body) < 3 {
			h.Rest = body
			h.problem(len(b), "category indicator 00 asks for three bytes of status, but %s", follow(len(body)))
			return h
		}
		h.trailer, h.trailerSet = body[len(body)-3:], true
		h.objects(1, body[:len(body)-3])
	case category == 0x10:
		h.Format, h.Rest = FormatDIR, body
		if len(body) == 0 {
			h.problem(1, "category indicator 10 asks for a DIR data reference, but no byte follows")
		}
	case category == 0x80:
		h.Format = FormatTLV
		h.objects(1, body)
	case category > 0x80 && category <= 0x8F:
		h.Format, h.Rest = FormatReserved, body
		h.problem(0, "category indicator %02X is reserved", category)
	default:
		h.Format, h.Rest = FormatProprietary, body
	}
	return h
}

func follow(n int) string {
	switch n {
	case 0:
		return "no byte follows"
	case 1:
		return "1 byte follows"
	default:
		return plural(n, "byte") + " follow"
	}
}

func (h *Historical) problem(offset int, format string, args ...any) {
	h.Problems = append(h.Problems, syntaxError(offset, format, args...))
}

// objects decodes the data objects in b, which starts at an offset in the historical bytes.
func (h *Historical) objects(offset int, b []byte) {
	// The reader of a contactless storage card writes 4F as BER-TLV. As a COMPACT-TLV header it would ask for 15 bytes
	// after it, which historical bytes never have, so there is no doubt.
	if len(b) >= 2 && len(b) <= 15 && b[0] == 0x4F && int(b[1]) <= len(b)-2 {
		n := 2 + int(b[1])
		h.Objects = append(h.Objects, Object{Tag: TagAID, Data: b[2:n:n], Offset: offset, BER: true})
		b, offset = b[n:], offset+n
	}
	for len(b) > 0 {
		n := 1 + int(b[0]&0x0F)
		if n > len(b) {
			h.Rest = b
			h.problem(offset, "data object %02X has a length of %d, but %s", b[0], n-1, follow(len(b)-1))
			return
		}
		tag := Tag(b[0] >> 4)
		if most := longest(tag); most > 0 && (n == 1 || n-1 > most) {
			h.problem(offset, "data object %02X, %v, has a length of %d, but must have %s", b[0], tag, n-1, upTo(most))
		}
		h.Objects = append(h.Objects, Object{Tag: tag, Data: b[1:n:n], Offset: offset})
		b, offset = b[n:], offset+n
	}
}

func upTo(most int) string {
	if most == 1 {
		return "1"
	}
	return fmt.Sprintf("1 to %d", most)
}

// longest is the greatest length of a data object of which the length is limited, and otherwise 0.
func longest(tag Tag) int {
	switch tag {
	case TagServiceData:
		return 1
	case TagCapabilities, TagStatus:
		return 3
	default:
		return 0
	}
}

// Object is the first data object with a tag.
func (h Historical) Object(tag Tag) (Object, bool) {
	for _, o := range h.Objects {
		if o.Tag == tag {
			return o, true
		}
	}
	return Object{}, false
}

// Country is the ISO 3166-1 numeric code of the country in which the card was issued, three digits such as "276". It is
// false if there is none, or not of digits.
func (h Historical) Country() (string, bool) {
	o, ok := h.Object(TagCountryCode)
	if !ok || len(o.Data) < 2 {
		return "", false
	}
	code := []byte{'0' + o.Data[0]>>4, '0' + o.Data[0]&0x0F, '0' + o.Data[1]>>4}
	for _, c := range code {
		if c > '9' {
			return "", false
		}
	}
	return string(code), true
}

// AID is the application identifier of the card's application.
func (h Historical) AID() ([]byte, bool) {
	o, ok := h.Object(TagAID)
	return o.Data, ok
}

// DIRReference is the DIR data reference of historical bytes with category indicator 10. Its meaning is not
// standardized.
func (h Historical) DIRReference() (byte, bool) {
	if h.Format != FormatDIR || len(h.Rest) == 0 {
		return 0, false
	}
	return h.Rest[0], true
}
