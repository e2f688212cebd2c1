package atr

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// String is the answer to reset in a line: its bytes and what matters most.
func (a *ATR) String() string {
	var l words
	if a.TS == 0 {
		l.add(true, "not an answer to reset")
	} else {
		l.add(true, a.Convention().String())
		l.add(true, joinProtocols(a.Protocols()))
		if m, ok := a.SpecificMode(); ok {
			l.add(true, "specific mode "+m.Protocol.String())
		}
		if storage, ok := a.StorageCard(); ok {
			l.add(true, storage.String())
		} else {
			l.add(true, a.Rate().String())
			l.add(a.offers(ProtocolT1), fmt.Sprintf("IFSC %d", a.T1Parameters().IFSC))
			text := a.Historical().text()
			l.add(text != "", text)
		}
	}
	n := len(a.Warnings)
	l.add(n > 0, plural(n, "warning"))
	l.add(a.err != nil, "incomplete")
	return fmt.Sprintf("% X: %s", a.Bytes(), strings.Join(l, ", "))
}

// Explain is the answer to reset with a line for every byte and what it means. The text is for people, and may change.
func (a *ATR) Explain() string {
	var b strings.Builder
	_, _ = a.WriteTo(&b) // a strings.Builder never fails
	return b.String()
}

// WriteTo writes what Explain returns.
func (a *ATR) WriteTo(w io.Writer) (int64, error) {
	e := explainer{a: a}
	e.all()
	n, err := io.WriteString(w, e.out.String())
	return int64(n), err
}

type explainer struct {
	a   *ATR
	out strings.Builder
}

// line writes a line: a name, bytes in hexadecimal, and a text.
func (e *explainer) line(name string, b []byte, format string, args ...any) {
	s := fmt.Sprintf("%-5s% X  %s", name, b, fmt.Sprintf(format, args...))
	e.out.WriteString(strings.TrimRight(s, " ") + "\n")
}

// text writes a line that is not about one byte.
func (e *explainer) text(format string, args ...any) { fmt.Fprintf(&e.out, format+"\n", args...) }

func (e *explainer) all() {
	a := e.a
	e.text("Answer to reset: % X", a.Bytes())
	if a.TS != 0 {
		raw := ""
		if a.Raw {
			raw = ", not decoded by the reader: the bytes below are"
		}
		e.line("TS", []byte{a.TS}, "%v%s", a.Convention(), raw)
	}
	if t0 := a.T0; t0.Present {
		e.line("T0", []byte{t0.Value}, "%s, %s", announced(t0.Value>>4, 1), plural(int(t0.Value&0x0F), "historical byte"))
	}
	for i := range a.Interface {
		g := &a.Interface[i]
		for letter, explain := range []func(*InterfaceBytes, byte) string{e.ta, e.tb, e.tc, e.td} {
			if b := g.byLetter(letter); b.Present {
				e.line(fmt.Sprintf("T%c%d", 'A'+letter, g.Index), []byte{b.Value}, "%s", explain(g, b.Value))
			}
		}
	}
	e.historical()
	if t := a.TCK; t.Present {
		verdict := "correct"
		if !t.Valid() {
			verdict = fmt.Sprintf("wrong, must be %02X", t.Computed)
		}
		e.line("TCK", []byte{t.Value}, "check byte, %s", verdict)
	}
	if len(a.Rest) > 0 {
		e.text("Not part of it: % X", a.Rest)
	}
	e.summary()
}

func (e *explainer) ta(g *InterfaceBytes, b byte) string {
	a := e.a
	switch {
	case g.Index == 1:
		r := a.Rate()
		if !r.Known() {
			return r.String()
		}
		return fmt.Sprintf("%v: %.4g clock cycles per ETU, %.0f bit/s at %v", r, r.CyclesPerETU(), r.BitRate(at(r)), at(r))
	case g.Index == 2:
		m, _ := a.SpecificMode()
		s := "specific mode: " + m.Protocol.String()
		if m.Implicit {
			s += ", implicit rate"
		} else {
			s += ", rate of TA1"
		}
		if m.CanChange {
			return s + ", mode can change"
		}
		return s + ", mode cannot change"
	case g.Protocol == ProtocolT1 && e.isFirst(g, 0):
		return fmt.Sprintf("T=1: IFSC, the card receives %s at a time", plural(int(b), "byte"))
	case g.Protocol == ProtocolT15 && e.isFirst(g, 0):
		return fmt.Sprintf("%v, %v", a.ClockStop(), a.Classes())
	default:
		return "specific to " + g.Protocol.String()
	}
}

