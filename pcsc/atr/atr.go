package atr

import "math/bits"

// MaxLen is the length of the longest answer to reset in bytes: TS and 32 more (ISO/IEC 7816-3, 8.2.1).
const MaxLen = 33

// Values of TS, the initial character (ISO/IEC 7816-3, 8.1).
const (
	TSDirect     byte = 0x3B // direct convention: bits are sent least significant first, state H is 1
	TSInverse    byte = 0x3F // inverse convention: bits are sent most significant first, state H is 0
	TSInverseRaw byte = 0x03 // what a reader that does not know the inverse convention makes of TSInverse
)

// An ATR is an answer to reset, taken apart. Its methods say what the bytes mean.
type ATR struct {
	// TS is TSDirect or TSInverse, or 0 if the answer has no valid TS.
	TS byte

	// Raw says that the card uses the inverse convention and the reader did not decode it: the answer starts with 03,
	// and every byte has its bits reversed and complemented. The other fields are decoded; Bytes gives the raw form.
	Raw bool

	// T0 is the format byte: bits 8 to 5 announce TA1 to TD1, bits 4 to 1 are K, the number of historical bytes
	// (ISO/IEC 7816-3, 8.2.2).
	T0 Byte

	// Interface is the interface bytes: TA1, TB1, TC1 and TD1 first. There is an entry for every announcement, T0's and
	// that of every TD byte, even if it announces nothing.
	Interface []InterfaceBytes

	// HistoricalBytes are the historical bytes, at most 15, undecoded. See [ATR.Historical].
	HistoricalBytes []byte

	// TCK is the check byte.
	TCK TCK

	// Rest is what follows the end of the answer to reset, or could not be read.
	Rest []byte

	// Warnings is what the standards don't allow and Parse put up with, in the order of the bytes.
	Warnings []*SyntaxError

	err *SyntaxError // what Parse returned, for Explain
}

// A Byte is a byte that may be absent.
type Byte struct {
	Value   byte
	Present bool
	Offset  int // where it stands in the answer to reset, counted from 0
}

// InterfaceBytes are TA(i), TB(i), TC(i) and TD(i) for one i (ISO/IEC 7816-3, 8.2.3).
type InterfaceBytes struct {
	Index          int      // i, from 1
	Protocol       Protocol // T in TD(i-1), which TA, TB and TC are for if i is more than 2; T=0 for i = 1
	TA, TB, TC, TD Byte
}

// A TCK is the check byte: the exclusive-or of all bytes from T0 to TCK is 0. It is required unless T=0 is all that the
// card offers, and then must not be sent (ISO/IEC 7816-3, 8.2.5).
type TCK struct {
	Value    byte
	Present  bool
	Required bool
	Computed byte // what the value has to be
}

// Valid reports whether the check byte is right, or absent and not required.
func (t TCK) Valid() bool {
	if t.Present {
		return t.Value == t.Computed
	}
	return !t.Required
}

// A Convention is the way in which bytes are coded on the I/O contact (ISO/IEC 7816-3, 8.1).
type Convention uint8

// The conventions.
const (
	ConventionUnknown Convention = iota // there is no valid TS
	DirectConvention                    // TS is 3B
	InverseConvention                   // TS is 3F
)

// String is "direct convention" and the like.
func (c Convention) String() string {
	switch c {
	case DirectConvention:
		return "direct convention"
	case InverseConvention:
		return "inverse convention"
	default:
		return "unknown convention"
	}
}

// Convention is the convention that TS announces.
func (a *ATR) Convention() Convention {
	switch a.TS {
	case TSDirect:
		return DirectConvention
	case TSInverse:
		return InverseConvention
	default:
		return ConventionUnknown
	}
}

// TA is the interface byte TA(i), and whether it is present.
func (a *ATR) TA(i int) (byte, bool) { return a.interfaceByte(i, 0) }

// TB is the interface byte TB(i), and whether it is present.
func (a *ATR) TB(i int) (byte, bool) { return a.interfaceByte(i, 1) }

// TC is the interface byte TC(i), and whether it is present.
func (a *ATR) TC(i int) (byte, bool) { return a.interfaceByte(i, 2) }

// TD is the interface byte TD(i), and whether it is present.
func (a *ATR) TD(i int) (byte, bool) { return a.interfaceByte(i, 3) }

func (a *ATR) interfaceByte(i, letter int) (byte, bool) {
	if i < 1 || i > len(a.Interface) {
		return 0, false
	}
	b := a.Interface[i-1].byLetter(letter)
	return b.Value, b.Present
}

// byLetter is TA, TB, TC or TD, for 0 to 3.
func (g *InterfaceBytes) byLetter(letter int) *Byte {
	return [...]*Byte{&g.TA, &g.TB, &g.TC, &g.TD}[letter]
}

// first is the first TA, TB or TC that is specific to a protocol, which interface bytes from index 3 on can be. For
// T=15 these are global (ISO/IEC 7816-3, 8.2.3).
func (a *ATR) first(p Protocol, letter int) Byte {
	for i := range a.Interface {
		if g := &a.Interface[i]; g.Index > 2 && g.Protocol == p {
			if b := g.byLetter(letter); b.Present {
				return *b
			}
		}
	}
	return Byte{}
}

// Bytes puts the answer to reset together again, in the form in which Parse got it.
func (a *ATR) Bytes() []byte {
	out := make([]byte, 0, MaxLen)
	if a.TS != 0 {
		out = append(out, a.TS)
	}
	if a.T0.Present {
		out = append(out, a.T0.Value)
	}
	for i := range a.Interface {
		for letter := range 4 {
			if b := a.Interface[i].byLetter(letter); b.Present {
				out = append(out, b.Value)
			}
		}
	}
	out = append(out, a.HistoricalBytes...)
	if a.TCK.Present {
		out = append(out, a.TCK.Value)
	}
	out = append(out, a.Rest...)
	if a.Raw {
		invert(out)
	}
	return out
}

// invert goes from one convention to the other and back.
func invert(b []byte) {
	for i := range b {
		b[i] = ^bits.Reverse8(b[i])
	}
}
