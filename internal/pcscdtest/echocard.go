package pcscdtest

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
	"time"
)

// PIN is what an [EchoCard] wants to see in VERIFY.
const PIN = "123456"

// MaxPattern is the largest response data of an [EchoCard]: with the status
// word it fills the largest message that vpcd transports.
const MaxPattern = 0xFFFF - 2

// An EchoCard is a card with commands that let a test prove what reached the
// card and what came back. Every response ends with a status word, 9000 if all
// is well. Short and extended lengths are understood everywhere.
//
//	00 A4 04 00 Lc AID [Le]    SELECT: no data
//	00 20 00 xx Lc PIN         VERIFY: 9000 and verified for [PIN], else 63C3
//	80 10 00 00 Le             Le bytes of [Pattern], at most [MaxPattern]
//	80 20 00 00 Lc data [Le]   4 bytes: CRC-32 (IEEE) of data, big-endian
//	80 30 hh ll                9000 after hhll milliseconds
//	80 40 00 00 [Le]           4 bytes: APDUs received so far, this one
//	                           included, big-endian
//	80 50 00 00 [Le]           1 byte: 01 if verified, else 00
//
// Le is the exact number of bytes wanted only in 80 10. Malformed commands and
// patterns that are too long get 6700, a sleep that ends because the card is
// pulled 6F00, everything else 6D00.
//
// The verified state is lost with a reset or the power, so it shows what a
// disconnection did to the card. The methods may be called at any time from any
// goroutine.
type EchoCard struct {
	atr []byte

	mu       sync.Mutex
	counters Counters
	verified bool
	off      chan struct{} // closed when the power goes
}

// Counters tell what a card was asked to do since it was made.
type Counters struct {
	APDUs, PowerOns, PowerOffs, Resets int
}

var _ Card = (*EchoCard)(nil)

// NewEchoCard returns a card with the given ATR, or [DefaultATR] if it is nil.
func NewEchoCard(atr []byte) *EchoCard {
	if atr == nil {
		atr = DefaultATR()
	}
	return &EchoCard{atr: atr, off: make(chan struct{})}
}

// Pattern returns the first n bytes of the sequence that an [EchoCard] sends.
// It has no short period, so lost, doubled and displaced parts show.
func Pattern(n int) []byte { return appendPattern(make([]byte, 0, n), n) }

func appendPattern(b []byte, n int) []byte {
	for i := range n {
		b = append(b, byte(i)^byte(i>>8)*31)
	}
	return b
}

// Counters returns what happened to the card so far.
func (c *EchoCard) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counters
}

// Verified reports whether the PIN is verified at the moment.
func (c *EchoCard) Verified() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verified
}

// ATR implements [Card].
func (c *EchoCard) ATR() []byte { return c.atr }

// PowerOn implements [Card].
func (c *EchoCard) PowerOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counters.PowerOns++
	c.verified = false
	c.off = make(chan struct{})
}

// PowerOff implements [Card].
func (c *EchoCard) PowerOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counters.PowerOffs++
	c.verified = false
	select {
	case <-c.off:
	default:
		close(c.off)
	}
}

// Reset implements [Card].
func (c *EchoCard) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counters.Resets++
	c.verified = false
}

// Transmit implements [Card].
func (c *EchoCard) Transmit(apdu []byte) []byte {
	c.mu.Lock()
	c.counters.APDUs++
	count, off := c.counters.APDUs, c.off
	c.mu.Unlock()

	cmd, ok := parseAPDU(apdu)
	if !ok {
		return []byte{0x67, 0x00}
	}
	done := []byte{0x90, 0x00}
	switch [4]byte(apdu) {
	case [4]byte{0x00, 0xA4, 0x04, 0x00}:
		return done
	case [4]byte{0x80, 0x10, 0x00, 0x00}:
		if cmd.le < 0 || cmd.le > MaxPattern {
			return []byte{0x67, 0x00}
		}
		return append(appendPattern(make([]byte, 0, cmd.le+2), cmd.le), done...)
	case [4]byte{0x80, 0x20, 0x00, 0x00}:
		return append(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(cmd.data)), done...)
	case [4]byte{0x80, 0x40, 0x00, 0x00}:
		return append(binary.BigEndian.AppendUint32(nil, uint32(count)), done...)
	case [4]byte{0x80, 0x50, 0x00, 0x00}:
		if c.Verified() {
			return append([]byte{1}, done...)
		}
		return append([]byte{0}, done...)
	}
	switch {
	case apdu[0] == 0x00 && apdu[1] == 0x20 && apdu[2] == 0x00:
		good := string(cmd.data) == PIN
		c.mu.Lock()
		c.verified = good
		c.mu.Unlock()
		if !good {
			return []byte{0x63, 0xC3}
		}
		return done
	case apdu[0] == 0x80 && apdu[1] == 0x30:
		t := time.NewTimer(time.Duration(binary.BigEndian.Uint16(apdu[2:])) * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
			return done
		case <-off:
			return []byte{0x6F, 0x00}
		}
	}
	return []byte{0x6D, 0x00}
}

type command struct {
	data []byte
	le   int // -1 if absent
}

// parseAPDU reads the seven forms of ISO 7816-3, 12.1.3.
func parseAPDU(b []byte) (command, bool) {
	cmd := command{le: -1}
	if len(b) < 4 {
		return cmd, false
	}
	le := func(n, zero int) int {
		if n == 0 {
			return zero
		}
		return n
	}
	body := b[4:]
	switch {
	case len(body) == 0: // 1
		return cmd, true
	case len(body) == 1: // 2S
		cmd.le = le(int(body[0]), 256)
		return cmd, true
	case body[0] != 0: // 3S, 4S
		lc := int(body[0])
		body = body[1:]
		if len(body) < lc {
			return cmd, false
		}
		cmd.data, body = body[:lc], body[lc:]
		if len(body) == 1 {
			cmd.le = le(int(body[0]), 256)
			body = nil
		}
		return cmd, len(body) == 0
	case len(body) < 3:
		return cmd, false
	}
	n := int(binary.BigEndian.Uint16(body[1:]))
	body = body[3:]
	if len(body) == 0 { // 2E
		cmd.le = le(n, 65536)
		return cmd, true
	}
	if n == 0 || len(body) < n { // 3E, 4E
		return cmd, false
	}
	cmd.data, body = body[:n], body[n:]
	if len(body) == 2 {
		cmd.le = le(int(binary.BigEndian.Uint16(body)), 65536)
		body = nil
	}
	return cmd, len(body) == 0
}
