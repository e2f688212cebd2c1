package virtual

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// TB is the part of [testing.TB] that is used here.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Script is a [Card] that expects certain commands in a certain order and knows the answers. It fails its test on any
// other command, with a diff, and at the end of the test for commands that have not come.
//
// Its text has one exchange a line: the command, a colon and the response, in hexadecimal, with spaces as one likes.
//
//	atr: 3B 80 80 01 01                     # the first line may be the answer to reset
//	00A40400 07 F0676F70637363: 9000
//	00200001 04 31323334:       63C2        # a comment goes to the end of the line
//	00840000 08:                0102030405060708 9000
//
// In a command ?? is any byte, and * at its end is any rest, of no byte too. The word empty is no byte at all. In place
// of a response, error and a code, as in error SCARD_E_NOT_TRANSACTED, make the client's Transmit fail with that code.
//
// A command that does not fit is answered with an error, which for the client is ErrNotTransacted, and the script waits
// for the right one still.
//
// Failures show the commands, but of those that may hold a PIN (VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER and
// so on, as in package pcsc's traces) the header alone, unless [WithUnsafePINs] is given.
type Script struct {
	opts scriptOptions
	t    TB // nil if there is no test

	mu    sync.Mutex
	atr   []byte
	steps []exchange
	next  int
	wrong []error
	ended bool // the test is over, t must not be used
}

var (
	_ Card     = (*Script)(nil)
	_ ATRer    = (*Script)(nil)
	_ Resetter = (*Script)(nil)
)

type scriptOptions struct {
	pins   bool
	rewind bool
}

// A ScriptOption changes how a [Script] or a [Recorder] works.
type ScriptOption func(*scriptOptions)

// WithUnsafePINs shows in a [Script]'s failures, and writes to a [Recorder]'s file, commands that may hold a PIN. Use
// it with the PINs of test cards alone.
func WithUnsafePINs() ScriptOption { return func(o *scriptOptions) { o.pins = true } }

// WithRewind makes a [Script] begin anew when the card is reset, and says nothing of what had not come by then. Without
// it a reset changes nothing.
func WithRewind() ScriptOption { return func(o *scriptOptions) { o.rewind = true } }

func newScriptOptions(opts []ScriptOption) (o scriptOptions) {
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// NewScript makes the card of a test from the text of a [Script]. A text that can't be read ends the test.
func NewScript(t TB, text string, opts ...ScriptOption) *Script {
	t.Helper()
	s, err := LoadScript(strings.NewReader(text), opts...)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	return s.watchedBy(t)
}

// NewPlayer makes a card that replays what a [Recorder] has written: it is a [Script], for the file is the text of one.
// It fails the test if the commands are not those that were recorded. Of commands that were masked it compares the
// header, so that any PIN is right.
func NewPlayer(t TB, recording io.Reader, opts ...ScriptOption) *Script {
	t.Helper()
	s, err := LoadScript(recording, opts...)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	return s.watchedBy(t)
}

// LoadScript reads a [Script], or what a [Recorder] has written, for a card that belongs to no test. What goes wrong is
// in [Script.Err], and in the error of Transmit. The error has a [*ScriptFault] for every line that can't be read, in
// what its Unwrap() []error returns.
func LoadScript(text io.Reader, opts ...ScriptOption) (*Script, error) {
	all, err := io.ReadAll(text)
	if err != nil {
		return nil, fmt.Errorf("virtual: reading a script: %w", err)
	}
	s := &Script{opts: newScriptOptions(opts)}
	if s.atr, s.steps, err = parseScript(string(all)); err != nil {
		return nil, fmt.Errorf("virtual: script that can't be read:\n%w", err)
	}
	return s, nil
}

func (s *Script) watchedBy(t TB) *Script {
	s.t = t
	t.Cleanup(func() {
		t.Helper()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
		if err := s.missing(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return s
}

// Expect adds an exchange to the end of the script and returns the script. It keeps neither slice.
func (s *Script) Expect(command, response []byte) *Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, exchange{
		where:   fmt.Sprintf("exchange %d", len(s.steps)+1),
		command: exactly(command),
		answer:  answer{response: slices.Clone(response)},
	})
	return s
}

// ATR returns the answer to reset that the script begins with, else a minimal one that offers T=0 and T=1.
func (s *Script) ATR() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.atr == nil {
		return slices.Clone(basicATR)
	}
	return slices.Clone(s.atr)
}

// Reset goes back to the beginning of the script if it was made with [WithRewind].
func (s *Script) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.rewind {
		s.next = 0
	}
}

// Err returns what has gone wrong: commands that were not expected, and those that have not come yet. It is nil if the
// script has been followed to its end.
func (s *Script) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(append(slices.Clone(s.wrong), s.missing())...)
}

// maxWrong is how many failures are told: what follows the first ones mostly follows from them.
const maxWrong = 10

// Transmit compares a command with the next one that is expected and returns its response.
func (s *Script) Transmit(apdu []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.compare(apdu)
	if err != nil {
		if len(s.wrong) < maxWrong {
			s.wrong = append(s.wrong, err)
			if s.t != nil && !s.ended {
				s.t.Errorf("%v", err)
			}
		}
		return nil, err
	}
	a := s.steps[s.next].answer
	s.next++
	if a.code != winscard.Success {
		return nil, a.code
	}
	return slices.Clone(a.response), nil
}

// compare says what is wrong with a command. The caller holds s.mu.
func (s *Script) compare(apdu []byte) error {
	if s.next == len(s.steps) {
		return fmt.Errorf("virtual: the card got a command after the end of its script: %s", s.shown(exactly(apdu)))
	}
	step := s.steps[s.next]
	switch {
	case !step.command.matches(apdu):
		return fmt.Errorf("virtual: the card got another command than its script has in %s:\n%s", step.where,
			difference(step.command, exactly(apdu), s.opts.pins))
	case step.answer.masked:
		return fmt.Errorf("virtual: the answer to %s, %s, was not recorded since it may hold a PIN; record it with "+
			"WithUnsafePINs and a test card", s.shown(step.command), step.where)
	}
	return nil
}

// missing says what has not come yet. The caller holds s.mu.
func (s *Script) missing() error {
	left := s.steps[s.next:]
	if len(left) == 0 || s.opts.rewind {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "virtual: the card did not get %d of the %d commands of its script:", len(left), len(s.steps))
	for i, step := range left {
		if i == maxWrong {
			b.WriteString("\n\t...")
			break
		}
		fmt.Fprintf(&b, "\n\t%s: %s", step.where, s.shown(step.command))
	}
	return errors.New(b.String())
}

func (s *Script) shown(p pattern) string { return shownCommand(p, s.opts.pins) }
