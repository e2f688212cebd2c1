package pcsc

import (
	"context"
	"encoding"
	"encoding/binary"
	"fmt"
	"runtime"
	"time"

	"github.com/gopcsc/gopcsc/internal/part10"
)

// PINStatus is the status word that ends the entry of a PIN: the reader's, or that of the card to which the reader has
// sent the PIN. As an error it is in the chain of what [Card.VerifyPINDirect] and its like return; errors.As finds it.
type PINStatus uint16

// The status words of readers. They mean other things in answers of cards, so a card that gives one of them to the
// command with the PIN is misunderstood.
const (
	PINStatusOK        PINStatus = 0x9000
	PINStatusTimeout   PINStatus = 0x6400 // no PIN was entered in time
	PINStatusCancelled PINStatus = 0x6401 // the user pressed the key that cancels
	PINStatusMismatch  PINStatus = 0x6402 // the new PIN was entered in two ways
	PINStatusLength    PINStatus = 0x6403 // the PIN is shorter or longer than allowed
	PINStatusStructure PINStatus = 0x6B80 // the reader does not accept the structure
)

// pinMeaning is what a status word stands for.
func (s PINStatus) pinMeaning() (Code, string) {
	switch {
	case s == PINStatusOK:
		return Success, "success"
	case s == PINStatusTimeout:
		return ErrTimeout, "no PIN was entered in time"
	case s == PINStatusCancelled:
		return ErrCancelledByUser, "the user cancelled the entry of the PIN"
	case s == PINStatusMismatch:
		return ErrInvalidCHV, "the new PIN was not entered the same way twice"
	case s == PINStatusLength:
		return ErrInvalidCHV, "the PIN is too short or too long"
	case s == PINStatusStructure:
		return ErrInvalidParameter, "the reader does not accept the parameters of the entry"
	case s == 0x63C0:
		return ErrCHVBlocked, "wrong PIN, no tries left"
	case s == 0x63C1:
		return ErrWrongCHV, "wrong PIN, 1 try left"
	case s&0xFFF0 == 0x63C0:
		return ErrWrongCHV, fmt.Sprintf("wrong PIN, %d tries left", s&0xF)
	case s == 0x6300:
		return ErrWrongCHV, "wrong PIN"
	case s == 0x6983:
		return ErrCHVBlocked, "the PIN is blocked"
	case s == 0x6982:
		return ErrSecurityViolation, "the card wants another security condition fulfilled first"
	}
	return ErrNotTransacted, "the card refused the command"
}

// Error says what the status word means, and its value.
func (s PINStatus) Error() string {
	_, text := s.pinMeaning()
	return fmt.Sprintf("status %04X, %s", uint16(s), text)
}

// Is makes errors.Is(err, ErrWrongCHV) hold for the last wrong try, too, which blocks the PIN.
func (s PINStatus) Is(target error) bool { return s == 0x63C0 && target == error(ErrWrongCHV) }

// TriesLeft is the number of tries that the card says are left, and whether it says so.
func (s PINStatus) TriesLeft() (n int, ok bool) {
	switch {
	case s&0xFFF0 == 0x63C0:
		return int(s & 0xF), true
	case s == 0x6983:
		return 0, true
	}
	return 0, false
}

// PINKey is what [Card.KeyPressed] tells of the reader's keys: never which digit.
type PINKey byte

// The keys. A reader may have others.
const (
	PINKeyNone   PINKey = 0x00 // none since the last question
	PINKeyErase  PINKey = 0x0A // a digit was taken back
	PINKeyEnter  PINKey = 0x0D // the entry is complete
	PINKeyCancel PINKey = 0x1B // the user cancelled
	PINKeyDigit  PINKey = 0x2B // a digit was entered
	PINKeyAbort  PINKey = 0x40 // the entry was aborted, or its time is over
)

// ends reports whether there are no keys to come.
func (k PINKey) ends() bool { return k == PINKeyEnter || k == PINKeyCancel || k == PINKeyAbort }

// pinFeatures are the features of an entry, in one call and in steps.
type pinFeatures struct{ direct, start, finish Feature }

var (
	verifyFeatures = pinFeatures{FeatureVerifyPINDirect, FeatureVerifyPINStart, FeatureVerifyPINFinish}
	modifyFeatures = pinFeatures{FeatureModifyPINDirect, FeatureModifyPINStart, FeatureModifyPINFinish}
)

