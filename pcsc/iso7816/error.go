package iso7816

import (
	"errors"
	"fmt"
	"strings"
)

// ErrLimit is in the error of an exchange that a [Transport] gave up because the card had too much to say, and in that
// of a command that would be too long a chain, which is [ErrInvalidCommand] too.
var ErrLimit = errors.New("limit exceeded")

// Error is the error of a command that a [Transport] sent, or meant to. It holds no data of the command or response.
//
// errors.Is and errors.As see through it, to the [StatusWord] that the card answered, to the error of the
// [Transmitter] such as *pcsc.Error, or to [ErrInvalidResponse] and [ErrLimit].
type Error struct {
	Header [4]byte // CLA, INS, P1 and P2 of the command, as it was given
	Link   int     // which command of a chain failed, from 1; 0 if there was no chain or it was not the chain that failed
	Links  int     // how many commands the chain has; 0 if Link is
	Detail string  // what this package adds in plain words; may be empty
	Err    error   // the cause
}

// Error is one line: the command, where in the exchange it failed, and why.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("iso7816: ")
	b.WriteString(headerText(e.Header))
	if e.Link > 0 {
		fmt.Fprintf(&b, ": command %d of %d in the chain", e.Link, e.Links)
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
