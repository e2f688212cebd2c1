package pcsc

import "fmt"

// What the generated methods for the database of Windows check before a call: the backends would refuse the same, but
// not say why.

// checkMask refuses a mask that does not go with its ATR.
func checkMask(op string, mask, atr []byte) error {
	if len(mask) != 0 && len(mask) != len(atr) {
		return &Error{Op: op, Code: ErrInvalidParameter, Detail: fmt.Sprintf(
			"the mask has %d bytes and the ATR has %d: they have to be equally long, or the mask empty", len(mask), len(atr))}
	}
	return nil
}

// checkATR refuses an ATR that is too long.
func checkATR(op string, atr []byte, limit int) error {
	if len(atr) > limit {
		return &Error{Op: op, Code: ErrInvalidParameter, Detail: fmt.Sprintf(
			"the ATR has %d bytes, the most is %d", len(atr), limit)}
	}
	return nil
}

// clone copies what p points to.
func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
