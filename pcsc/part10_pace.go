package pcsc

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
)

// PACEFunction is what [Card.ExecutePACE] has the reader do.
type PACEFunction byte

// The functions.
const (
	PACECapabilities PACEFunction = 1 // gives what the reader can do
	PACEEstablish    PACEFunction = 2 // establishes a channel to the card
	PACEDestroy      PACEFunction = 3 // ends the channel
)

// PACEResult is the result of a PACE function that failed, as the reader gives it. As an error it is in the chain of
// what [Card.ExecutePACE] returns; errors.As finds it.
type PACEResult uint32

// Error has the value of the result.
func (r PACEResult) Error() string { return fmt.Sprintf("PACE result %08X", uint32(r)) }

const (
	paceInHead  = 3 // function, length of the input
	paceOutHead = 6 // result, length of the output
)

// executePACE calls a function. The numbers around input and output are little endian.
func (t target) executePACE(ctx context.Context, function PACEFunction, input []byte) ([]byte, error) {
	if len(input) > math.MaxUint16 {
		return nil, t.failedPIN(ErrInvalidParameter, fmt.Sprintf("the input has %d bytes, the most is %d", len(input), math.MaxUint16), nil)
	}
	in := make([]byte, 0, paceInHead+len(input))
	defer func() { clear(in) }() // the input may have a PIN
	in = append(in, byte(function))
	in = binary.LittleEndian.AppendUint16(in, uint16(len(input)))
	in = append(in, input...)
	answer, err := t.askFeature(ctx, FeatureExecutePACE, in)
	if err != nil {
		return nil, err
	}
	if len(answer) < 4 {
		return nil, t.badPACE()
	}
	if r := PACEResult(binary.LittleEndian.Uint32(answer)); r != 0 {
		return nil, t.failedPIN(ErrNotTransacted, "", r)
	}
	if len(answer) < paceOutHead {
		return nil, t.badPACE()
	}
	n := int(binary.LittleEndian.Uint16(answer[4:]))
	if n > len(answer)-paceOutHead {
		return nil, t.badPACE()
	}
	return answer[paceOutHead : paceOutHead+n : paceOutHead+n], nil
}

func (t target) badPACE() error {
	return t.failedPIN(ErrInternalError, FeatureExecutePACE.String()+": the lengths in the driver's answer are wrong", nil)
}

// ExecutePACE calls a PACE function of the reader ([FeatureExecutePACE]) and returns its output. It adds and takes away
// the function's number, the lengths and the result, and knows nothing of what is inside:
//
//   - [PACECapabilities] has no input. The output is bits: 0x40 is PACE, 0x20 the German eID, 0x10 qualified
//     signature, 0x80 PACEDestroy. Readers put a length of one byte before them, or do not.
//   - [PACEEstablish] takes the kind of password (1 byte: 1 MRZ, 2 CAN, 3 PIN, 4 PUK), the CHAT and the password, each
//     with a length of one byte before it, and the certificate description with one of two, little endian. The user
//     enters a password of length 0 at the reader. The output is the card's status word, EF.CardAccess, the current and
//     the previous CAR and the IDicc, with lengths of 2, 1, 1 and 2 bytes before them.
//   - [PACEDestroy] has neither.
//
// A copy of the input is cleared after use; the input itself is the caller's to clear. What blocks, and what happens
// when ctx ends, is as with [Card.VerifyPINDirect]; the reader has no timeout that could be set.
//
// Errors: [ErrNotTransacted] with a [PACEResult] if the reader failed; one that is errors.ErrUnsupported if it does not
// have the feature; else as of [Card.Control].
func (c *Card) ExecutePACE(ctx context.Context, function PACEFunction, input []byte) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().executePACE(ctx, function, input)
}

// ExecutePACE is [Card.ExecutePACE] in the transaction.
func (t *Transaction) ExecutePACE(ctx context.Context, function PACEFunction, input []byte) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().executePACE(ctx, function, input)
}
