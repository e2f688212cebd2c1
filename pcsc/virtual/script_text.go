package virtual

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// pattern is a command, some of whose bytes may be anything.
type pattern struct {
	bytes []byte
	any   []bool // for each byte, whether it may be anything
	rest  bool   // any number of bytes may follow
}

func (p pattern) matches(apdu []byte) bool {
	if len(apdu) < len(p.bytes) || len(apdu) > len(p.bytes) && !p.rest {
		return false
	}
	for i, b := range p.bytes {
		if b != apdu[i] && !p.any[i] {
			return false
		}
	}
	return true
}

// answer is what a card answers to a command.
type answer struct {
	response []byte
	code     winscard.Code // the exchange fails with it
	masked   bool          // there was more, which has not been kept
}

// exchange is a command and its answer.
type exchange struct {
	where   string // for people: "line 3"
	command pattern
	answer  answer
}

// ScriptFault is a line of a script that can't be read.
type ScriptFault struct {
	Line int
	Msg  string
}

// Error returns line and message.
func (f *ScriptFault) Error() string { return fmt.Sprintf("line %d: %s", f.Line, f.Msg) }

// parseScript reads the text of a [Script]. The error has every line that is wrong.
func parseScript(text string) (atr []byte, steps []exchange, err error) {
	var errs []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		left, right, found := strings.Cut(line, ":")
		step := exchange{where: fmt.Sprintf("line %d", number)}
		var err error
		switch {
		case !found:
			err = errors.New(`no ":" between command and answer`)
		case strings.TrimSpace(left) == "atr":
			switch atr2, err2 := parseHex(right); {
			case err2 != nil:
				err = fmt.Errorf("ATR: %w", err2)
			case atr != nil || len(steps) > 0:
				err = errors.New("the ATR is given once, before the first exchange")
			case len(atr2) == 0 || len(atr2) > maxATR:
				err = fmt.Errorf("the ATR has %d bytes; 1 to %d are allowed", len(atr2), maxATR)
			default:
				atr = atr2
			}
		default:
			if step.command, err = parsePattern(left); err != nil {
				err = fmt.Errorf("command: %w", err)
				break
			}
			if step.answer, err = parseAnswer(right); err != nil {
				err = fmt.Errorf("answer: %w", err)
				break
			}
			steps = append(steps, step)
		}
		if err != nil {
			errs = append(errs, &ScriptFault{number, err.Error()})
		}
	}
	return atr, steps, errors.Join(errs...)
}

func parsePattern(text string) (p pattern, err error) {
	fields := strings.Fields(text)
	if len(fields) == 1 && fields[0] == empty {
		return p, nil
	}
	if n := len(fields); n > 0 && (fields[n-1] == "*" || fields[n-1] == masked) {
		p.rest = true
		fields = fields[:n-1]
	}
	for _, field := range fields {
		for at := 0; at < len(field); at += 2 {
			two := field[at:min(at+2, len(field))]
			if two == "??" {
				p.bytes, p.any = append(p.bytes, 0), append(p.any, true)
				continue
			}
			b, err := hex.DecodeString(two)
			if err != nil {
				return p, notHex(two, ", ?? (any byte), or * at the end (any rest)")
			}
			p.bytes, p.any = append(p.bytes, b...), append(p.any, false)
		}
	}
	if len(p.bytes) == 0 && !p.rest {
		return p, errors.New("is missing")
	}
	return p, nil
}

func parseHex(text string) (bytes []byte, err error) {
	for _, field := range strings.Fields(text) {
		for at := 0; at < len(field); at += 2 {
			two := field[at:min(at+2, len(field))]
			b, err := hex.DecodeString(two)
			if err != nil {
				return nil, notHex(two, "")
			}
			bytes = append(bytes, b...)
		}
	}
	return bytes, nil
}

func notHex(text, or string) error {
	return fmt.Errorf("%q is not two hexadecimal digits%s", text, or)
}

const (
	empty  = "empty"  // stands for no bytes
	masked = "masked" // stands for bytes that may hold a PIN
	failed = "error"  // before the code that an exchange failed with
)

func parseAnswer(text string) (a answer, err error) {
	switch fields := strings.Fields(text); {
	case len(fields) > 0 && fields[0] == masked:
		a.masked = true
		text = strings.Join(fields[1:], " ")
	case len(fields) > 0 && fields[0] == failed:
		if len(fields) == 2 {
			if a.code, err = winscard.ParseCode(fields[1]); err == nil && a.code != winscard.Success {
				return a, nil
			}
		}
		return a, errors.New("after error a code is wanted, such as SCARD_W_REMOVED_CARD or 0x80100069")
	case len(fields) == 1 && fields[0] == empty:
		return a, nil
	case len(fields) == 0:
		return a, errors.New("is missing; 9000 is success")
	}
	a.response, err = parseHex(text)
	return a, err
}

// String is the answer as parseAnswer reads it.
func (a answer) String() string {
	if a.code != winscard.Success {
		if code, err := winscard.ParseCode(a.code.String()); err == nil && code == a.code {
			return failed + " " + a.code.String()
		}
		return fmt.Sprintf("%s 0x%08X", failed, uint32(a.code))
	}
	var parts []string
	if a.masked {
		parts = append(parts, masked)
	}
	at := max(len(a.response)-2, 0) // of the status word
	for _, part := range [][]byte{a.response[:at], a.response[at:]} {
		if len(part) > 0 {
			parts = append(parts, fmt.Sprintf("%X", part))
		}
	}
	return orEmpty(strings.Join(parts, " "))
}

func orEmpty(text string) string {
	if text == "" {
		return empty
	}
	return text
}

// String is the pattern as parsePattern reads it: the header, and then the rest.
func (p pattern) String() string {
	tokens := p.tokens()
	at := min(4, len(tokens))
	parts := []string{strings.Join(tokens[:at], ""), strings.Join(tokens[at:], "")}
	if p.rest {
		parts = append(parts, "*")
	}
	return orEmpty(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " "))
}

// tokens are the bytes in hexadecimal.
func (p pattern) tokens() []string {
	tokens := make([]string, len(p.bytes))
	for i, b := range p.bytes {
		if tokens[i] = fmt.Sprintf("%02X", b); p.any[i] {
			tokens[i] = "??"
		}
	}
	return tokens
}

// exactly is the pattern that is one command.
func exactly(apdu []byte) pattern {
	return pattern{bytes: slices.Clone(apdu), any: make([]bool, len(apdu))}
}
