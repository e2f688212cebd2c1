package pcsc

import (
	"bytes"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A ReaderState is what a program knows of a reader, and what [Context.GetStatusChange] says of it. It is the
// equivalent of SCARD_READERSTATE ([pcsc-lite], [Windows]).
//
// CurrentState and EventState hold State flags in their lower 16 bits and a counter in the upper 16; test flags with
// &, or use [ReaderState.Flags]. A ReaderState is a plain value: copies are independent of each other.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/ns-winscard-scard_readerstatew
type ReaderState struct {
	Reader       string // the reader's name, or PnPNotification
	CurrentState State  // what the program believes; StateUnaware asks for an immediate answer
	EventState   State  // what is so

	atr    [winscard.ReaderStateATRSize]byte
	atrLen uint8
}

// NewReaderState is the state of a reader of which nothing is known yet: GetStatusChange answers at once.
func NewReaderState(reader string) ReaderState { return ReaderState{Reader: reader} }

// ATR returns a copy of the card's answer to reset, or nil if there is no card or it does not answer.
func (r *ReaderState) ATR() []byte {
	// EventState is the caller's to change, so it is asked again: a card that has gone has no ATR.
	if r == nil || r.atrLen == 0 || r.EventState&StatePresent == 0 {
		return nil
	}
	return bytes.Clone(r.atr[:r.atrLen])
}

// Flags is EventState without the counter.
func (r *ReaderState) Flags() State {
	if r == nil {
		return 0
	}
	return r.EventState & 0xFFFF
}

// EventCount is the counter in the upper 16 bits of EventState: the number of card insertions and removals in the
// reader, which wraps around, or always 0 on a platform that does not count. It tells a card that was swapped from one
// that stayed. For [PnPNotification] it is what the platform makes it.
func (r *ReaderState) EventCount() uint16 {
	if r == nil {
		return 0
	}
	return uint16(r.EventState >> 16)
}

// SyncCurrentState makes EventState what the program knows: it sets CurrentState to EventState, counter included,
// without StateChanged. The next wait then waits for a change from there.
//
// A reader that is unknown may carry StateIgnore too, with which waits ignore it from then on: drop it from the list.
func (r *ReaderState) SyncCurrentState() {
	if r != nil {
		r.CurrentState = r.EventState &^ StateChanged
	}
}

// nativeStates returns states for a call. They are a copy, as the call may outlive the caller's interest.
func nativeStates(states []ReaderState) []winscard.ReaderState {
	list := make([]winscard.ReaderState, len(states))
	for i := range states {
		r := &states[i]
		list[i] = winscard.ReaderState{
			Reader:       r.Reader,
			CurrentState: uint32(r.CurrentState),
			EventState:   uint32(r.EventState), // stays as it is for a reader with StateIgnore
			ATRLen:       uint32(r.atrLen),
			ATR:          r.atr,
		}
	}
	return list
}

// updateStates takes over what a call has found.
func updateStates(states []ReaderState, list []winscard.ReaderState) {
	for i := range states {
		r, n := &states[i], &list[i]
		r.EventState = State(n.EventState)
		r.atr, r.atrLen = n.ATR, uint8(min(n.ATRLen, uint32(len(n.ATR))))
		if r.EventState&StatePresent == 0 {
			r.atr, r.atrLen = [len(r.atr)]byte{}, 0 // libraries leave the ATR of the card that has gone
		}
	}
}