// inSteps reports whether the entry can be followed and aborted.
func (p pinFeatures) inSteps(f Features) bool {
	return f.Has(p.start) && f.Has(p.finish) && f.Has(FeatureGetKeyPressed) && f.Has(FeatureAbort)
}

// boundPINTimeouts makes the timeouts that the reader gets no more than ctx has left, rounded up, so that the reader
// stops asking when nobody waits for the answer any more. For the call itself can't be ended.
func boundPINTimeouts(ctx context.Context, first, afterKey *time.Duration) {
	if ctx == nil {
		return
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return
	}
	left := max((time.Until(deadline) + time.Second - 1).Truncate(time.Second), time.Second)
	if left <= pinTimeoutMax && (*first == 0 || left < *first) {
		*first = left
	}
	// Where the reader's own applies it is left alone: it may count from the last key, and be shorter.
	*afterKey = min(*afterKey, left)
}

func (t target) verifyStructure(ctx context.Context, v PINVerify) ([]byte, error) {
	boundPINTimeouts(ctx, &v.Timeout, &v.TimeoutAfterKey)
	return t.pinStructure(v, part10.PINVerifySize+len(v.APDU))
}

func (t target) modifyStructure(ctx context.Context, m PINModify) ([]byte, error) {
	boundPINTimeouts(ctx, &m.Timeout, &m.TimeoutAfterKey)
	return t.pinStructure(m, part10.PINModifySize+len(m.APDU))
}

// pinStructure makes the structure in memory of its final size, so that nothing of it is left behind elsewhere.
func (t target) pinStructure(v encoding.BinaryAppender, size int) ([]byte, error) {
	b, err := v.AppendBinary(make([]byte, 0, size))
	if e, ok := err.(*Error); ok && t.cardState != nil {
		e.Reader = t.reader
	}
	return b, err
}

func (t target) verifyDirect(ctx context.Context, v PINVerify) error {
	in, err := t.verifyStructure(ctx, v)
	if err != nil {
		return err
	}
	return t.enterDirect(ctx, verifyFeatures, in)
}

func (t target) modifyDirect(ctx context.Context, m PINModify) error {
	in, err := t.modifyStructure(ctx, m)
	if err != nil {
		return err
	}
	return t.enterDirect(ctx, modifyFeatures, in)
}

func (t target) verify(ctx context.Context, v PINVerify, key func(PINKey)) error {
	in, err := t.verifyStructure(ctx, v)
	if err != nil {
		return err
	}
	return t.enter(ctx, verifyFeatures, in, key)
}

func (t target) modify(ctx context.Context, m PINModify, key func(PINKey)) error {
	in, err := t.modifyStructure(ctx, m)
	if err != nil {
		return err
	}
	return t.enter(ctx, modifyFeatures, in, key)
}

func (t target) enterDirect(ctx context.Context, p pinFeatures, in []byte) error {
	defer clear(in)
	f, err := t.features(ctx)
	if err != nil {
		return err
	}
	return t.pinCall(ctx, f, p.direct, in)
}

// pinCall calls a feature whose answer is a status word.
func (t target) pinCall(ctx context.Context, f Features, feature Feature, in []byte) error {
	var buf [16]byte
	answer, err := t.controlFeature(ctx, buf[:0], f, feature, in)
	if err != nil {
		return err
	}
	if len(answer) < 2 {
		return t.failedPIN(ErrInternalError, feature.String()+": the driver's answer has no status word", nil)
	}
	return t.pinError(PINStatus(binary.BigEndian.Uint16(answer[len(answer)-2:])))
}

func (t target) pinError(s PINStatus) error {
	code, _ := s.pinMeaning()
	if code == Success {
		return nil
	}
	return t.failedPIN(code, "", s)
}

const (
	keyInterval   = 100 * time.Millisecond // between questions for a key
	abortPatience = 5 * time.Second        // for a driver to abort
)

