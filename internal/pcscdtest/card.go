package pcscdtest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// A Card is a virtual card. The reader calls its methods one after another,
// with one exception: PowerOff is also called when the card is pulled out or
// the service dies, and that can be while Transmit runs.
//
// vpcd tells commands from control messages by their length alone: a command
// of a single byte never arrives as one.
type Card interface {
	// ATR returns the answer to reset, 2 to 33 bytes. The reader asks for it
	// several times a second, to see whether the card is still there.
	ATR() []byte
	PowerOn()
	PowerOff()
	// Reset is a warm reset.
	Reset()
	// Transmit answers a command APDU. It may use apdu only until it returns.
	// An answer can have 1 to 65535 bytes; any other is replaced by 6F00.
	Transmit(apdu []byte) []byte
}

// Control messages of vpcd; the reader sends them as payloads of one byte.
const (
	vpcdPowerOff = 0
	vpcdPowerOn  = 1
	vpcdReset    = 2
	vpcdGetATR   = 4
)

// A link is a card's connection to its reader.
type link struct {
	conn net.Conn
	card Card
	done chan struct{} // closed when serve has returned

	mu   sync.Mutex // held while an answer is sent
	busy bool       // the reader waits for the answer to a command
	cut  bool
}

func newLink(conn net.Conn, card Card) *link {
	l := &link{conn: conn, card: card, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer conn.Close()
		l.serve()
	}()
	return l
}

// pull takes the card away from the reader. A command that the card is at
// ends without an answer.
func (l *link) pull() {
	l.mu.Lock()
	l.cut = true
	if l.busy {
		// vpcd takes a connection that ends here for an empty answer, and the
		// command has succeeded. One that breaks after a message's length is
		// an error to it.
		l.conn.Write([]byte{0, 2})
	}
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	l.conn.Close()
	l.mu.Unlock()
	l.card.PowerOff() // may be what Transmit waits for
	<-l.done
}

// serve answers the reader until the connection ends.
func (l *link) serve() error {
	r := newAckReader(l.conn)
	var (
		head [2]byte
		in   []byte
		out  []byte
	)
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head[:]))
		if cap(in) < n {
			in = make([]byte, n)
		}
		in = in[:n]
		if _, err := io.ReadFull(r, in); err != nil {
			return err
		}
		var answer []byte
		switch {
		case n == 0:
			continue
		case n > 1:
			l.mu.Lock()
			l.busy = true
			l.mu.Unlock()
			answer = l.card.Transmit(in)
			if len(answer) == 0 || len(answer) > 0xFFFF {
				// Length 0 would make vpcd drop the card.
				answer = []byte{0x6F, 0x00}
			}
		case in[0] == vpcdPowerOff:
			l.card.PowerOff()
			continue
		case in[0] == vpcdPowerOn:
			l.card.PowerOn()
			continue
		case in[0] == vpcdReset:
			l.card.Reset()
			continue
		case in[0] == vpcdGetATR:
			answer = l.card.ATR()
		default:
			continue
		}
		out = binary.BigEndian.AppendUint16(out[:0], uint16(len(answer)))
		out = append(out, answer...)
		if err := l.send(out); err != nil {
			return err
		}
	}
}

func (l *link) send(message []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return net.ErrClosed
	}
	l.busy = false
	_, err := l.conn.Write(message)
	return err
}

// NewCard returns a card that answers every command with transmit. A nil atr
// stands for [DefaultATR].
func NewCard(atr []byte, transmit func(apdu []byte) []byte) Card {
	if atr == nil {
		atr = DefaultATR()
	}
	return &funcCard{atr: atr, transmit: transmit}
}

type funcCard struct {
	atr      []byte
	transmit func([]byte) []byte
}

func (c *funcCard) ATR() []byte                 { return c.atr }
func (c *funcCard) PowerOn()                    {}
func (c *funcCard) PowerOff()                   {}
func (c *funcCard) Reset()                      {}
func (c *funcCard) Transmit(apdu []byte) []byte { return c.transmit(apdu) }

// DefaultATR returns the ATR of a card that was given none.
func DefaultATR() []byte { return MakeATR("gopcsc") }

// MakeATR returns an ATR that offers T=0 and T=1 and carries the given
// historical bytes, 15 at most.
func MakeATR(historical string) []byte {
	if len(historical) > 15 {
		panic("pcscdtest: more than 15 historical bytes")
	}
	atr := []byte{0x3B, 0x80 | byte(len(historical)), 0x80, 0x01}
	atr = append(atr, historical...)
	var tck byte
	for _, b := range atr[1:] {
		tck ^= b
	}
	return append(atr, tck)
}
