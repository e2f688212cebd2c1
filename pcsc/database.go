package pcsc

import (
	"fmt"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// What the methods for the database of Windows check before a call: the backends would refuse less, and not say why.

// checkATRMask refuses an answer to reset that no card has, and a mask that does not go with it. Without a mask all bits
// matter.
func checkATRMask(op string, atr, mask []byte) *Error {
	switch {
	case len(atr) == 0:
		return badATR(op, "an empty ATR is that of no card: give the answer to reset that the card is known by")
	case len(mask) != 0 && len(mask) != len(atr):
		return badATR(op, "the mask has %d bytes and the ATR has %d: make them equally long, or leave the mask empty for all bits",
			len(mask), len(atr))
	}
	return checkATR(op, atr)
}

// checkATR refuses an answer to reset that is too long.
func checkATR(op string, atr []byte) *Error {
	if len(atr) > winscard.MaxATRSize {
		return badATR(op, "the ATR has %d bytes, the most is %d: give the answer to reset alone, without what follows it",
			len(atr), winscard.MaxATRSize)
	}
	return nil
}

func badATR(op, format string, args ...any) *Error {
	return &Error{Op: op, Code: ErrInvalidParameter, Detail: fmt.Sprintf(format, args...)}
}

// clone copies what p points to.
func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
