package atr

import "fmt"

// A SyntaxError says where an answer to reset breaks a rule, and which.
type SyntaxError struct {
	Offset int    // of the byte that is wrong or missing, counted from 0, the TS byte
	Msg    string // what is wrong, without the offset
}

// Error is "atr: byte 7: " and the message.
func (e *SyntaxError) Error() string { return fmt.Sprintf("atr: byte %d: %s", e.Offset, e.Msg) }

func syntaxError(offset int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Offset: offset, Msg: fmt.Sprintf(format, args...)}
}
