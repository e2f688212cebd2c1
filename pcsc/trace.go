package pcsc

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pinapdu"
)

// A Tracer is told of every native call, after it, by [WithTracer]. Trace can be called by many goroutines at once.
// The program's call waits for it, and it must not call methods of this package, which might be waiting for it.
type Tracer interface {
	Trace(TraceCall)
}

// TracerFunc is a Tracer made of its method.
type TracerFunc func(TraceCall)

// Trace calls f, unless it is nil.
func (f TracerFunc) Trace(c TraceCall) {
	if f != nil {
		f(c)
	}
}

// TraceCall is a native call that is over. A method of this package can make none, one or several: a list whose buffer
// was too small, say, is asked for again.
type TraceCall struct {
	Op       string        // the C function, as "SCardTransmit"
	Reader   string        // the reader's name; empty where there is none, or several
	Code     Code          // what the function returned
	Duration time.Duration // how long it took, on the clock
	Args     []TraceArg    // numbers that it was given, such as a timeout, a control code or the number of states
	Sent     int           // bytes of input: of an APDU, a command to the reader or an attribute; names do not count
	Received int           // bytes that came; 0 unless Code is Success

	// Command and Response are the bytes of Transmit and Control, with WithUnsafeAPDUBytesInTrace alone; else nil. If
	// they are Masked, Command is the first four bytes of an APDU or nothing, and Response the status word or nothing.
	Command  []byte
	Response []byte
	Masked   bool
}

// TraceArg is a number that a function was given, with the name of the parameter.
type TraceArg struct {
	Name  string
	Value uint32
}

// WithTracer hands every native call, of the context's cards and waits too, to t: which function, on which reader, how
// it ended, how long it took, how many bytes went and came. Bytes of APDUs are not among it. A nil t is none.
//
// Without a tracer nothing stands between this package and the backend: tracing that is off costs nothing.
//
// It works for the function [Watch], too. A watch of a [Context] is traced if its Context is.
func WithTracer(t Tracer) Option {
	return func(o *options) { o.tracer = t }
}

// WithUnsafeAPDUBytesInTrace hands the bytes of commands and responses to the tracer of [WithTracer], too. It is for
// the developer's desk: what a card and a program tell each other can be personal data, keys and session secrets, and
// a log outlives them.
//
// What carries a PIN is masked all the same. Of these commands there are only the four bytes of the header, and of
// their responses the status word:
//
//   - VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER and the commands that enable and disable verification
//     (instructions 20, 21, 24 to 29, 2C and 2D), in every class, whether chained, on a logical channel or in secure
//     messaging;
//   - ENVELOPE (C2, C3), which can wrap one of them;
//   - GET RESPONSE (C0, C1) after one of these;
//   - commands of class FF, which are for the reader itself and can hold a key, a part 10 structure or a whole command,
//     but for GET DATA and READ BINARY.
//
// Of what is no APDU, because it has no header or the protocol is neither T=0 nor T=1, nothing is shown. Of
// [Card.Control], as the code does not tell what is in the command, nothing is shown but what the reader's part 10
// features tell apart, once [Card.Features] has asked for them: the question for them and those for properties are
// shown in full, and of the entry of a PIN the status word that it ends with.
//
// Keys are not masked, and nor are the results of cryptography: GENERAL AUTHENTICATE, EXTERNAL AUTHENTICATE, PUT KEY,
// PUT DATA and a vendor's own commands are shown in full.
func WithUnsafeAPDUBytesInTrace() Option {
	return func(o *options) { o.traceBytes = true }
}

// SlogTracer is a Tracer that logs every call to l at level Debug, with the function as message and the attributes
// reader, code, duration, the group args, sent and received; and command, response and masked if they are there.
// A nil l is one that discards everything.
func SlogTracer(l *slog.Logger) Tracer {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return TracerFunc(func(c TraceCall) {
		ctx := context.Background()
		if !l.Enabled(ctx, slog.LevelDebug) {
			return
		}
		attrs := make([]slog.Attr, 0, 9)
		if c.Reader != "" {
			attrs = append(attrs, slog.String("reader", c.Reader))
		}
		code := c.Code.Name()
		if code == "" {
			code = fmt.Sprintf("0x%08X", uint32(c.Code))
		}
		attrs = append(attrs, slog.String("code", code), slog.Duration("duration", c.Duration))
		if len(c.Args) > 0 {
			args := make([]slog.Attr, len(c.Args))
			for i, arg := range c.Args {
				args[i] = slog.Uint64(arg.Name, uint64(arg.Value))
			}
			attrs = append(attrs, slog.GroupAttrs("args", args...))
		}
		attrs = append(attrs, slog.Int("sent", c.Sent), slog.Int("received", c.Received))
		if c.Command != nil {
			attrs = append(attrs, slog.String("command", fmt.Sprintf("% X", c.Command)))
		}
		if c.Response != nil {
			attrs = append(attrs, slog.String("response", fmt.Sprintf("% X", c.Response)))
		}
		if c.Masked {
			attrs = append(attrs, slog.Bool("masked", true))
		}
		l.LogAttrs(ctx, slog.LevelDebug, c.Op, attrs...)
	})
}

