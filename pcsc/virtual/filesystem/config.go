package filesystem

import (
	"fmt"
	"io"
	"strings"

	"github.com/gopcsc/gopcsc/pcsc/iso7816/tlv"
)

// Config describes a card. [New] copies it.
type Config struct {
	// ATR is the answer to reset, 2 to 33 bytes; by default [DefaultATR].
	ATR []byte

	// MF is the master file. Its identifier may be left 0 for 3F00.
	MF DF

	// ShortOnly refuses APDUs of extended length, with 6700.
	ShortOnly bool

	// Random is where GET CHALLENGE has its bytes from; by default crypto/rand.Reader.
	Random io.Reader
}

// DF is a dedicated file: an application or a directory.
type DF struct {
	// ID is the file identifier. One with a Name may do without, and be 0.
	ID uint16

	// Name is the DF name of up to 16 bytes, mostly an application identifier.
	Name []byte

	EFs  []EF
	DFs  []DF
	PINs []PIN
	Data []DataObject

	// Control is what SELECT returns in place of the control information that is made up, whole: template tag included.
	Control []byte
}

// Structure is how the contents of an EF are divided.
type Structure uint8

// The structures. Their order is that of the standard's file descriptor byte.
const (
	Transparent    Structure = iota // a sequence of bytes
	LinearFixed                     // records of one size
	LinearVariable                  // records of any size
	Cyclic                          // records of one size, of which a new one overwrites the oldest
)

// String returns "transparent", "linear fixed", "linear variable" or "cyclic".
func (s Structure) String() string {
	switch s {
	case Transparent:
		return "transparent"
	case LinearFixed:
		return "linear fixed"
	case LinearVariable:
		return "linear variable"
	case Cyclic:
		return "cyclic"
	}
	return fmt.Sprintf("Structure(%d)", uint8(s))
}

// EF is an elementary file.
type EF struct {
	ID  uint16
	SFI byte // short identifier, 1 to 30; 0 if it has none

	Structure Structure

	// Data is the contents of a transparent file. Size is their length; the default is that of Data, and what is beyond
	// Data is 00.
	Data []byte
	Size int

	// Records are the contents of any other file. In a cyclic file the first one is the newest.
	//
	// RecordSize is the length of all records, or with a variable structure the largest there can be; the default is
	// that of the longest record, and with a variable structure 255.
	//
	// MaxRecords is how many there can be, up to 254; the default is 254, and with a cyclic structure as many as there
	// are.
	Records    [][]byte
	RecordSize int
	MaxRecords int

	// Read and Update are what has to be verified before the contents are read, and before they are changed.
	Read, Update Condition

	// Control is as in a [DF].
	Control []byte
}

// DataObject is what GET DATA returns.
type DataObject struct {
	Tag   tlv.Tag
	Value []byte // of a constructed tag: encoded data objects
	Read  Condition
}

// PIN is reference data for VERIFY and its like.
type PIN struct {
	// Reference is P2 of its commands. Those below 0x80 belong to the whole card, and only the master file has such;
	// others (iso7816.Specific) are looked for in the current DF first and then in its parents.
	Reference byte

	Value []byte

	// Tries is the retry counter's first value, 1 to 15; by default 3.
	Tries int

	// MinLength and MaxLength limit new values; by default 1 and 64.
	MinLength, MaxLength int

	// Length, if not 0, is the one length that the card takes a value in, padded with Pad to it. 6700 is the answer to
	// others, and no try is lost. Without Length a value is sent as it is; when two are sent, the first has the length
	// of the one that it is compared with.
	Length int
	Pad    byte

	// PUK is the resetting code for RESET RETRY COUNTER, if there is one; Length does not apply to it. PUKTries is how
	// often it may be wrong, 1 to 15; by default 3.
	PUK      []byte
	PUKTries int

	// Unblock, unless it is Always, is the condition on which RESET RETRY COUNTER needs no resetting code.
	Unblock Condition
}

// Condition is what has to be verified first. The zero value is [Always].
type Condition struct {
	never bool
	all   bool
	refs  []byte
}

var (
	Always = Condition{}            // nothing has to be
	Never  = Condition{never: true} // there is no way
)

// Verified is the condition that all these PINs are verified.
func Verified(references ...byte) Condition {
	return Condition{all: true, refs: append([]byte(nil), references...)}
}

// AnyVerified is the condition that at least one of these PINs is verified.
func AnyVerified(references ...byte) Condition {
	return Condition{never: len(references) == 0, refs: append([]byte(nil), references...)}
}

// String returns "always", "never" or, in hexadecimal, the PINs: "01 and 82", "01 or 82".
func (c Condition) String() string {
	switch {
	case c.never:
		return "never"
	case len(c.refs) == 0:
		return "always"
	}
	refs := make([]string, len(c.refs))
	for i, ref := range c.refs {
		refs[i] = fmt.Sprintf("%02X", ref)
	}
	word := " or "
	if c.all {
		word = " and "
	}
	return strings.Join(refs, word)
}

// Fault is a mistake in a [Config].
type Fault struct {
	// Path leads to what is wrong, as Go writes it: "MF.DFs[0].EFs[1].SFI".
	Path string
	Msg  string
}

// Error returns path and message on one line.
func (f *Fault) Error() string { return f.Path + ": " + f.Msg }
