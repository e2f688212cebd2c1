package virtual

import "github.com/gopcsc/gopcsc/generated/winscard"

// LocateCardsByATR writes what is so of the readers to states, as [Service.GetStatusChange] does without waiting, and
// sets StateATRMatch for a card whose answer to reset is as long as one of masks and has its bits where the mask has
// ones. pcsc-lite does not have it; this is what Windows documents.
//
// It is the only function that Windows alone has which the service has, too: there is no database of cards, so that
// LocateCards and all others give ErrUnsupportedFunction.
func (s *Service) LocateCardsByATR(ctx winscard.Context, masks []winscard.ATRMask, states []winscard.ReaderState) winscard.Code {
	if len(masks) == 0 {
		return winscard.ErrInvalidParameter
	}
	for i := range masks {
		if n := masks[i].ATRLen; n == 0 || n > winscard.MaxATRSize {
			return winscard.ErrInvalidParameter
		}
	}
	if rc := s.GetStatusChange(ctx, 0, states); rc != winscard.Success && rc != winscard.ErrTimeout {
		return rc
	}
	for i := range states {
		for k := range masks {
			if !ignored(&states[i]) && matches(&states[i], &masks[k]) {
				states[i].EventState |= uint32(winscard.StateATRMatch)
			}
		}
	}
	return winscard.Success
}

func matches(state *winscard.ReaderState, mask *winscard.ATRMask) bool {
	if state.EventState&uint32(winscard.StatePresent) == 0 || state.ATRLen != mask.ATRLen {
		return false
	}
	for i := range mask.ATRLen {
		if (state.ATR[i]^mask.ATR[i])&mask.Mask[i] != 0 {
			return false
		}
	}
	return true
}
