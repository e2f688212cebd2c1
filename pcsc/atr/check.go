package atr

import "slices"

// check lists what the standards don't allow in an answer to reset that could be read, in the order of the bytes.
func (a *ATR) check() []*SyntaxError {
	var list []*SyntaxError
	warn := func(b Byte, format string, args ...any) {
		list = append(list, syntaxError(b.Offset, format, args...))
	}
	a.checkProtocols(warn)
	a.checkGlobal(warn)
	a.checkSpecific(warn)

	end := 2 + len(a.HistoricalBytes)
	for i := range a.Interface {
		for letter := range 4 {
			if a.Interface[i].byLetter(letter).Present {
				end++
			}
		}
	}
	for _, e := range a.Historical().Problems {
		list = append(list, &SyntaxError{Offset: end - len(a.HistoricalBytes) + e.Offset, Msg: e.Msg})
	}
	switch t := a.TCK; {
	case t.Required && !t.Present:
		warn(Byte{Offset: end}, "TCK is missing: it is required as a protocol other than T=0 is announced")
	case !t.Valid():
		warn(Byte{Offset: end}, "TCK is %02X, but the bytes before it give %02X", t.Value, t.Computed)
	case t.Present && !t.Required:
		warn(Byte{Offset: end}, "there is a TCK, but none must be sent where T=0 is all that is announced")
	}
	if a.TCK.Present {
		end++
	}
	if len(a.Rest) > 0 {
		warn(Byte{Offset: end}, "%s after the end", isAre(len(a.Rest)))
	}
	slices.SortStableFunc(list, func(x, y *SyntaxError) int { return x.Offset - y.Offset })
	return list
}

func isAre(n int) string {
	if n == 1 {
		return "there is 1 byte"
	}
	return "there are " + plural(n, "byte")
}

// checkProtocols checks the TD bytes (ISO/IEC 7816-3, 8.2.3): known protocols in ascending order, T=15 never first.
func (a *ATR) checkProtocols(warn func(Byte, string, ...any)) {
	var last Protocol
	for i := range a.Interface {
		td := a.Interface[i].TD
		if !td.Present {
			continue
		}
		p := Protocol(td.Value & 0x0F)
		switch {
		case i == 0 && p == ProtocolT15:
			warn(td, "TD1 has T=15, but the first protocol must be one that can be used")
		case p < last:
			warn(td, "TD%d has %v after %v, but protocols must be in ascending order", i+1, p, last)
		case p > ProtocolT1 && p < ProtocolT14:
			warn(td, "TD%d has %v, which is reserved", i+1, p)
		}
		last = max(last, p)
	}
}

// checkGlobal checks the interface bytes that don't belong to one protocol (ISO/IEC 7816-3, 8.3).
func (a *ATR) checkGlobal(warn func(Byte, string, ...any)) {
	if ta1 := a.set(1).TA; ta1.Present {
		r := RateOf(ta1.Value)
		if r.Fi == 0 {
			warn(ta1, "TA1 is %02X: Fi of %X is reserved", ta1.Value, ta1.Value>>4)
		}
		if r.Di == 0 {
			warn(ta1, "TA1 is %02X: Di of %X is reserved", ta1.Value, ta1.Value&0x0F)
		}
	}
	if ta2 := a.set(2).TA; ta2.Present {
		if ta2.Value&0x60 != 0 {
			warn(ta2, "TA2 is %02X: bits 7 and 6 are reserved", ta2.Value)
		}
		if m, _ := a.SpecificMode(); !slices.Contains(a.Protocols(), m.Protocol) {
			warn(ta2, "TA2 asks for %v, which no TD byte offers", m.Protocol)
		}
	}
	if ta := a.first(ProtocolT15, 0); ta.Present && a.Classes().reserved() {
		warn(ta, "TA for T=15 is %02X: a class indicator of %02X is reserved", ta.Value, ta.Value&0x3F)
	}
	if tb := a.first(ProtocolT15, 1); tb.Present && tb.Value > 0 && tb.Value < 0x80 {
		warn(tb, "TB for T=15 is %02X: standard uses of SPU are reserved", tb.Value)
	}
}

// checkSpecific checks the interface bytes of T=0 (ISO/IEC 7816-3, 10.2) and T=1 (11.4).
func (a *ATR) checkSpecific(warn func(Byte, string, ...any)) {
	if tc2 := a.set(2).TC; tc2.Present && tc2.Value == 0 {
		warn(tc2, "TC2 is 00: a waiting time integer of 0 is reserved")
	}
	if ta := a.first(ProtocolT1, 0); ta.Present && (ta.Value == 0 || ta.Value == 0xFF) {
		warn(ta, "TA for T=1 is %02X: as IFSC it is reserved", ta.Value)
	}
	if tb := a.first(ProtocolT1, 1); tb.Present && tb.Value>>4 > maxBWI {
		warn(tb, "TB for T=1 is %02X: a BWI of %d is reserved", tb.Value, tb.Value>>4)
	}
	if tc := a.first(ProtocolT1, 2); tc.Present && tc.Value > 1 {
		warn(tc, "TC for T=1 is %02X: bits 8 to 2 are reserved", tc.Value)
	}
}

// set is the interface bytes of an index, all absent if it is not announced.
func (a *ATR) set(i int) InterfaceBytes {
	if i < 1 || i > len(a.Interface) {
		return InterfaceBytes{}
	}
	return a.Interface[i-1]
}