// traceBackend hands every call to a Tracer. Its methods are generated.
type traceBackend struct {
	backend winscard.Backend
	tracer  Tracer
	bytes   bool // WithUnsafeAPDUBytesInTrace

	mu    sync.Mutex
	cards map[winscard.Card]*traceCard
}

// traceCard is what has to be known of a connection.
type traceCard struct {
	reader string
	secret bool // the last command was masked
	codes  map[uint32]shown
}

func newTraceBackend(b winscard.Backend, t Tracer, bytes bool) *traceBackend {
	return &traceBackend{backend: b, tracer: t, bytes: bytes, cards: make(map[winscard.Card]*traceCard)}
}

// connection is what is known of a connection; nil if it was not made here.
func (b *traceBackend) connection(card winscard.Card) *traceCard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cards[card]
}

// reader is the name of the reader of a connection.
func (b *traceBackend) reader(card winscard.Card) string {
	if c := b.connection(card); c != nil {
		return c.reader
	}
	return ""
}

func (b *traceBackend) connected(rc winscard.Code, card winscard.Card, reader string) {
	if rc != winscard.Success {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cards[card] = &traceCard{reader: reader}
}

func (b *traceBackend) disconnected(rc winscard.Code, card winscard.Card, was *traceCard) {
	if means(rc, winscard.ErrSharingViolation) { // then it is still connected
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cards[card] == was { // else a new connection has got the handle meanwhile
		delete(b.cards, card)
	}
}

// onlyReader is the name of the reader of a wait for one.
func onlyReader(states []winscard.ReaderState) string {
	if len(states) != 1 {
		return ""
	}
	return states[0].Reader
}

// ended notes the outcome. received are the lengths of what came.
func (c *TraceCall) ended(began time.Time, rc winscard.Code, received ...int) {
	c.Duration, c.Code = time.Since(began), rc
	if rc == winscard.Success {
		for _, n := range received {
			c.Received += max(n, 0)
		}
	}
}

// exchange adds the bytes of an APDU (number is the protocol) or of a command to the reader (number is the control
// code), masked if they may be secret.
func (b *traceBackend) exchange(c *TraceCall, card winscard.Card, number uint32, in, out []byte) {
	if !b.bytes {
		return
	}
	out = out[:min(c.Received, len(out))]
	switch c.Op {
	case opTransmit:
		in, out = b.apdu(c, card, number, in, out)
	case opControl:
		in, out = b.control(c, card, number, in, out)
	default: // of a function that nothing is known of
		return
	}
	c.Command, c.Response = bytes.Clone(in), bytes.Clone(out)
}

// apdu returns what of a command and its response is to be shown.
func (b *traceBackend) apdu(c *TraceCall, card winscard.Card, protocol uint32, in, out []byte) (command, response []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.cards[card]
	if state == nil {
		state = &traceCard{secret: true}
	}
	isAPDU := len(in) >= 4 && (protocol == uint32(ProtocolT0) || protocol == uint32(ProtocolT1))
	c.Masked = !isAPDU || pinapdu.Secret(in, state.secret)
	state.secret = c.Masked
	switch {
	case !c.Masked:
		return in, out
	case !isAPDU:
		return nil, nil
	}
	return pinapdu.Shown(in, out)
}

// control returns what of a command to the reader and its answer is to be shown.
func (b *traceBackend) control(c *TraceCall, card winscard.Card, code uint32, in, out []byte) (command, answer []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.cards[card]
	if state == nil {
		state = &traceCard{}
	}
	switch {
	case code == CtlGetFeatureRequest:
		if c.Code == winscard.Success {
			state.codes = shownCodes(out)
		}
		return in, out
	case state.codes[code] == shownAll:
		return in, out
	}
	c.Masked = true
	if state.codes[code] == shownStatus && len(out) == 2 {
		return nil, out
	}
	return nil, nil
}

// shown is what of a control code is shown.
type shown uint8

const (
	shownNothing shown = iota
	shownStatus        // the status word that a PIN entry ends with
	shownAll
)

// shownFeatures has the features of which something can be shown: what these two tell of a reader is not secret.
var shownFeatures = map[Feature]shown{
	FeatureIFDPINProperties: shownAll,
	FeatureGetTLVProperties: shownAll,
	FeatureVerifyPINDirect:  shownStatus,
	FeatureVerifyPINFinish:  shownStatus,
	FeatureModifyPINDirect:  shownStatus,
	FeatureModifyPINFinish:  shownStatus,
}

// shownCodes is what of each control code is shown, from the list of features. If several features have the code, the
// most secret one counts.
func shownCodes(answer []byte) map[uint32]shown {
	codes := map[uint32]shown{}
	features := parseFeatures(answer)
	for feature, code := range features.All() {
		of := shownFeatures[feature]
		if before, seen := codes[code]; seen {
			of = min(of, before)
		}
		codes[code] = of
	}
	return codes
}
