package virtual

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// ParseFault reads a fault from text: what goes wrong, and then any number of conditions, in words.
//
//	pull-card            PullCard            mute-card            MuteCard
//	unplug-reader        UnplugReader        delay TIME           Delay
//	stop-service         StopService         fail CODE            Fail
//	restart-service      RestartService      lose CODE            Lose
//	restart-service TIME                     answer HEX           Answer; "answer none" for no bytes
//	reset-card           ResetCard           oversize SIZE        Oversize
//	sharing-violation    SharingViolation    server-too-busy      ServerTooBusy
//	comm-error           CommError           nothing              the zero Fault
//
//	before               Before              on OPERATION[,…]     On; "on any" for OnAny
//	nth N                Nth                 apdu HEX             APDU
//	times N              Times               always               Always
//
// TIME is as in "1m30s", CODE a name such as SCARD_E_TIMEOUT or a number, HEX has no spaces, OPERATION is an [Op]. Upper
// and lower case are the same.
//
//	delay 5s apdu 00B0 always
//	pull-card on Transmit nth 3
func ParseFault(text string) (Fault, error) {
	f, err := parseFault(strings.Fields(text))
	if err != nil {
		return Fault{}, fmt.Errorf("virtual: fault %q: %w", text, err)
	}
	return f, nil
}

// ParseFaults reads a script: a fault, as [ParseFault] reads it, on each line. Empty lines, and what follows a #, are
// passed over. An error names the line.
func ParseFaults(script io.Reader) ([]Fault, error) {
	var faults []Fault
	lines := bufio.NewScanner(script)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		f, err := parseFault(words)
		if err != nil {
			return nil, fmt.Errorf("virtual: line %d, fault %q: %w", n, strings.Join(words, " "), err)
		}
		faults = append(faults, f)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("virtual: reading faults: %w", err)
	}
	return faults, nil
}

// abbreviations are the faults that have a name of their own besides their kind's.
var abbreviations = map[string]func() Fault{
	"sharing-violation": SharingViolation,
	"server-too-busy":   ServerTooBusy,
	"comm-error":        CommError,
}

func parseFault(words []string) (f Fault, err error) {
	if len(words) == 0 {
		return f, fmt.Errorf("it is empty: begin with one of %s", strings.Join(faultNames(), ", "))
	}
	p := faultParser{words: words[1:]}
	name := strings.ToLower(words[0])
	i := slices.IndexFunc(kinds, func(k struct{ name, arg string }) bool { return k.name == name })
	switch abbreviation := abbreviations[name]; {
	case i >= 0:
		f.kind = kind(i)
		p.argument(&f)
	case abbreviation != nil:
		f = abbreviation()
	default:
		return f, fmt.Errorf("%q is none of %s", words[0], strings.Join(faultNames(), ", "))
	}
	for p.err == nil && len(p.words) > 0 {
		p.condition(&f)
	}
	return f, p.err
}

func faultNames() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	for name := range abbreviations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// faultParser takes words and keeps the first error.
type faultParser struct {
	words []string
	err   error
}

func (p *faultParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// next takes the word that has to follow.
func (p *faultParser) next(after, what string) string {
	if len(p.words) == 0 {
		p.fail("%s needs %s", after, what)
		return ""
	}
	word := p.words[0]
	p.words = p.words[1:]
	return word
}

func (p *faultParser) argument(f *Fault) {
	name := kinds[f.kind].name
	switch kinds[f.kind].arg {
	case "time":
		if f.kind == doesRestartService && (len(p.words) == 0 || p.words[0][0] < '0' || p.words[0][0] > '9') {
			return
		}
		word := p.next(name, "a time such as 5s")
		d, err := time.ParseDuration(word)
		if p.err == nil && (err != nil || d < 0) {
			p.fail("%s: %q is no time such as 5s", name, word)
		}
		f.wait = d
	case "code":
		word := p.next(name, "a code such as SCARD_E_TIMEOUT")
		code, err := winscard.ParseCode(word)
		if p.err == nil && err != nil {
			p.fail("%s: %w", name, err)
		}
		f.code = code
	case "data":
		if word := p.next(name, `bytes in hexadecimal, or "none"`); !strings.EqualFold(word, "none") {
			f.data = p.bytes(name, word)
		}
	case "size":
		f.size = p.number(name, 0)
	}
}

func (p *faultParser) condition(f *Fault) {
	w := &f.when
	switch name := strings.ToLower(p.next("", "")); name {
	case "before":
		w.before = true
	case "on":
		w.ops = p.operations()
	case "apdu":
		w.header = p.bytes(name, p.next(name, "the first bytes of a command in hexadecimal"))
	case "nth":
		Nth(p.number(name, 1))(w)
	case "times":
		Times(p.number(name, 1))(w)
	case "always":
		Always()(w)
	default:
		p.fail("%q is no condition: before, on, apdu, nth, times and always are", name)
	}
}

func (p *faultParser) bytes(name, word string) string {
	b, err := hex.DecodeString(word)
	if p.err == nil && (err != nil || len(b) == 0) {
		p.fail("%s: %q is not made of bytes in hexadecimal, without spaces", name, word)
	}
	return string(b)
}

func (p *faultParser) number(name string, least int) int {
	word := p.next(name, "a number")
	n, err := strconv.Atoi(word)
	if p.err == nil && (err != nil || n < least) {
		p.fail("%s: %q is no number from %d on", name, word, least)
	}
	return n
}

func (p *faultParser) operations() (set opSet) {
	word := p.next("on", "an operation such as Connect")
	if strings.EqualFold(word, "any") {
		return anyOp
	}
	for name := range strings.SplitSeq(word, ",") {
		i := slices.IndexFunc(ops, func(op Op) bool { return strings.EqualFold(string(op), name) })
		if i < 0 {
			p.fail("on: %q is no operation; any and %s are", name, opNames())
			return 0
		}
		set |= 1 << i
	}
	return set
}

func opNames() string {
	var names []string
	for _, op := range ops {
		names = append(names, string(op))
	}
	return strings.Join(names, ", ")
}
