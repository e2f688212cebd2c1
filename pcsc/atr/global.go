package atr

import (
	"fmt"
	"strings"
)

// A ClockStop says whether the clock may be stopped, and in which state (ISO/IEC 7816-3, 8.3, first TA for T=15).
type ClockStop uint8

// The clock stop indicators, as coded in bits 8 and 7.
const (
	ClockStopNotSupported ClockStop = iota // the default
	ClockStopLow                           // state L preferred
	ClockStopHigh                          // state H preferred
	ClockStopAny                           // no preference
)

// String is "clock stop not supported" and the like.
func (c ClockStop) String() string {
	switch c {
	case ClockStopNotSupported:
		return "clock stop not supported"
	case ClockStopLow:
		return "clock stop in state L"
	case ClockStopHigh:
		return "clock stop in state H"
	case ClockStopAny:
		return "clock stop in either state"
	default:
		return fmt.Sprintf("clock stop indicator %d", uint8(c))
	}
}

// ClockStop is the clock stop indicator.
func (a *ATR) ClockStop() ClockStop { return ClockStop(a.first(ProtocolT15, 0).Value >> 6) }

// Classes are the classes of operating conditions, the supply voltages, that the card accepts, as a set
// (ISO/IEC 7816-3, 5.1.3 and 8.3, first TA for T=15).
type Classes uint8

// The classes.
const (
	ClassA Classes = 1 << iota // 5 V
	ClassB                     // 3 V
	ClassC                     // 1.8 V
)

// Classes is the class indicator. The default is class A alone.
func (a *ATR) Classes() Classes {
	if ta := a.first(ProtocolT15, 0); ta.Present {
		return Classes(ta.Value & 0x3F)
	}
	return ClassA
}

// reserved: only ranges of neighbouring classes are assigned, so A and C without B are not.
func (c Classes) reserved() bool {
	switch c {
	case ClassA, ClassB, ClassC, ClassA | ClassB, ClassB | ClassC, ClassA | ClassB | ClassC:
		return false
	}
	return true
}

// String is "class A (5 V), B (3 V)".
func (c Classes) String() string {
	if c.reserved() {
		return fmt.Sprintf("reserved class indicator %02X", uint8(c))
	}
	var names []string
	for i, name := range []string{"A (5 V)", "B (3 V)", "C (1.8 V)"} {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return "class " + strings.Join(names, ", ")
}

// An SPU is the use that the card makes of contact C6, for standard or proprietary use (ISO/IEC 7816-3, 8.3, first TB
// for T=15).
type SPU uint8

// SPU is the use of contact C6. The default is 0, none.
//
// A UICC codes something else in the same byte, its support of USB, SWP and secure channels (ETSI TS 102 221, 6.3.3);
// the answer to reset does not tell which of the two is meant.
func (a *ATR) SPU() SPU { return SPU(a.first(ProtocolT15, 1).Value) }

// Used reports whether the card uses the contact.
func (s SPU) Used() bool { return s != 0 }

// Proprietary reports whether the use is proprietary rather than standard.
func (s SPU) Proprietary() bool { return s&0x80 != 0 }

// String is "SPU not used" and the like.
func (s SPU) String() string {
	switch {
	case !s.Used():
		return "SPU not used"
	case s.Proprietary():
		return fmt.Sprintf("SPU in proprietary use %02X", uint8(s&0x7F))
	default:
		return fmt.Sprintf("SPU in standard use %02X (reserved)", uint8(s))
	}
}
