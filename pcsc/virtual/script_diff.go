package virtual

import (
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/gopcsc/gopcsc/internal/pinapdu"
)

// shownCommand is a command on one line. One that may hold a PIN is masked, unless pins is set.
func shownCommand(p pattern, pins bool) string {
	if pins || !holdsSecret(p) {
		return p.String()
	}
	header, _ := pinapdu.Shown(p.bytes, nil)
	if len(header) == 0 {
		return fmt.Sprintf("%s (%d bytes)", masked, len(p.bytes))
	}
	return fmt.Sprintf("%X %s", header, masked)
}

// holdsSecret reports whether there is something to hide: a header alone is shown anyway.
func holdsSecret(p pattern) bool {
	return len(p.bytes) != 4 && len(p.bytes) > 0 && pinapdu.Secret(p.bytes, false)
}

// difference shows how two commands differ, in a line for each of their parts.
func difference(want, got pattern, pins bool) string {
	hidden := !pins && (holdsSecret(want) || holdsSecret(got))
	diff := udiff.Unified("expected", "sent", parts(want, hidden), parts(got, hidden))
	if diff == "" {
		diff = parts(want, hidden)
	}
	if hidden {
		diff += "What follows the header may hold a PIN and is not shown; WithUnsafePINs shows it.\n"
	}
	return strings.TrimSuffix(diff, "\n")
}

// parts writes a command with a line for each of its parts, and long data on several lines.
func parts(p pattern, hidden bool) string {
	var b strings.Builder
	row := func(name string, tokens []string) {
		for len(tokens) > 0 {
			n := min(16, len(tokens))
			fmt.Fprintf(&b, "%-6s %s\n", name, strings.Join(tokens[:n], " "))
			tokens = tokens[n:]
		}
	}
	tokens := p.tokens()
	header := min(4, len(tokens))
	if hidden && header < 4 {
		header = 0
	}
	row("header", tokens[:header])
	body := tokens[header:]
	lc, data, _, ok := divide(p.bytes[header:])
	switch {
	case hidden && (len(body) > 0 || p.rest):
		b.WriteString("rest   " + masked + "\n")
		return b.String()
	case ok:
		row("Lc", body[:lc])
		row("data", body[lc:lc+data])
		row("Le", body[lc+data:])
	default:
		row("rest", body)
	}
	if p.rest {
		row("rest", []string{"*"})
	}
	return b.String()
}

// divide returns the lengths of the parts that follow a command's header, short or extended (ISO/IEC 7816-3, clause
// 12.1), and whether they agree with the length of body.
func divide(body []byte) (lc, data, le int, ok bool) {
	switch n := len(body); {
	case n <= 1:
		return 0, 0, n, true
	case body[0] != 0:
		lc, data = 1, int(body[0])
	case n == 2:
		return 0, 0, 0, false
	case n == 3:
		return 0, 0, n, true
	default:
		lc, data = 3, int(body[1])<<8|int(body[2])
	}
	le = len(body) - lc - data
	return lc, data, le, data > 0 && (le == 0 || le == (lc+1)/2) // Le has 1 byte or 2
}
