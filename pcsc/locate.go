package pcsc

import (
	"context"
	"fmt"
	"slices"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// An ATRMask is an answer to reset to look for with [Context.LocateCardsByATR]. It is the equivalent of
// SCARD_ATRMASK ([Windows]).
//
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/ns-winscard-scard_atrmask
type ATRMask struct {
	ATR  []byte // 1 to 33 bytes
	Mask []byte // the bits of ATR that matter, as many bytes as ATR has; empty for all
}

// LocateCards looks in readers for cards of the kinds that are named, as the database of Windows knows them, and sets
// StateATRMatch in the EventState of each reader that holds one. It is the equivalent of SCardLocateCards ([Windows]).
//
// states are the readers to look in; CurrentState is what the program believes. All of them are updated in place, the
// answer to reset included; with an error they stay as they were. It does not wait for a card: use
// [Context.GetStatusChange] for that, and then look again. When ctx ends first it returns at once, and the call goes on
// in the background.
//
// Errors: [ErrUnknownCard] for a kind of card that the database does not have, [ErrUnknownReader]. Only on Windows;
// elsewhere the error is errors.ErrUnsupported.
//
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardlocatecardsw
func (c *Context) LocateCards(ctx context.Context, cardTypes []string, states []ReaderState) error {
	cardTypes = slices.Clone(cardTypes) // the caller may change them while a call that was given up goes on
	return c.locate(ctx, opLocateCards, states, func(b winscard.Backend, h winscard.Context, list []winscard.ReaderState) winscard.Code {
		return b.LocateCards(h, cardTypes, list)
	})
}

// LocateCardsByATR is [Context.LocateCards] for cards that are known by their answer to reset: it sets StateATRMatch for
// a card that has one of masks. It is the equivalent of SCardLocateCardsByATR ([Windows]).
//
// Errors: [ErrInvalidParameter] for an ATR that is empty or has more than 33 bytes, or a mask of another length,
// [ErrUnknownReader]. Only on Windows; elsewhere the error is errors.ErrUnsupported.
//
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardlocatecardsbyatrw
func (c *Context) LocateCardsByATR(ctx context.Context, masks []ATRMask, states []ReaderState) error {
	native := make([]winscard.ATRMask, len(masks))
	for i := range masks {
		if err := checkATRMask(opLocateCardsByATR, masks[i].ATR, masks[i].Mask); err != nil {
			err.Detail = fmt.Sprintf("masks[%d]: %s", i, err.Detail)
			return err
		}
		masks[i].native(&native[i])
	}
	return c.locate(ctx, opLocateCardsByATR, states, func(b winscard.Backend, h winscard.Context, list []winscard.ReaderState) winscard.Code {
		return b.LocateCardsByATR(h, native, list)
	})
}

// native writes the mask as C has it.
func (m *ATRMask) native(to *winscard.ATRMask) {
	to.ATRLen = uint32(copy(to.ATR[:], m.ATR))
	if copy(to.Mask[:], m.Mask) > 0 {
		return
	}
	for i := range m.ATR {
		to.Mask[i] = 0xFF
	}
}

// locate makes a call that looks in the readers of states.
func (c *Context) locate(ctx context.Context, op string, states []ReaderState,
	f func(winscard.Backend, winscard.Context, []winscard.ReaderState) winscard.Code,
) error {
	for i := range states {
		if states[i].Reader == "" {
			return &Error{Op: op, Code: ErrUnknownReader, Detail: "the name of a reader is empty"}
		}
	}
	list := nativeStates(states)
	err := c.do(ctx, op, "", func(b winscard.Backend, h winscard.Context) winscard.Code { return f(b, h, list) })
	if err == nil {
		updateStates(states, list)
	}
	return err
}
