package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/pcsc"
)

// Exit codes. They are documented in the help text and must not change.
const (
	exitOK         = 0
	exitError      = 1
	exitUsage      = 2
	exitNoService  = 3
	exitNoReader   = 4
	exitNoCard     = 5
	exitTimeout    = 6
	exitStatusWord = 7
)

// failure is an error in words for people.
type failure struct {
	exit   int
	what   string // what is wrong
	todo   string // what to do about it; may be empty
	reader string // if it is about one
	cause  *pcsc.Error
}

func (f *failure) Error() string { return f.what }

func (f *failure) print(w io.Writer) {
	fmt.Fprintf(w, "pcsc: %s\n", f.what)
	if f.todo != "" {
		fmt.Fprintf(w, "  %s\n", f.todo)
	}
}

// jsonError is a failure in JSON.
type jsonError struct {
	Exit     int    `json:"exit"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	Reader   string `json:"reader,omitempty"`
	Function string `json:"function,omitempty"`
	Code     string `json:"code,omitempty"`
	Value    string `json:"value,omitempty"`
}

func (f *failure) json() *jsonError {
	e := &jsonError{Exit: f.exit, Message: f.what, Hint: f.todo, Reader: f.reader}
	if f.cause != nil {
		e.Function, e.Code = f.cause.Op, f.cause.Code.Name()
		e.Value = fmt.Sprintf("0x%08X", uint32(f.cause.Code))
	}
	return e
}

// doing says in words what a C function is for.
var doing = map[string]string{
	"SCardEstablishContext": "contacting the smart card service",
	"SCardListReaders":      "listing the readers",
	"SCardGetStatusChange":  "asking for the state of the readers",
	"SCardConnect":          "connecting to the card",
	"SCardReconnect":        "connecting to the card again",
	"SCardStatus":           "asking for the state of the card",
	"SCardBeginTransaction": "waiting for the card to be free",
	"SCardEndTransaction":   "ending the transaction",
	"SCardTransmit":         "sending an APDU",
	"SCardDisconnect":       "disconnecting from the card",
	"SCardGetAttrib":        "reading an attribute",
	"SCardControl":          "asking the reader's driver",
}

// exits are the exit codes of PC/SC's codes; that of others is exitError.
var exits = []struct {
	exit  int
	codes []pcsc.Code
}{
	{exitNoService, []pcsc.Code{pcsc.ErrNoService, pcsc.ErrServiceStopped, pcsc.ErrUnavailable, pcsc.ErrCommError}},
	{exitNoReader, []pcsc.Code{pcsc.ErrUnknownReader, pcsc.ErrReaderUnavailable, pcsc.ErrNoReadersAvailable}},
	{exitNoCard, []pcsc.Code{pcsc.ErrNoSmartcard, pcsc.ErrRemovedCard, pcsc.ErrUnresponsiveCard, pcsc.ErrUnpoweredCard}},
	{exitTimeout, []pcsc.Code{pcsc.ErrTimeout, pcsc.ErrCancelled}},
}

// hints are what to do about a code, where the library's hint speaks to programmers.
var hints = map[pcsc.Code]string{
	pcsc.ErrNoSmartcard:   "insert a card",
	pcsc.ErrUnknownReader: "pcsc list shows the readers",
	pcsc.ErrRemovedCard:   "insert the card and try again",
	pcsc.ErrResetCard:     "try again; another program has reset the card",
	pcsc.ErrUnpoweredCard: "take the card out and put it in again, the right way round",
	pcsc.ErrProtoMismatch: "leave --protocol at any",
	pcsc.ErrInvalidHandle: "try again; the service may have been restarted",
	pcsc.ErrCommError:     "try again; if that fails too, restart the service",
	pcsc.ErrNotTransacted: "take the card out and put it in again; if the APDU was long, the reader may not take extended ones",
}

// explain puts an error into words.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	var e *pcsc.Error
	if !errors.As(err, &e) {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return &failure{exit: exitTimeout, what: "out of time"}
		case ended:
			return &failure{exit: exitTimeout, what: "interrupted"}
		}
		return &failure{exit: exitError, what: err.Error()}
	}

	f = &failure{exit: exitError, reader: e.Reader, cause: e}
	var b strings.Builder
	if words := doing[e.Op]; words != "" {
		b.WriteString(words)
	} else {
		b.WriteString(e.Op)
	}
	if e.Reader != "" {
		fmt.Fprintf(&b, ", reader %q", e.Reader)
	}
	b.WriteString(": ")
	switch {
	case errors.Is(err, context.Canceled):
		f.exit = exitTimeout
		b.WriteString("interrupted")
	case ended:
		f.exit = exitTimeout
		b.WriteString("out of time")
	default:
		for _, x := range exits {
			if slices.ContainsFunc(x.codes, func(c pcsc.Code) bool { return errors.Is(e.Code, c) }) {
				f.exit = x.exit
			}
		}
		b.WriteString(e.Code.Error())
		if name := e.Code.Name(); name != "" {
			fmt.Fprintf(&b, " (%s)", name)
		}
		hint, ok := hints[e.Code]
		if !ok {
			hint = e.Code.Hint()
		}
		f.todo = hint
		if e.Detail != "" { // it is more precise than the hint
			f.todo = e.Detail
		}
	}
	f.what = b.String()
	return f
}
