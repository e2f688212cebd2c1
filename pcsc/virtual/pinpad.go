package virtual

import (
	"sync"
	"time"
)

// The keys of a [PINPad] that are no digits, for [PINPad.Press] and PINPad.User.
const (
	KeyOK     = "\r"   // the entry is complete
	KeyCancel = "\x1B" // no PIN today
	KeyErase  = "\b"   // takes the last digit back
)

// PINPurpose is what a [PINPad] asks for.
type PINPurpose int

// What a PIN pad asks for: the PIN to verify, or, to change it, the old one, the new one, and that again.
const (
	PINToVerify PINPurpose = iota
	PINOld
	PINNew
	PINNewAgain
)

// String is the purpose in words.
func (p PINPurpose) String() string {
	switch p {
	case PINToVerify:
		return "PIN"
	case PINOld:
		return "old PIN"
	case PINNew:
		return "new PIN"
	case PINNewAgain:
		return "new PIN again"
	}
	return "unknown PIN"
}

// PINPrompt is what a [PINPad] asks the user.
type PINPrompt struct {
	Purpose  PINPurpose
	Min, Max int    // digits
	Language uint16 // of the message on the display, as Windows numbers languages; 0: the client wants none
	Message  byte   // the number of the message
}

// A PINPad is the keypad of a reader and its driver: it serves the features of PC/SC part 10. [Reader.SetPINPad] gives
// it to a reader. The zero value is a pad that verifies and changes PINs in one call and has a display of 2 lines of
// 16 characters. Fields must not be changed any more once the pad has a reader.
//
// The test plays the user. It presses keys with [PINPad.Enter] and [PINPad.Press], before the reader asks or while it
// does, or its function User answers the reader's questions. If nobody presses a key, the time of the entry runs out,
// which in a testing/synctest bubble happens at once.
//
// The pad puts the PIN into the client's APDU, as the client's structure says, and sends it to the card, which no other
// call can use meanwhile. What the client gets is the card's answer, or, if it did not come to that, the reader's: 6400
// when the time ran out, 6401 when the user cancelled, 6402 when the new PIN was not the same twice, 6403 when there
// were too few digits or too many, and 6B80 for a structure that makes no sense. Faults for Transmit strike what the
// pad sends, too. Without a card, and when it is pulled during the entry, the driver's call fails.
type PINPad struct {
	// User presses keys when the reader asks for a PIN: digits, [KeyOK], [KeyErase], [KeyCancel]. It is called after the
	// keys of Press have been used up, and may be called by several readers' calls at once.
	User func(PINPrompt) string

	// Timeout is how long the reader waits when the client does not say. 0 is 30 seconds.
	Timeout time.Duration

	// InSteps adds the features that start and finish an entry, tell which kind of key was pressed, and abort.
	InSteps bool

	// MinPIN and MaxPIN are the lengths of PIN that the reader's properties have. MaxPIN 0 is 4 to 12. The client's
	// structure decides.
	MinPIN, MaxPIN int

	// Lines and Columns are the size of the display; Lines 0 is 2 lines of 16, less is no display.
	Lines, Columns int

	// VendorID, ProductID and Firmware go into the reader's properties if they are not 0 or empty.
	VendorID, ProductID uint16
	Firmware            string

	// Escape and PACE, unless nil, add the features CCID_ESC_COMMAND and EXECUTE_PACE. PACE gets the number of the
	// function and its input, and returns its output and, if it failed, a result that is not 0. An error means that the
	// driver failed, as in [Controller].
	Escape func(command []byte) ([]byte, error)
	PACE   func(function byte, input []byte) (output []byte, result uint32, err error)

	// Controller, unless nil, gets the control codes that are not the pad's, and attributes to set.
	Controller Controller

	mu      sync.Mutex
	keys    []byte
	pressed chan struct{} // closed by the next key; nil when nobody waits
}

// Enter is Press(pin + KeyOK).
func (p *PINPad) Enter(pin string) { p.Press(pin + KeyOK) }

// Press presses keys: digits, [KeyOK], [KeyErase], [KeyCancel]; others are ignored. If the reader does not ask for a PIN
// now, they are for its next questions.
func (p *PINPad) Press(keys string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range []byte(keys) {
		if isDigit(k) || k == KeyOK[0] || k == KeyErase[0] || k == KeyCancel[0] {
			p.keys = append(p.keys, k)
		}
	}
	if p.pressed != nil {
		close(p.pressed)
		p.pressed = nil
	}
}

func isDigit(k byte) bool { return k >= '0' && k <= '9' }

// next takes a key, or, if there is none, returns a channel that the next one closes.
func (p *PINPad) next() (key byte, ok bool, pressed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.keys) > 0 {
		key, p.keys = p.keys[0], p.keys[1:]
		return key, true, nil
	}
	if p.pressed == nil {
		p.pressed = make(chan struct{})
	}
	return 0, false, p.pressed
}

// SetPINPad gives the reader a PIN pad, in place of its controller. A pad can be that of one reader; nil takes it away.
func (r *Reader) SetPINPad(p *PINPad) {
	if p == nil {
		r.SetController(nil)
		return
	}
	r.SetController(&padDriver{pad: p, reader: r})
}