// enter has a PIN entered in steps if the reader can do that and let itself be aborted, else in one call.
func (t target) enter(ctx context.Context, p pinFeatures, in []byte, key func(PINKey)) (err error) {
	defer clear(in)
	f, err := t.features(ctx)
	if err != nil {
		return err
	}
	if !p.inSteps(f) {
		return t.pinCall(ctx, f, p.direct, in)
	}
	complete := false
	// Also when the start was given up: it goes on in the background, and the abort comes after it. Also when key
	// panics.
	defer func() {
		if !complete {
			t.abort(ctx, f, p)
		}
	}()
	if _, err := t.controlFeature(ctx, nil, f, p.start, in); err != nil {
		complete = ctx.Err() == nil // the driver's own error: nothing was started
		return err
	}
	last, err := t.follow(ctx, f, key)
	if err != nil {
		return err
	}
	complete = true
	err = t.pinCall(ctx, f, p.finish, nil)
	if e, ok := err.(*Error); ok && e.cause == nil {
		// Some drivers have nothing to finish after an entry without a PIN.
		switch last {
		case PINKeyCancel:
			return t.pinError(PINStatusCancelled)
		case PINKeyAbort:
			return t.pinError(PINStatusTimeout)
		}
	}
	return err
}

// follow asks for keys until one ends the entry.
func (t target) follow(ctx context.Context, f Features, key func(PINKey)) (PINKey, error) {
	for {
		k, err := t.keyPressed(ctx, f)
		if err != nil {
			return 0, err
		}
		if k == PINKeyNone {
			timer := time.NewTimer(keyInterval)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return 0, endedError(ctx, opControl, t.reader, "the entry of the PIN was aborted")
			}
			continue
		}
		if key != nil {
			key(k)
		}
		if k.ends() {
			return k, nil
		}
	}
}

// abort ends an entry in steps for which nobody waits any more, and fetches the result, which leaves the reader ready
// for the next one. It must work although ctx has ended.
func (t target) abort(ctx context.Context, f Features, p pinFeatures) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
	defer cancel()
	if _, err := t.controlFeature(ctx, nil, f, FeatureAbort, nil); err == nil {
		_ = t.pinCall(ctx, f, p.finish, nil)
	}
}

func (t target) keyPressed(ctx context.Context, f Features) (PINKey, error) {
	var buf [16]byte
	answer, err := t.controlFeature(ctx, buf[:0], f, FeatureGetKeyPressed, nil)
	switch {
	case err != nil:
		return 0, err
	case len(answer) == 0:
		return PINKeyNone, nil
	}
	return PINKey(answer[0]), nil
}

func (t target) askKeyPressed(ctx context.Context) (PINKey, error) {
	f, err := t.features(ctx)
	if err != nil {
		return 0, err
	}
	return t.keyPressed(ctx, f)
}

func (t target) askAbort(ctx context.Context) error {
	_, err := t.askFeature(ctx, FeatureAbort, nil)
	return err
}

// VerifyPINDirect lets the user enter a PIN at the reader, which sends it to the card, in one call
// ([FeatureVerifyPINDirect]). The PIN never reaches this computer. nil means that the card has accepted it.
//
// It blocks until the user is done or the reader's timeout is over, and until then the card is busy. If ctx ends
// first, the method returns but the entry goes on: it can't be aborted, since on pcsc-lite a reader gets no second
// command before it has answered the first. So that it does not go on for long, a deadline of ctx lowers v.Timeout, and
// v.TimeoutAfterKey if it is set, to the seconds that are left. [Card.VerifyPIN] can do more with some readers. Of an entry that goes on the card may
// still accept the PIN: close the card, which resets it, or wait.
//
// Errors, for errors.Is:
//
//   - [ErrCancelledByUser]: the user cancelled
//   - [ErrTimeout], context.DeadlineExceeded: no PIN in time
//   - [ErrInvalidCHV]: the PIN was too short or too long
//   - [ErrWrongCHV]: the PIN was wrong; [PINStatus.TriesLeft] says how many tries are left
//   - [ErrCHVBlocked]: it was blocked, or is so now
//   - [ErrInvalidParameter]: v has a fault, and nothing was sent; or the reader does not accept it
//   - errors.ErrUnsupported: the reader does not have the feature
//   - [ErrSecurityViolation] or [ErrNotTransacted] with a [PINStatus]: the card refused the command
//
// and those of [Card.Control]. errors.As with a *PINStatus gives the status word.
func (c *Card) VerifyPINDirect(ctx context.Context, v PINVerify) error {
	defer runtime.KeepAlive(c)
	return c.target().verifyDirect(ctx, v)
}

