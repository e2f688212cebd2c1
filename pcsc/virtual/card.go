package virtual

import (
	"bytes"
	"errors"
	"reflect"
	"slices"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// Card is a smart card, seen from its contacts.
//
// Transmit executes a command APDU and returns the response APDU, status word included. It may take its time: only the
// caller and other users of this card wait. The service never calls two methods of a card at once, as long as the card
// is in the readers of one service. Transmit must neither change apdu nor keep it.
//
// An error means that the exchange failed below the APDU. If it is or wraps a [winscard.Code], that is what the
// client's Transmit returns; errors.ErrUnsupported gives ErrUnsupportedFeature, any other error ErrNotTransacted.
//
// A card may implement [ATRer], [Resetter], [Powerer] and [ProtocolSetter] too.
type Card interface {
	Transmit(apdu []byte) (response []byte, err error)
}

// ATRer is a [Card] that has an answer to reset of its own; others get a minimal one that offers T=0 and T=1. ATR is
// called after each reset and must not change while the card is powered. An ATR that is empty or longer than 33 bytes
// makes the card mute.
type ATRer interface {
	ATR() []byte
}

// Resetter is a [Card] that wants to know of resets. Reset is called for each warm reset and, unless the card is a
// [Powerer] too, each time the card is powered up: the place to clear a verified PIN.
type Resetter interface {
	Reset()
}

// Powerer is a [Card] that wants to know of power. PowerOff is called when a client unpowers the card and when the card
// is pulled, which may have to wait for the APDU that the card is working on. For a card that went unused for too long,
// or whose service was stopped, it is made up for before the next PowerOn.
type Powerer interface {
	PowerOn()
	PowerOff()
}

// ProtocolSetter is a [Card] whose answers depend on the protocol. SetProtocol is called before each Transmit, with the
// one in use.
type ProtocolSetter interface {
	SetProtocol(winscard.Protocol)
}

// CardFunc is a [Card] made of its Transmit method.
type CardFunc func(apdu []byte) (response []byte, err error)

// Transmit calls f.
func (f CardFunc) Transmit(apdu []byte) ([]byte, error) { return f(apdu) }

// NewCard makes a card from its answer to reset and a function that answers APDUs. A nil or empty response is given to
// the client as it is: zero bytes and Success.
func NewCard(atr []byte, answer func(apdu []byte) []byte) Card {
	return &simpleCard{atr: bytes.Clone(atr), answer: answer}
}

type simpleCard struct {
	atr    []byte
	answer func([]byte) []byte
}

func (c *simpleCard) ATR() []byte { return c.atr }

func (c *simpleCard) Transmit(apdu []byte) ([]byte, error) {
	if c.answer == nil {
		return nil, winscard.ErrNotTransacted
	}
	return c.answer(apdu), nil
}

// codeOf is the code that a card's or a controller's error stands for.
func codeOf(err error) winscard.Code {
	var rc winscard.Code
	switch {
	case errors.As(err, &rc) && rc != winscard.Success:
		return rc
	case errors.Is(err, errors.ErrUnsupported):
		return winscard.ErrUnsupportedFeature
	}
	return winscard.ErrNotTransacted
}

// insertion is a card in a reader, from the moment it goes in until it is pulled.
type insertion struct {
	card   Card
	reader *Reader
	line   *line
}

// line is the card's one line to the world. Insertions of the same card share it, so that an APDU which was under way
// when the card was pulled is finished before the card is powered up again. Service.mu guards it; whoever has set busy
// may call the card without holding mu.
type line struct {
	busy     bool
	powered  bool   // the card was told so
	lost     bool   // powered, but it has lost its power since: to be told before it gets some again
	silent   bool   // by a fault, until the next reset
	pulled   bool   // powered, but out of its reader: to be told as soon as it is not busy
	protocol uint32 // of the APDU that keeps it busy
}

func (l *line) hasPower() bool { return l.powered && !l.lost }

// lineOf finds the line of a card that is or was in a reader, or makes one. The caller holds s.mu.
func (s *Service) lineOf(card Card, r *Reader) *line {
	// A card of an uncomparable type, such as CardFunc, can't be recognised.
	if reflect.ValueOf(card).Comparable() {
		same := func(in *insertion) bool {
			return in != nil && reflect.ValueOf(in.card).Comparable() && in.card == card
		}
		if same(r.last) {
			return r.last.line
		}
		for i := range s.slots {
			if other := s.slots[i].reader; other != nil && same(other.last) {
				return other.last.line
			}
		}
	}
	return &line{}
}

// power is what can be done to a card's contacts.
type power int

const (
	powerUp   power = iota // on, after off if need be
	warmReset              // reset without power loss
	powerDown              // off
	cold                   // off and on again
)

// do changes a card's power and returns its ATR, which is empty for a mute card or one without power. The caller holds
// mu and has waited for the line to be free; mu is released meanwhile, so everything may have changed afterwards.
func (s *Service) do(in *insertion, what power) (atr []byte) {
	l, card := in.line, in.card
	if l.lost && what == warmReset {
		what = powerUp
	}
	l.busy = true
	l.pulled, l.lost, l.silent = false, false, false
	wasPowered := l.powered
	var hits []hit
	if what != powerDown {
		hits = s.strike(OpPowerUp, nil, in.reader)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		l.busy = false
		l.powered = what != powerDown
		s.released.raise()
		s.tellPulled(in)
	}()

	p, isPowerer := card.(Powerer)
	if isPowerer && wasPowered && what != warmReset {
		p.PowerOff()
	}
	if what == powerDown {
		return nil
	}
	if isPowerer && (!wasPowered || what != warmReset) {
		p.PowerOn()
	}
	if r, ok := card.(Resetter); ok && (!isPowerer || what == warmReset && wasPowered) {
		r.Reset()
	}
	atr = basicATR
	if a, ok := card.(ATRer); ok {
		atr = slices.Clone(a.ATR())
	}
	if atr = s.comeUp(hits, atr); len(atr) > maxATR {
		return nil
	}
	return atr
}

// tellPulled takes the power from a card that was pulled, unless the card is busy: then whoever keeps it busy calls
// tellPulled. The caller holds s.mu, which is released meanwhile.
func (s *Service) tellPulled(in *insertion) {
	if in != nil && in.line.pulled && !in.line.busy {
		s.do(in, powerDown)
	}
}

// basicATR offers T=0 and T=1, has no historical bytes, and ends with the check byte that T=1 requires.
var basicATR = []byte{0x3B, 0x80, 0x80, 0x01, 0x01}

// protocols reads from an ATR (ISO/IEC 7816-3, clause 8.2) which protocols the card offers. An ATR that pcscd cannot
// make sense of offers none.
func protocols(atr []byte) uint32 {
	const (
		t0  = uint32(winscard.ProtocolT0)
		t1  = uint32(winscard.ProtocolT1)
		t15 = uint32(winscard.ProtocolT15)
	)
	if len(atr) < 2 || atr[0] != 0x3B && atr[0] != 0x3F {
		return 0
	}
	var offered uint32
	follow := atr[1] >> 4 // which of TA, TB, TC and TD come next
	at := 2
	for i := 1; follow != 0; i++ {
		// next consumes an interface byte; those beyond the end read as 0, as from pcscd's zeroed buffer.
		next := func(bit byte) (value byte, present bool) {
			if follow&bit == 0 {
				return 0, false
			}
			if at < len(atr) {
				value = atr[at]
			}
			at++
			return value, true
		}
		ta, hasTA := next(1)
		next(2)
		next(4)
		td, hasTD := next(8)
		follow = 0
		if hasTD {
			follow = td >> 4
			switch t := td & 0x0F; {
			case t == 0:
				offered |= t0
			case t == 1:
				offered |= t1
			case offered == 0:
				return 0 // the first protocol decides, and it is none of ours
			case t == 15:
				offered |= t15
			}
		}
		if i == 2 && hasTA { // TA2: specific mode, one protocol and no choice
			switch ta & 0x0F {
			case 0:
				offered = t0
			case 1:
				offered = t1
			default:
				return 0
			}
		}
		if at > maxATR {
			return 0
		}
	}
	if offered == 0 {
		return t0
	}
	return offered
}
