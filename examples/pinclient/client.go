// Package pinclient reads an address from a card that gives it only to those who know its PIN: a client as small as one
// can be that treats a retry counter with care. Its tests show how to test such code without a card, see
// docs/testing.md.
package pinclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

const (
	pinReference = 0x01
	tagAddress   = 0x5F42
)

var aid = []byte("\xF0gopcsc")

// Errors of [Address].
var (
	ErrBlocked = errors.New("the PIN is blocked")
	ErrLastTry = errors.New("the PIN has one try left, which is not for a program to use")
)

// WrongPINError says how many tries are left after a wrong PIN.
type WrongPINError struct{ Tries int }

func (e *WrongPINError) Error() string { return fmt.Sprintf("wrong PIN, tries left: %d", e.Tries) }

// Address verifies the PIN of the card in a reader and reads the address. Nothing is ever tried twice: a PIN that was
// sent may have been counted, whatever became of the answer.
func Address(ctx context.Context, pc *pcsc.Context, reader string, pin []byte) (address string, err error) {
	card, err := pc.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, closed(ctx, card)) }() // which resets the card, so that the PIN is forgotten

	err = card.Transact(ctx, func(tx *pcsc.Transaction) error {
		address, err = read(ctx, iso7816.NewTransport(tx), pin)
		return err
	})
	return address, err
}

// closing is how long a card may take to be reset, whatever the context of a call says.
const closing = time.Second

// closed closes a card. One that is gone needs no closing.
func closed(ctx context.Context, card *pcsc.Card) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	err := card.CloseContext(ctx)
	if errors.Is(err, pcsc.ErrRemovedCard) || errors.Is(err, pcsc.ErrReaderUnavailable) {
		return nil
	}
	return err
}

func read(ctx context.Context, card *iso7816.Transport, pin []byte) (string, error) {
	selectApp, err := iso7816.SelectAID(aid)
	if err != nil {
		return "", err
	}
	if _, err := card.Do(ctx, selectApp); err != nil {
		return "", err
	}

	// Ask for the retry counter before it is touched.
	switch tries, err := triesLeft(card.Do(ctx, iso7816.VerifyStatus(pinReference))); {
	case err != nil:
		return "", err
	case tries == 0:
		return "", ErrBlocked
	case tries == 1:
		return "", ErrLastTry
	}
	verify, err := iso7816.Verify(pinReference, pin)
	if err != nil {
		return "", err
	}
	switch tries, err := triesLeft(card.Do(ctx, verify)); {
	case err != nil:
		return "", err
	case tries == 0:
		return "", ErrBlocked
	case tries != verified:
		return "", &WrongPINError{tries}
	}

	getAddress, err := iso7816.GetData(tagAddress, iso7816.MaxShortNe)
	if err != nil {
		return "", err
	}
	address, err := card.Do(ctx, getAddress)
	return string(address), err
}

// verified is the number of tries that stands for a PIN that is verified.
const verified = -1

// triesLeft is what an answer to VERIFY says of the retry counter.
func triesLeft(_ []byte, err error) (tries int, _ error) {
	if err == nil {
		return verified, nil
	}
	var sw iso7816.StatusWord
	if errors.As(err, &sw) {
		if tries, ok := sw.TriesLeft(); ok { // 63CX, or 6983
			return tries, nil
		}
	}
	return 0, err
}
