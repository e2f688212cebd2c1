package pcsc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Error is the error of every method of this package: the C function that failed, on which reader, and with which
// code.
//
// errors.Is works on codes and on what they stand for:
//
//	errors.Is(err, pcsc.ErrNoSmartcard)
//	errors.Is(err, context.DeadlineExceeded) // the context's deadline or a timeout of the service
//	errors.Is(err, context.Canceled)         // the context was cancelled
//	errors.Is(err, errors.ErrUnsupported)    // not on this platform or not by this reader
//
// No error holds bytes of an APDU.
type Error struct {
	Op     string // the C function, as "SCardConnect"
	Reader string // the reader's name; empty where there is none
	Code   Code
	Needed int    // with ErrInsufficientBuffer, the number of bytes needed; 0 if not known
	Detail string // what this package adds in plain words; may be empty

	cause error // beside Code: of a context that ended, or of a backend that could not be opened
}

// Error is one line: the function, the reader, the meaning of the code, its C name and value, and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("pcsc: ")
	b.WriteString(e.Op)
	if e.Reader != "" {
		b.WriteByte(' ')
		b.WriteString(strconv.Quote(e.Reader))
	}
	b.WriteString(": ")
	b.WriteString(e.Code.Error())
	if name := e.Code.Name(); name != "" { // else the text has the value
		fmt.Fprintf(&b, " (%s 0x%08X)", name, uint32(e.Code))
	}
	if e.Needed > 0 {
		fmt.Fprintf(&b, ": %d bytes needed", e.Needed)
	}
	if e.cause != nil && e.cause.Error() != e.Detail {
		b.WriteString(": ")
		b.WriteString(e.cause.Error())
	}
	switch hint := e.Code.Hint(); {
	case e.Detail != "":
		b.WriteString(": ")
		b.WriteString(e.Detail)
	case hint != "" && e.cause == nil: // a context that ended is not the hint's matter
		b.WriteString(": ")
		b.WriteString(hint)
	}
	return b.String()
}

// Unwrap returns the code and, if the call ended because a context did, that context's error.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.cause}
}

// endedError is the error of a call given up because ctx has ended.
func endedError(ctx context.Context, op, reader, detail string) *Error {
	e := &Error{Op: op, Reader: reader, Code: ErrCancelled, Detail: detail, cause: contextCause(ctx)}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.Code = ErrTimeout
	}
	return e
}

// contextCause is ctx's error together with the cause that the caller may have given to it.
func contextCause(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	switch {
	case cause == nil || errors.Is(err, cause):
		return err
	case errors.Is(cause, err):
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// checkContext refuses a nil ctx and one that has ended.
func checkContext(ctx context.Context, op, reader string) error {
	if ctx == nil {
		return &Error{Op: op, Reader: reader, Code: ErrInvalidParameter, Detail: "nil context.Context"}
	}
	if ctx.Err() != nil {
		return endedError(ctx, op, reader, "")
	}
	return nil
}

// invalidUse is the error of a method called on what is closed, ended, nil or a zero value. No native call is made:
// the service hands out handles again, and a late call would reach somebody else's connection.
func invalidUse(op, reader, detail string) *Error {
	return &Error{Op: op, Reader: reader, Code: ErrInvalidHandle, Detail: detail}
}
