package iso7816

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A StatusWord is the two bytes SW1 and SW2 at the end of a response (ISO/IEC 7816-4, status bytes). It is an error;
// [Success] is one too, so ask [StatusWord.IsSuccess] or use [Response.Err] before you return it.
//
// Compare two with ==, and ask with errors.Is whether one is of a kind.
type StatusWord uint16

// statusInfo is what is known of a status word or a range of them.
type statusInfo struct {
	first, last StatusWord
	class       StatusClass
	text        string
	mask        StatusWord   // bits that are the number {n} in the text
	zero        int          // what the number 0 means
	is          []StatusWord // others that mean as much
	unsupported bool         // is errors.ErrUnsupported
}

func (i *statusInfo) has(sw StatusWord) bool { return i.first <= sw && sw <= i.last }

func (i *statusInfo) number(sw StatusWord) int {
	n := int(sw & i.mask)
	if n == 0 {
		n = i.zero
	}
	return n
}

// info returns the narrowest entry that has the status word, or nil. Of ranges within each other the narrowest is the
// one that begins last.
func (sw StatusWord) info() *statusInfo {
	for i := len(statusWords) - 1; i >= 0; i-- {
		if statusWords[i].has(sw) {
			return &statusWords[i]
		}
	}
	return nil
}

// SW1 is the first byte.
func (sw StatusWord) SW1() byte { return byte(sw >> 8) }

// SW2 is the second byte.
func (sw StatusWord) SW2() byte { return byte(sw) }

// String returns the status word in hexadecimal: "6A82".
func (sw StatusWord) String() string { return fmt.Sprintf("%04X", uint16(sw)) }

// Text returns the meaning of the status word in English, or an empty string if the standard does not define it.
func (sw StatusWord) Text() string {
	i := sw.info()
	if i == nil {
		return ""
	}
	return strings.ReplaceAll(i.text, "{n}", strconv.Itoa(i.number(sw)))
}

// Error returns the meaning and the value: "file or application not found (6A82)".
func (sw StatusWord) Error() string {
	text := sw.Text()
	if text == "" {
		text = "status word that ISO/IEC 7816-4 does not define"
	}
	return text + " (" + sw.String() + ")"
}

// Format implements [fmt.Formatter]: verbs for numbers, as %04X, print the value, others what Error returns. Without it
// %X would print the letters of Error in hexadecimal.
func (sw StatusWord) Format(s fmt.State, verb rune) {
	switch verb {
	case 'b', 'o', 'd', 'x', 'X':
		fmt.Fprintf(s, fmt.FormatString(s, verb), uint16(sw))
	default:
		fmt.Fprintf(s, fmt.FormatString(s, verb), sw.Error())
	}
}

// Is makes errors.Is find the range that a status word lies in (in 6982 [ErrCommandNotAllowed], which is 69XX), what
// means as much ([ErrWrongLength] in 6CXX), and errors.ErrUnsupported in what the card does not support.
func (sw StatusWord) Is(target error) bool {
	other, isWord := target.(StatusWord)
	for i := range statusWords {
		e := &statusWords[i]
		if !e.has(sw) {
			continue
		}
		if isWord && (e.first == other || slices.Contains(e.is, other)) || e.unsupported && target == errors.ErrUnsupported {
			return true
		}
	}
	return false
}

// A StatusClass is one of the four kinds of status words.
type StatusClass uint8

// The kinds of status words (ISO/IEC 7816-4, status bytes).
const (
	ClassUnknown   StatusClass = iota // proprietary, reserved or invalid
	ClassNormal                       // normal processing: the command was carried out
	ClassWarning                      // warning processing: the command was carried out, with a reservation
	ClassExecution                    // execution error: the command was begun and aborted
	ClassChecking                     // checking error: the command was refused
)

// String returns "unknown", "normal", "warning", "execution error" or "checking error".
func (c StatusClass) String() string {
	switch c {
	case ClassNormal:
		return "normal"
	case ClassWarning:
		return "warning"
	case ClassExecution:
		return "execution error"
	case ClassChecking:
		return "checking error"
	}
	return "unknown"
}

// Class returns the kind of the status word.
func (sw StatusWord) Class() StatusClass {
	if i := sw.info(); i != nil {
		return i.class
	}
	return ClassUnknown
}

// IsSuccess reports normal processing: 9000 and 61XX.
func (sw StatusWord) IsSuccess() bool { return sw == Success || sw.SW1() == 0x61 }

// IsWarning reports warning processing: 62XX and 63XX. A PIN that was wrong is such a warning, 63CX.
func (sw StatusWord) IsWarning() bool { return sw.Class() == ClassWarning }

// IsExecutionError reports that the command was begun and aborted: 64XX, 65XX and 66XX.
func (sw StatusWord) IsExecutionError() bool { return sw.Class() == ClassExecution }

// IsCheckingError reports that the command was refused: 67XX to 6FXX, as far as the standard defines them.
func (sw StatusWord) IsCheckingError() bool { return sw.Class() == ClassChecking }

// TriesLeft returns how often the verification that failed may be tried again: the counter of 63CX, or 0 for 6983
// (authentication method blocked). Other status words do not say, and ok is false. What the counter of 63CX counts
// depends on the command; ask after VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER or EXTERNAL AUTHENTICATE.
func (sw StatusWord) TriesLeft() (n int, ok bool) {
	switch {
	case sw&^0xF == ErrCounter:
		return int(sw & 0xF), true
	case sw == ErrAuthenticationBlocked:
		return 0, true
	}
	return 0, false
}

// Available returns the number of bytes that 61XX and 6CXX tell of, 1 to 256. 6100 says 256 and means at least as many.
func (sw StatusWord) Available() (n int, ok bool) {
	if sw1 := sw.SW1(); sw1 != 0x61 && sw1 != 0x6C {
		return 0, false
	}
	return length(int(sw.SW2()), MaxShortNe), true
}