func (e *explainer) tb(g *InterfaceBytes, b byte) string {
	a := e.a
	switch {
	case g.Index == 1 && b&0x1F == 0:
		return "programming voltage (obsolete): not connected"
	case g.Index == 1:
		return fmt.Sprintf("programming voltage (obsolete): PI1=%d V, II=%d", b&0x1F, b>>5&3)
	case g.Index == 2:
		return fmt.Sprintf("programming voltage (obsolete): PI2=%d, in tenths of a volt", b)
	case g.Protocol == ProtocolT1 && e.isFirst(g, 1):
		t, r := a.T1Parameters(), a.Rate()
		if t.BWI > maxBWI {
			return fmt.Sprintf("T=1: BWI=%d (reserved), CWI=%d", t.BWI, t.CWI)
		}
		s := fmt.Sprintf("T=1: BWI=%d, CWI=%d", t.BWI, t.CWI)
		if r.Known() {
			s += fmt.Sprintf(": block waiting time %v, character waiting time %d ETU, %v, at %v",
				round(t.BWT(r, at(r))), t.CWTETU(), round(t.CWT(r, at(r))), at(r))
		}
		return s
	case g.Protocol == ProtocolT15 && e.isFirst(g, 1):
		return a.SPU().String()
	default:
		return "specific to " + g.Protocol.String()
	}
}

func (e *explainer) tc(g *InterfaceBytes, b byte) string {
	a := e.a
	switch {
	case g.Index == 1 && b == 255:
		return "extra guard time N=255: 12 ETU between characters for T=0, 11 ETU for T=1"
	case g.Index == 1:
		return fmt.Sprintf("extra guard time N=%d", b)
	case g.Index == 2:
		t := a.T0Parameters()
		if !t.Rate.Known() {
			return fmt.Sprintf("T=0: WI=%d", t.WI)
		}
		return fmt.Sprintf("T=0: WI=%d: waiting time %d ETU, %v at %v",
			t.WI, t.WaitingTimeETU(), round(t.WaitingTime(at(t.Rate))), at(t.Rate))
	case g.Protocol == ProtocolT1 && e.isFirst(g, 2):
		return fmt.Sprintf("T=1: error detection by %v", a.T1Parameters().EDC)
	default:
		return "specific to " + g.Protocol.String()
	}
}

func (e *explainer) td(g *InterfaceBytes, b byte) string {
	p := Protocol(b & 0x0F)
	next := "no more interface bytes"
	if b>>4 != 0 {
		next = announced(b>>4, g.Index+1)
	}
	if p == ProtocolT15 {
		return "T=15, for global interface bytes; " + next
	}
	return fmt.Sprintf("%v; %s", p, next)
}

// isFirst reports whether g holds the first TA, TB or TC for its protocol, the one with a meaning of its own.
func (e *explainer) isFirst(g *InterfaceBytes, letter int) bool {
	return g.byLetter(letter).Offset == e.a.first(g.Protocol, letter).Offset
}

func (e *explainer) historical() {
	h := e.a.Historical()
	if h.Format == FormatNone {
		return
	}
	text := ""
	if len(h.Objects) == 0 { // otherwise each has its own
		text = quoted(h.Bytes)
	}
	e.line("", h.Bytes, "historical bytes%s", text)
	e.line("", h.Bytes[:1], "category indicator: %v", h.Format)
	for _, o := range h.Objects {
		bytes := h.Bytes[o.Offset : o.Offset+1+len(o.Data)]
		if o.BER {
			bytes = h.Bytes[o.Offset : o.Offset+2+len(o.Data)]
		}
		e.line("", bytes, "%v%s", o.Tag, e.object(o))
	}
	if len(h.Rest) > 0 && (h.Format == FormatTLV || h.Format == FormatStatus) {
		e.line("", h.Rest, "not a data object")
	}
	if h.trailerSet {
		s, _ := h.Status()
		e.line("", h.trailer, "status indicator: %v", s)
	}
	if ref, ok := h.DIRReference(); ok {
		e.line("", []byte{ref}, "DIR data reference")
	}
}

