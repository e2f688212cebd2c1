package atr

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// A Frequency is a clock frequency in hertz.
type Frequency int64

// Units of frequency.
const (
	Hertz     Frequency = 1
	Kilohertz           = 1000 * Hertz
	Megahertz           = 1000 * Kilohertz
)

// String is the frequency in the largest unit that fits, "7.5 MHz".
func (f Frequency) String() string {
	unit, name := Hertz, " Hz"
	switch {
	case f >= Megahertz:
		unit, name = Megahertz, " MHz"
	case f >= Kilohertz:
		unit, name = Kilohertz, " kHz"
	}
	return strconv.FormatFloat(float64(f)/float64(unit), 'f', -1, 64) + name
}

// cycles is the duration of n clock cycles, and 0 if there is no frequency.
func (f Frequency) cycles(n float64) time.Duration {
	if f <= 0 {
		return 0
	}
	ns := math.Round(n * 1e9 / float64(f))
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}

// A Rate is what TA1 encodes: how many clock cycles make an elementary time unit (ETU), and how fast the clock may be
// (ISO/IEC 7816-3, 8.3). 1 ETU, the duration of a bit, is Fi/Di clock cycles.
type Rate struct {
	Fi   int       // clock rate conversion integer; 0 if reserved
	Di   int       // baud rate adjustment integer; 0 if reserved
	FMax Frequency // the highest clock frequency that the card supports; 0 if reserved
}

// The tables of ISO/IEC 7816-3, 8.3 (tables 7 and 8 of the third edition). 0 is reserved for future use.
var (
	fiTable = [16]int{372, 372, 558, 744, 1116, 1488, 1860, 0, 0, 512, 768, 1024, 1536, 2048, 0, 0}
	diTable = [16]int{0, 1, 2, 4, 8, 16, 32, 64, 12, 20, 0, 0, 0, 0, 0, 0}
	fTable  = [16]Frequency{
		4 * Megahertz, 5 * Megahertz, 6 * Megahertz, 8 * Megahertz, 12 * Megahertz, 16 * Megahertz, 20 * Megahertz, 0,
		0, 5 * Megahertz, 7500 * Kilohertz, 10 * Megahertz, 15 * Megahertz, 20 * Megahertz, 0, 0,
	}
)

// Fd is the default clock rate conversion integer, which the block waiting time of T=1 is based on whatever TA1 says.
const Fd = 372

// DefaultRate is the rate of a card without TA1: Fd = 372, Dd = 1, at most 5 MHz. An answer to reset is always sent at
// it, and in negotiable mode it holds until another is agreed on.
func DefaultRate() Rate { return RateOf(0x11) }

// RateOf decodes a TA1 byte, or PPS1, which is coded alike.
func RateOf(ta1 byte) Rate {
	return Rate{Fi: fiTable[ta1>>4], Di: diTable[ta1&0x0F], FMax: fTable[ta1>>4]}
}

// Known reports whether neither of Fi and Di is reserved. The methods of a rate that is not known return 0.
func (r Rate) Known() bool { return r.Fi > 0 && r.Di > 0 }

// CyclesPerETU is the number of clock cycles in an ETU, which need not be an integer.
func (r Rate) CyclesPerETU() float64 {
	if !r.Known() {
		return 0
	}
	return float64(r.Fi) / float64(r.Di)
}

// ETU is the duration of n ETU at a clock frequency.
func (r Rate) ETU(n int, f Frequency) time.Duration { return f.cycles(float64(n) * r.CyclesPerETU()) }

// BitRate is the number of bits per second at a clock frequency. A byte takes 12 bits or more, see [ATR.GuardTime].
func (r Rate) BitRate(f Frequency) float64 {
	if !r.Known() || f <= 0 {
		return 0
	}
	return float64(f) / r.CyclesPerETU()
}

// String is "Fi=372, Di=4, fmax 5 MHz".
func (r Rate) String() string {
	known := func(n int) string {
		if n == 0 {
			return "reserved"
		}
		return strconv.Itoa(n)
	}
	s := fmt.Sprintf("Fi=%s, Di=%s", known(r.Fi), known(r.Di))
	if r.FMax > 0 {
		s += ", fmax " + r.FMax.String()
	}
	return s
}

// Rate is the rate that the card suggests in TA1, or the default.
func (a *ATR) Rate() Rate {
	if ta1, ok := a.TA(1); ok {
		return RateOf(ta1)
	}
	return DefaultRate()
}

// InitialRate is the rate in use right after the answer to reset: that of TA1 in specific mode, otherwise the default.
// It is false if the card has TA2 and wants implicit values, which the answer to reset does not say.
func (a *ATR) InitialRate() (Rate, bool) {
	m, specific := a.SpecificMode()
	switch {
	case !specific:
		return DefaultRate(), true
	case m.Implicit:
		return Rate{}, false
	default:
		return a.Rate(), true
	}
}
