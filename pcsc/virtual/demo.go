package virtual

import (
	"bytes"
	"slices"
	"sync"
)

// What a [DemoCard] knows. The tags are those of its data objects, for the P1 and P2 of GET DATA.
const (
	DemoPIN        = "1234"
	DemoTries      = 3
	DemoTagHolder  = 0x5F20 // cardholder's name, for everyone
	DemoTagAddress = 0x5F42 // cardholder's address, after VERIFY
)

// DemoAID is the identifier of a [DemoCard]'s application. It begins with 0xF0: proprietary, not registered.
func DemoAID() []byte { return []byte("\xF0gopcsc") }

// DemoCard is a small card for demonstrations and for tests. It offers T=0 and T=1 and has one application, [DemoAID],
// with two data objects and a PIN. Its commands have class 0x00:
//
//   - SELECT (A4 04 00) by the whole AID or its beginning: 9000, or 6A82 when there is no such application.
//   - GET DATA (CA) with the tag in P1 and P2: the value and 9000; 6A88 for an unknown tag, 6982 if it takes the PIN.
//   - VERIFY (20 00 01) with the PIN: 9000; 63Cx if it is wrong, x being the tries that are left; 6983 once there are
//     none. Without a PIN it tells the state: 9000 or 63Cx.
//
// Other commands give 6D00 or, of another class, 6E00; all but SELECT give 6985 while the application is not selected.
// A reset forgets the selection and the PIN, but not the tries. A right PIN gives all tries back.
//
// All methods may be called concurrently.
type DemoCard struct {
	mu       sync.Mutex
	selected bool
	verified bool
	tries    int
}

var (
	_ Card     = (*DemoCard)(nil)
	_ ATRer    = (*DemoCard)(nil)
	_ Resetter = (*DemoCard)(nil)
)

// NewDemoCard makes a card that has all its tries.
func NewDemoCard() *DemoCard { return &DemoCard{tries: DemoTries} }

// ATR offers T=0 and T=1 and has the text "gopcsc demo" as historical bytes.
func (c *DemoCard) ATR() []byte {
	const text = "gopcsc demo"
	atr := append([]byte{0x3B, 0x80 | byte(len(text)), 0x80, 0x01}, text...)
	var check byte // over all bytes but the first
	for _, b := range atr[1:] {
		check ^= b
	}
	return append(atr, check)
}

// Reset forgets the selected application and the verified PIN.
func (c *DemoCard) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.selected, c.verified = false, false
}

// Tries returns how many wrong PINs the card still takes.
func (c *DemoCard) Tries() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries
}

// Transmit executes an APDU. It returns no error.
func (c *DemoCard) Transmit(apdu []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, sw := c.execute(apdu)
	return append(slices.Clip(data), byte(sw>>8), byte(sw)), nil
}

func (c *DemoCard) execute(apdu []byte) (data []byte, sw uint16) {
	const (
		success              = 0x9000
		wrongLength          = 0x6700
		securityNotSatisfied = 0x6982
		blocked              = 0x6983
		conditionsNotMet     = 0x6985
		notFound             = 0x6A82
		wrongParameters      = 0x6A86
		dataNotFound         = 0x6A88
		wrongInstruction     = 0x6D00
		wrongClass           = 0x6E00
	)
	if len(apdu) < 4 {
		return nil, wrongLength
	}
	body, ok := commandData(apdu)
	ins, p1, p2 := apdu[1], apdu[2], apdu[3]
	switch {
	case apdu[0] != 0:
		return nil, wrongClass
	case !ok:
		return nil, wrongLength
	case ins == 0xA4:
		if p1 != 4 || p2 != 0 {
			return nil, wrongParameters
		}
		if len(body) == 0 || !bytes.HasPrefix(DemoAID(), body) {
			return nil, notFound
		}
		c.selected, c.verified = true, false
		return nil, success
	case ins != 0xCA && ins != 0x20:
		return nil, wrongInstruction
	case !c.selected:
		return nil, conditionsNotMet
	case ins == 0xCA:
		switch int(p1)<<8 | int(p2) {
		case DemoTagHolder:
			return []byte("Ada Lovelace"), success
		case DemoTagAddress:
			if !c.verified {
				return nil, securityNotSatisfied
			}
			return []byte("12 St James's Square, London"), success
		}
		return nil, dataNotFound
	}

	switch { // VERIFY
	case p1 != 0 || p2 != 1:
		return nil, wrongParameters
	case len(body) == 0 && c.verified:
		return nil, success
	case c.tries == 0:
		return nil, blocked
	case len(body) == 0:
		return nil, 0x63C0 | uint16(c.tries)
	case string(body) != DemoPIN:
		c.verified = false
		c.tries--
		if c.tries == 0 {
			return nil, blocked
		}
		return nil, 0x63C0 | uint16(c.tries)
	}
	c.verified, c.tries = true, DemoTries
	return nil, success
}

// commandData returns the data of a command APDU and whether the APDU's length agrees with its Lc and Le.
func commandData(apdu []byte) (data []byte, ok bool) {
	body := apdu[4:]
	lc, n, _, ok := divide(body)
	if !ok {
		return nil, false
	}
	return body[lc : lc+n], true
}
