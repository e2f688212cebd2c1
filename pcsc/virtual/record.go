package virtual

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pinapdu"
)

// Recorder writes down what is said to cards, one exchange a line, as the text of a [Script]: [NewPlayer] replays it.
//
// What may hold a PIN is masked, unless [WithUnsafePINs] is given: of VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER
// and the other commands that package pcsc masks in its traces there is the header alone, and of their responses the
// status word. All other bytes are written as they are: personal data and keys too.
//
// All methods may be called concurrently.
type Recorder struct {
	opts scriptOptions

	mu     sync.Mutex
	w      io.Writer
	err    error
	begun  bool // there is something in the file, so it is too late for an ATR
	secret bool // the last command may have held a PIN
}

// NewRecorder makes a recorder that writes to w, with one Write for each line.
func NewRecorder(w io.Writer, opts ...ScriptOption) *Recorder {
	return &Recorder{opts: newScriptOptions(opts), w: w}
}

// Err returns the first error in writing. It does not reach those who talk to the card.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ATR writes the answer to reset, if nothing has been written yet. For [Recorder.Card] that happens by itself.
func (r *Recorder) ATR(atr []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun && len(atr) > 0 && len(atr) <= maxATR {
		r.line("atr: % X", atr)
	}
}

// line writes a line. The caller holds r.mu.
func (r *Recorder) line(format string, args ...any) {
	r.begun = true
	if _, err := fmt.Fprintf(r.w, format+"\n", args...); err != nil && r.err == nil {
		r.err = fmt.Errorf("virtual: recording: %w", err)
	}
}

// exchange writes an exchange.
func (r *Recorder) exchange(apdu, response []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	command, a := exactly(apdu), answer{response: response}
	if err != nil {
		a.code = codeOf(err)
	}
	r.secret = pinapdu.Secret(apdu, r.secret)
	if r.secret && !r.opts.pins {
		header, status := pinapdu.Shown(apdu, response)
		a.masked, a.response = len(status) < len(response), status
		command.bytes, command.rest = header, len(header) < len(apdu)
	}
	r.line("%s: %s", command, a)
}

// Card returns a card that is card, and what is said to it is recorded.
func (r *Recorder) Card(card Card) Card { return &recordedCard{card, r} }

type recordedCard struct {
	Card
	recorder *Recorder
}

var (
	_ ATRer    = (*recordedCard)(nil)
	_ Resetter = (*recordedCard)(nil)
	_ Powerer  = (*recordedCard)(nil)

	_ ProtocolSetter = (*recordedCard)(nil)
)

func (c *recordedCard) Transmit(apdu []byte) ([]byte, error) {
	c.recorder.ATR(c.ATR())
	response, err := c.Card.Transmit(apdu)
	c.recorder.exchange(apdu, response, err)
	return response, err
}

func (c *recordedCard) ATR() []byte {
	if a, ok := c.Card.(ATRer); ok {
		return a.ATR()
	}
	return slices.Clone(basicATR)
}

func (c *recordedCard) Reset() {
	if r, ok := c.Card.(Resetter); ok {
		r.Reset()
	}
}

// PowerOn does what the service does to a card that is no Powerer.
func (c *recordedCard) PowerOn() {
	if p, ok := c.Card.(Powerer); ok {
		p.PowerOn()
		return
	}
	c.Reset()
}

func (c *recordedCard) PowerOff() {
	if p, ok := c.Card.(Powerer); ok {
		p.PowerOff()
	}
}

func (c *recordedCard) SetProtocol(protocol winscard.Protocol) {
	if p, ok := c.Card.(ProtocolSetter); ok {
		p.SetProtocol(protocol)
	}
}

// Transmitter sends APDUs to a card, as *pcsc.Card and *pcsc.Transaction do.
type Transmitter interface {
	Transmit(ctx context.Context, apdu []byte) ([]byte, error)
}

// Transmitter returns a transmitter that is t, and what is said by it is recorded: the way to record a real card. Tell
// the recorder the card's answer to reset beforehand, with [Recorder.ATR].
func (r *Recorder) Transmitter(t Transmitter) Transmitter { return recordedTransmitter{t, r} }

type recordedTransmitter struct {
	Transmitter
	recorder *Recorder
}

func (t recordedTransmitter) Transmit(ctx context.Context, apdu []byte) ([]byte, error) {
	response, err := t.Transmitter.Transmit(ctx, apdu)
	t.recorder.exchange(apdu, response, err)
	return response, err
}
