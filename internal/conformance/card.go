package conformance

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"
	"sync/atomic"
)

// A Card is the virtual card of the suite. Its commands let a test prove what
// reached the card, how often and in which order:
//
//	80 10 hh ll data...  exchange: hhll bytes, being [Answer] of the whole
//	                     command. Any number of data bytes, no length field.
//	00 20 00 00          VERIFY: sets a flag that reset and power loss clear
//	00 22 00 00          1 byte: the flag
//	80 30 00 xx          9000 once [Card.Release] was called; holds the reader
//	80 40 00 xx          9000; shows up in [Card.Log] as xx
//
// The methods can be called from any goroutine.
type Card struct {
	atr []byte

	mu       sync.Mutex
	verified bool
	commands int
	last     uint32
	log      []byte
	resets   int
	powerOns int
	held     chan struct{} // closed when a command 80 30 has arrived
	release  chan struct{} // closed by Release
}

// Kinds of cards by what their ATR offers.
const (
	offerT0   = 1
	offerT1   = 2
	offerBoth = offerT0 | offerT1
)

var serial atomic.Uint32

// NewCard makes a card that offers T=0 and T=1. Its ATR is like no other's.
func NewCard() *Card { return newCard(offerBoth) }

func newCard(offer int) *Card {
	historical := binary.BigEndian.AppendUint32([]byte("conf"), serial.Add(1))
	n := byte(len(historical))
	var atr []byte
	switch offer {
	case offerT0:
		atr = append([]byte{0x3B, n}, historical...)
	case offerT1:
		atr = append([]byte{0x3B, 0x80 | n, 0x01}, historical...)
	default:
		atr = append([]byte{0x3B, 0x80 | n, 0x80, 0x01}, historical...)
	}
	if offer != offerT0 {
		var tck byte
		for _, b := range atr[1:] {
			tck ^= b
		}
		atr = append(atr, tck)
	}
	return &Card{atr: atr, held: make(chan struct{}), release: make(chan struct{})}
}

// ATR is the card's answer to reset.
func (c *Card) ATR() []byte { return slices.Clone(c.atr) }

// PowerOn, PowerOff and Reset are what the reader does to the card.
func (c *Card) PowerOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.powerOns++
	c.verified = false
}

// PowerOff also ends the command 80 30 that is under way: the card may have
// been pulled out.
func (c *Card) PowerOff() {
	c.mu.Lock()
	c.verified = false
	c.mu.Unlock()
	c.Release()
}

// Reset is a warm reset.
func (c *Card) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets++
	c.verified = false
}

// Transmit answers a command.
func (c *Card) Transmit(apdu []byte) []byte {
	c.mu.Lock()
	c.commands++
	c.last = crc32.ChecksumIEEE(apdu)
	if len(apdu) < 4 {
		c.mu.Unlock()
		return []byte{0x67, 0x00}
	}
	ok := []byte{0x90, 0x00}
	switch {
	case apdu[0] == 0x00 && apdu[1] == 0x20:
		c.verified = true
	case apdu[0] == 0x00 && apdu[1] == 0x22:
		flag := byte(0)
		if c.verified {
			flag = 1
		}
		ok = []byte{flag, 0x90, 0x00}
	case apdu[0] == 0x80 && apdu[1] == 0x10:
		c.mu.Unlock()
		return Answer(apdu)
	case apdu[0] == 0x80 && apdu[1] == 0x30:
		c.log = append(c.log, apdu[3])
		held, release := c.held, c.release
		c.mu.Unlock()
		close(held)
		<-release
		return ok
	case apdu[0] == 0x80 && apdu[1] == 0x40:
		c.log = append(c.log, apdu[3])
	default:
		ok = []byte{0x6D, 0x00}
	}
	c.mu.Unlock()
	return ok
}

// Answer is what the card answers to an exchange command: a sequence that
// depends on every byte of the command, and 9000.
func Answer(apdu []byte) []byte {
	n := int(binary.BigEndian.Uint16(apdu[2:4]))
	if n < 2 {
		return []byte{0x67, 0x00}
	}
	answer := make([]byte, n)
	x := crc32.ChecksumIEEE(apdu) | 1
	for i := range n - 2 {
		// xorshift: no period within an answer, so that lost, doubled and
		// displaced parts show.
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		answer[i] = byte(x)
	}
	answer[n-2], answer[n-1] = 0x90, 0x00
	return answer
}

// Commands is the number of commands that arrived so far.
func (c *Card) Commands() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commands
}

// Last is the CRC-32 of the command that arrived last.
func (c *Card) Last() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Resets is the number of warm resets so far.
func (c *Card) Resets() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resets
}

// Log returns the marks of the commands 80 30 and 80 40 since the last call.
func (c *Card) Log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	log := string(c.log)
	c.log = nil
	return log
}

// Held is closed when a command 80 30 has arrived. It is made anew by Release.
func (c *Card) Held() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// Release lets the command 80 30 that is under way be answered.
func (c *Card) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.release)
	c.held, c.release = make(chan struct{}), make(chan struct{})
}

// Commands of the card.
var (
	verify     = []byte{0x00, 0x20, 0x00, 0x00}
	isVerified = []byte{0x00, 0x22, 0x00, 0x00}
)

// exchange makes a command of send bytes (4 at least) that asks for recv bytes
// (2 at least).
func exchange(send, recv int) []byte {
	apdu := make([]byte, send)
	apdu[0], apdu[1] = 0x80, 0x10
	binary.BigEndian.PutUint16(apdu[2:], uint16(recv))
	x := uint32(send)<<16 ^ uint32(recv) | 1
	for i := 4; i < send; i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		apdu[i] = byte(x)
	}
	return apdu
}

func mark(c byte) []byte { return []byte{0x80, 0x40, 0x00, c} }
func hold(c byte) []byte { return []byte{0x80, 0x30, 0x00, c} }