// object is what a data object says, after its name.
func (e *explainer) object(o Object) string {
	// The getters decode the first object of a kind. There may be a second one, so each is decoded on its own.
	h := Historical{Objects: []Object{o}}
	switch o.Tag {
	case TagCountryCode:
		if c, ok := h.Country(); ok {
			return ": ISO 3166-1 " + c
		}
	case TagServiceData:
		if s, ok := h.ServiceData(); ok {
			return ": " + s.String()
		}
	case TagCapabilities:
		if c, ok := h.Capabilities(); ok {
			return ": " + c.String()
		}
	case TagStatus:
		if s, ok := h.Status(); ok {
			return ": " + s.String()
		}
	case TagAID:
		if storage, ok := e.a.StorageCard(); ok && o.BER {
			return fmt.Sprintf(" of PC/SC: %v", storage)
		}
		return fmt.Sprintf(": %X", o.Data)
	}
	return quoted(o.Data)
}

func (e *explainer) summary() {
	a := e.a
	if a.T0.Present {
		mode := "negotiable mode"
		if _, ok := a.SpecificMode(); ok {
			mode = "specific mode"
		}
		e.text("Protocols: %s; %s, starts with %v", joinProtocols(a.Protocols()), mode, a.DefaultProtocol())
		if c := a.Contactless(); c != NotContactless {
			e.text("Made up by the reader for a %v", c)
		}
		if q, ok := a.ATQB(); ok {
			e.text("If of type B: application data % X, protocol info % X, MBLI %d", q.ApplicationData, q.ProtocolInfo, q.MBLI)
		}
	}
	if a.err != nil {
		e.text("Error: byte %d: %s", a.err.Offset, a.err.Msg)
	}
	for _, w := range a.Warnings {
		e.text("Warning: byte %d: %s", w.Offset, w.Msg)
	}
}

// at is the frequency for which times are given: the fastest that the card supports.
func at(r Rate) Frequency { return r.FMax }

// round keeps three or four digits of a duration.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 10000 {
		unit *= 10
	}
	return d.Round(unit)
}

// announced is "TA1 TD1 follow".
func announced(y byte, i int) string {
	var l words
	for letter := range 4 {
		l.add(y&(1<<letter) != 0, fmt.Sprintf("T%c%d", 'A'+letter, i))
	}
	switch len(l) {
	case 0:
		return "no interface bytes"
	case 1:
		return l[0] + " follows"
	default:
		return strings.Join(l, " ") + " follow"
	}
}

func (a *ATR) offers(p Protocol) bool {
	for _, q := range a.Protocols() {
		if p == q {
			return true
		}
	}
	return false
}

func joinProtocols(list []Protocol) string {
	var l words
	for _, p := range list {
		l.add(true, p.String())
	}
	return strings.Join(l, " ")
}

// text is the longest text in historical bytes, quoted, or empty. Headers of data objects are no part of it.
func (h Historical) text() string {
	if len(h.Objects) == 0 {
		return printable(h.Bytes)
	}
	best := printable(h.Rest)
	for _, o := range h.Objects {
		if s := printable(o.Data); len(s) > len(best) {
			best = s
		}
	}
	return best
}

// quoted is ` "text"` for bytes in which there is some, and otherwise empty.
func quoted(b []byte) string {
	if s := printable(b); s != "" {
		return " " + s
	}
	return ""
}

// printable is the longest stretch of ASCII text in bytes, quoted, if it is long enough not to be there by accident.
func printable(b []byte) string {
	var best []byte
	for start := 0; start < len(b); start++ {
		end := start
		for end < len(b) && b[end] >= ' ' && b[end] < 0x7F {
			end++
		}
		if end-start > len(best) {
			best = b[start:end]
		}
		start = end
	}
	if len(best) < 4 {
		return ""
	}
	return fmt.Sprintf("%q", best)
}