// VerifyPINDirect is [Card.VerifyPINDirect] in the transaction.
func (t *Transaction) VerifyPINDirect(ctx context.Context, v PINVerify) error {
	defer runtime.KeepAlive(t)
	return t.target().verifyDirect(ctx, v)
}

// ModifyPINDirect lets the user change a PIN at the reader, in one call ([FeatureModifyPINDirect]). nil means that the
// card has accepted the new one. What blocks and which errors there are is as with [Card.VerifyPINDirect]; with
// [ErrInvalidCHV] the two entries of the new PIN may also have differed, see [PINStatusMismatch].
func (c *Card) ModifyPINDirect(ctx context.Context, m PINModify) error {
	defer runtime.KeepAlive(c)
	return c.target().modifyDirect(ctx, m)
}

// ModifyPINDirect is [Card.ModifyPINDirect] in the transaction.
func (t *Transaction) ModifyPINDirect(ctx context.Context, m PINModify) error {
	defer runtime.KeepAlive(t)
	return t.target().modifyDirect(ctx, m)
}

// VerifyPIN lets the user enter a PIN at the reader as [Card.VerifyPINDirect] does, in the best way that the reader
// has. If it has [FeatureVerifyPINStart], [FeatureVerifyPINFinish], [FeatureGetKeyPressed] and [FeatureAbort], the
// entry is made in steps: key, unless it is nil, is called for each key, so that a program can show how far the user
// is, and if ctx ends the entry is aborted at the reader before the method returns, which can take a few seconds. Else
// it is VerifyPINDirect, and key is not called.
//
// Between the steps other calls on the card are possible and disturb some readers; a transaction keeps other programs
// out.
func (c *Card) VerifyPIN(ctx context.Context, v PINVerify, key func(PINKey)) error {
	defer runtime.KeepAlive(c)
	return c.target().verify(ctx, v, key)
}

// VerifyPIN is [Card.VerifyPIN] in the transaction.
func (t *Transaction) VerifyPIN(ctx context.Context, v PINVerify, key func(PINKey)) error {
	defer runtime.KeepAlive(t)
	return t.target().verify(ctx, v, key)
}

// ModifyPIN lets the user change a PIN at the reader as [Card.ModifyPINDirect] does, in the best way that the reader
// has; see [Card.VerifyPIN].
func (c *Card) ModifyPIN(ctx context.Context, m PINModify, key func(PINKey)) error {
	defer runtime.KeepAlive(c)
	return c.target().modify(ctx, m, key)
}

// ModifyPIN is [Card.ModifyPIN] in the transaction.
func (t *Transaction) ModifyPIN(ctx context.Context, m PINModify, key func(PINKey)) error {
	defer runtime.KeepAlive(t)
	return t.target().modify(ctx, m, key)
}

// KeyPressed asks which kind of key the user has pressed at the reader, during an entry that was started with
// [Card.ControlFeature] and [FeatureVerifyPINStart] or [FeatureModifyPINStart]. It does not wait for one.
// [Card.VerifyPIN] does all of this by itself.
//
// Errors: one that is errors.ErrUnsupported if the reader does not have the feature; else as of [Card.Control].
func (c *Card) KeyPressed(ctx context.Context) (PINKey, error) {
	defer runtime.KeepAlive(c)
	return c.target().askKeyPressed(ctx)
}

// KeyPressed is [Card.KeyPressed] in the transaction.
func (t *Transaction) KeyPressed(ctx context.Context) (PINKey, error) {
	defer runtime.KeepAlive(t)
	return t.target().askKeyPressed(ctx)
}

// AbortPIN ends the entry of a PIN that was started with [Card.ControlFeature] and [FeatureVerifyPINStart] or
// [FeatureModifyPINStart] ([FeatureAbort]). It does not end a VerifyPINDirect: on the same card it waits for that to be
// over, and on pcsc-lite it does so on every other connection to the reader, too.
//
// Errors: one that is errors.ErrUnsupported if the reader does not have the feature; else as of [Card.Control].
func (c *Card) AbortPIN(ctx context.Context) error {
	defer runtime.KeepAlive(c)
	return c.target().askAbort(ctx)
}

// AbortPIN is [Card.AbortPIN] in the transaction.
func (t *Transaction) AbortPIN(ctx context.Context) error {
	defer runtime.KeepAlive(t)
	return t.target().askAbort(ctx)
}
