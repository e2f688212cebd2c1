package atr

import (
	"bytes"
	"errors"
	"fmt"
)

// Parse takes an answer to reset apart. It forgives what real cards do wrong, such as a missing check byte, and lists
// it in Warnings.
//
// If b can't be read to the end, the error is a [*SyntaxError]. The ATR is never nil, and holds what came before the
// error.
func Parse(b []byte) (*ATR, error) {
	a := &ATR{}
	p := parser{a: a, in: bytes.Clone(b)}
	if len(b) > 0 && b[0] == TSInverseRaw {
		a.Raw = true
		invert(p.in)
	}
	if a.err = p.parse(); a.err != nil {
		return a, a.err
	}
	a.Warnings = a.check()
	return a, nil
}

// ParseStrict is Parse, but returns an error for everything that the standards don't allow. The error wraps all of
// them, each a [*SyntaxError].
func ParseStrict(b []byte) (*ATR, error) {
	a, err := Parse(b)
	if err != nil {
		return a, err
	}
	all := make([]error, len(a.Warnings))
	for i, w := range a.Warnings {
		all[i] = w
	}
	return a, errors.Join(all...)
}

type parser struct {
	a   *ATR
	in  []byte
	pos int
}

func (p *parser) next() (Byte, bool) {
	if p.pos >= len(p.in) {
		return Byte{}, false
	}
	b := Byte{Value: p.in[p.pos], Present: true, Offset: p.pos}
	p.pos++
	return b, true
}

func (p *parser) ends() string {
	if len(p.in) == 1 {
		return "the answer to reset ends after 1 byte"
	}
	return fmt.Sprintf("the answer to reset ends after %d bytes", len(p.in))
}

func (p *parser) parse() *SyntaxError {
	if n := len(p.in); n > MaxLen {
		// What is read of the rest is worth having, but the length is the fault to report: it says that the bytes are
		// not an answer to reset, or not only.
		tail := p.in[MaxLen:]
		p.in = p.in[:MaxLen]
		_ = p.structure()
		p.a.Rest = append(p.a.Rest, tail...)
		return syntaxError(MaxLen, "there are %d bytes, but an answer to reset has at most %d", n, MaxLen)
	}
	return p.structure()
}

func (p *parser) structure() *SyntaxError {
	a := p.a
	ts, ok := p.next()
	if !ok {
		return syntaxError(0, "TS is missing: the answer to reset is empty")
	}
	if ts.Value != TSDirect && ts.Value != TSInverse {
		a.Rest = p.in
		return syntaxError(0, "TS is %02X, which is neither 3B, direct convention, nor 3F, inverse convention", ts.Value)
	}
	a.TS = ts.Value
	if a.T0, ok = p.next(); !ok {
		return syntaxError(p.pos, "T0 is missing: %s", p.ends())
	}
	if err := p.interfaceBytes(); err != nil {
		return err
	}
	k := int(a.T0.Value & 0x0F)
	rest := p.in[p.pos:]
	if len(rest) < k {
		a.HistoricalBytes = rest
		return syntaxError(len(p.in), "T0 announces %s, but %s, %d of them",
			plural(k, "historical byte"), p.ends(), len(rest))
	}
	a.HistoricalBytes = rest[:k:k]
	p.pos += k
	p.check()
	return nil
}

// interfaceBytes reads one set of interface bytes after another, as T0 and the TD bytes announce them.
func (p *parser) interfaceBytes() *SyntaxError {
	a := p.a
	from, announced, protocol := "T0", a.T0.Value>>4, ProtocolT0
	for i := 1; ; i++ {
		a.Interface = append(a.Interface, InterfaceBytes{Index: i, Protocol: protocol})
		g := &a.Interface[i-1]
		for letter := range 4 {
			if announced&(1<<letter) == 0 {
				continue
			}
			b, ok := p.next()
			if !ok {
				return syntaxError(p.pos, "%s announces T%c%d, but %s", from, 'A'+letter, i, p.ends())
			}
			*g.byLetter(letter) = b
		}
		if !g.TD.Present {
			return nil
		}
		from, announced, protocol = fmt.Sprintf("TD%d", i), g.TD.Value>>4, Protocol(g.TD.Value&0x0F)
		if protocol != ProtocolT0 {
			a.TCK.Required = true
		}
	}
}

// check reads the check byte and what is left.
func (p *parser) check() {
	t := &p.a.TCK
	for _, b := range p.in[1:p.pos] {
		t.Computed ^= b
	}
	// A byte that is not asked for is taken for a check byte only if it is right; otherwise it is anything.
	if rest := p.in[p.pos:]; len(rest) > 0 && (t.Required || rest[0] == t.Computed) {
		t.Value, t.Present = rest[0], true
		p.pos++
	}
	if rest := p.in[p.pos:]; len(rest) > 0 {
		p.a.Rest = rest
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
