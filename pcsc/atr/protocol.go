package atr

import (
	"fmt"
	"slices"
	"time"
)

// A Protocol is a transmission protocol T, from 0 to 15 (ISO/IEC 7816-3, 8.2.3).
type Protocol uint8

// The protocols that have a meaning. All others are reserved.
const (
	ProtocolT0  Protocol = 0  // half-duplex transmission of characters
	ProtocolT1  Protocol = 1  // half-duplex transmission of blocks
	ProtocolT14 Protocol = 14 // protocols that are not standardized by ISO/IEC JTC 1/SC 17
	ProtocolT15 Protocol = 15 // no protocol: marks global interface bytes
)

// String is "T=1".
func (p Protocol) String() string { return fmt.Sprintf("T=%d", uint8(p)) }

// Protocols is the protocols that the card offers, in its order and each once; T=15 is none. A card that announces no
// protocol offers T=0.
func (a *ATR) Protocols() []Protocol {
	var list []Protocol
	for i := range a.Interface {
		td := a.Interface[i].TD
		if p := Protocol(td.Value & 0x0F); td.Present && p != ProtocolT15 && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	if list == nil {
		return []Protocol{ProtocolT0}
	}
	return list
}

// DefaultProtocol is the protocol in use if nothing is agreed on: the one of TA2 in specific mode, otherwise the first
// that is offered.
func (a *ATR) DefaultProtocol() Protocol {
	if m, ok := a.SpecificMode(); ok {
		return m.Protocol
	}
	return a.Protocols()[0]
}

// A SpecificMode is what TA2 encodes: the card uses a protocol right after the answer to reset, without negotiation
// (ISO/IEC 7816-3, 6.3.1 and 8.3).
type SpecificMode struct {
	Protocol  Protocol
	CanChange bool // a warm reset may bring the card into negotiable mode
	Implicit  bool // Fi and Di are not those of TA1, but known otherwise
}

// SpecificMode decodes TA2. It is false for a card in negotiable mode, which has no TA2.
func (a *ATR) SpecificMode() (SpecificMode, bool) {
	ta2, ok := a.TA(2)
	if !ok {
		return SpecificMode{}, false
	}
	return SpecificMode{Protocol: Protocol(ta2 & 0x0F), CanChange: ta2&0x80 == 0, Implicit: ta2&0x10 != 0}, true
}

// ExtraGuardTime is N of TC1, from 0 to 255: how many units of time more than 12 ETU there must be between the starts of
// two characters sent to the card; 0 if the card has no TC1. 255 is special, see [ATR.GuardTime].
func (a *ATR) ExtraGuardTime() int {
	n, _ := a.TC(1)
	return int(n)
}

// GuardTime is GT, the shortest time from the start of a character sent to the card to the start of the next
// (ISO/IEC 7816-3, 8.3), at a rate and clock frequency: 12 ETU and N times R/f, where R is F/D of the rate in use, or
// Fi/Di of TA1 if T=15 is in the answer. With N = 255 it is 12 ETU for T=0 and 11 ETU for T=1.
func (a *ATR) GuardTime(p Protocol, inUse Rate, f Frequency) time.Duration {
	etu := inUse.CyclesPerETU()
	n := a.ExtraGuardTime()
	if n == 255 {
		if p == ProtocolT1 {
			return f.cycles(11 * etu)
		}
		return f.cycles(12 * etu)
	}
	unit := etu
	if a.announces(ProtocolT15) {
		unit = a.Rate().CyclesPerETU()
	}
	return f.cycles(12*etu + float64(n)*unit)
}

// announces reports whether a TD byte has T, T=15 included.
func (a *ATR) announces(p Protocol) bool {
	return slices.ContainsFunc(a.Interface, func(g InterfaceBytes) bool {
		return g.TD.Present && Protocol(g.TD.Value&0x0F) == p
	})
}

// T0Parameters are those of the protocol T=0 (ISO/IEC 7816-3, 10.2).
type T0Parameters struct {
	WI   int  // waiting time integer, from TC2; 10 if absent, 0 is reserved
	Rate Rate // from TA1
}

// T0Parameters are the parameters of T=0, whether or not the card offers it.
func (a *ATR) T0Parameters() T0Parameters {
	t := T0Parameters{WI: 10, Rate: a.Rate()}
	if tc2, ok := a.TC(2); ok {
		t.WI = int(tc2)
	}
	return t
}

// WaitingTime is WT, the longest time from the start of a character to the start of the next from the card, at a clock
// frequency: 960 WI Fi / f. At 5 MHz and with all defaults it is 714.24 ms.
func (t T0Parameters) WaitingTime(f Frequency) time.Duration {
	return f.cycles(960 * float64(t.WI) * float64(t.Rate.Fi))
}

// WaitingTimeETU is WT in ETU of the card's rate: 960 WI Di. It is 0 if the rate is reserved.
func (t T0Parameters) WaitingTimeETU() int {
	if !t.Rate.Known() {
		return 0
	}
	return 960 * t.WI * t.Rate.Di
}

// An EDC is the error detection code of T=1 (ISO/IEC 7816-3, 11.4.4).
type EDC uint8

// The error detection codes.
const (
	LRC EDC = iota // longitudinal redundancy check, 1 byte; the default
	CRC            // cyclic redundancy check, 2 bytes
)

// String is "LRC" or "CRC".
func (e EDC) String() string {
	if e == CRC {
		return "CRC"
	}
	return "LRC"
}

// maxBWI is the largest block waiting time integer; A to F are reserved.
const maxBWI = 9

// T1Parameters are those of the protocol T=1 (ISO/IEC 7816-3, 11.4).
type T1Parameters struct {
	IFSC int // information field size of the card in bytes: the longest that it can receive; 32 if absent
	BWI  int // block waiting time integer, 0 to 9; 4 if absent
	CWI  int // character waiting time integer, 0 to 15; 13 if absent
	EDC  EDC // error detection code
}

// T1Parameters are the parameters of T=1, whether or not the card offers it. They are in the first TA, TB and TC for
// T=1.
func (a *ATR) T1Parameters() T1Parameters {
	t := T1Parameters{IFSC: 32, BWI: 4, CWI: 13}
	if ta := a.first(ProtocolT1, 0); ta.Present {
		t.IFSC = int(ta.Value)
	}
	if tb := a.first(ProtocolT1, 1); tb.Present {
		t.BWI, t.CWI = int(tb.Value>>4), int(tb.Value&0x0F)
	}
	if tc := a.first(ProtocolT1, 2); tc.Present && tc.Value&1 != 0 {
		t.EDC = CRC
	}
	return t
}

// BWT is the block waiting time, the longest time from the start of the last character of a block to the card to the
// start of its answer: 11 ETU + 2^BWI * 960 * Fd / f. It is 0 if BWI is reserved.
func (t T1Parameters) BWT(inUse Rate, f Frequency) time.Duration {
	if t.BWI < 0 || t.BWI > maxBWI {
		return 0
	}
	return f.cycles(11*inUse.CyclesPerETU() + float64(int(1)<<t.BWI)*960*Fd)
}

// CWTETU is the character waiting time in ETU, the longest time between the starts of two characters of a block:
// 11 + 2^CWI.
func (t T1Parameters) CWTETU() int { return 11 + 1<<(t.CWI&0x0F) }

// CWT is the character waiting time at a rate and clock frequency.
func (t T1Parameters) CWT(inUse Rate, f Frequency) time.Duration { return inUse.ETU(t.CWTETU(), f) }
