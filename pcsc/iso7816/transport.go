package iso7816

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gopcsc/gopcsc/pcsc"
)

// A Transmitter sends an APDU to a card, once, and returns the response with its status word. *pcsc.Card and
// *pcsc.Transaction are such. Transmit must neither change apdu nor keep it, and must not keep what it returns.
type Transmitter interface {
	Transmit(ctx context.Context, apdu []byte) ([]byte, error)
}

var (
	_ Transmitter = (*pcsc.Card)(nil)
	_ Transmitter = (*pcsc.Transaction)(nil)
)

// A Transport carries out commands that may take several APDUs: responses that are fetched with GET RESPONSE, commands
// whose Le the card corrects, and chains of commands.
//
// # Transactions
//
// Over a *pcsc.Card, every command runs in a transaction of its own, from its first APDU to its last, so that no
// APDU of another program or goroutine comes between. So it must not be used by a goroutine that has begun a
// transaction on that card: it would wait for itself. Within a transaction, and for a sequence of commands that belong
// together, make a Transport over the *pcsc.Transaction. Over anything else, [WithTransaction] says how sequences are
// kept together.
//
// pcscd 1.9.9 has a gap: an APDU that another program sent without a transaction, and that waits for the reader when
// the transaction begins, can still come after the transaction's first APDU.
//
// # What is sent twice
//
// A command that may have run is never sent again: neither after an error of the transmitter, nor after any status
// word but one. That one is 6CXX, wrong Le, by which the standard says that the card aborted the command before it did
// anything and that the same command may be issued again with XX as its Le. It is then sent again once, and only if
// it was a single command with an Le of another value and the response had no data.
//
// In a chain nothing is ever sent again, and the first answer other than 9000 ends it.
//
// # T=0
//
// If the transmitter has a method ActiveProtocol that says T=0, or [WithProtocol] does, APDUs are formed as the
// transport by T=0 wants them (ISO/IEC 7816-3, command-response pairs over T=0): a command with data has no Le, and the
// card announces its response with 61XX; a command without data and Le ends with a P3 of 00; extended lengths are
// not used.
//
// A Transport is safe for use by many goroutines; their commands follow one another. It must be made by
// [NewTransport].
type Transport struct {
	transmitter Transmitter
	transaction func(context.Context, func(Transmitter) error) error
	lock        chan struct{} // not a mutex, so that waiting for it ends with the context

	protocol       pcsc.Protocol
	extended       bool
	noGetResponse  bool
	noCorrection   bool
	noChaining     bool
	proprietary    bool
	responseClass  func(byte) byte
	linkSize       int
	maxChain       int
	maxResponse    int
	maxGetResponse int
}

// The limits of a Transport that has no options to the contrary.
const (
	// DefaultMaxChain is how many commands a chain may have: enough for 65535 bytes of data, the most that a single APDU
	// holds, in commands of 64.
	DefaultMaxChain = 1024
	// DefaultMaxResponse is the most data of a response, in bytes.
	DefaultMaxResponse = MaxExtendedNe
	// DefaultMaxGetResponse is how many GET RESPONSE commands fetch one response: enough for 65536 bytes from a card
	// that gives 64 at a time.
	DefaultMaxGetResponse = 1024
)

// Option changes a [Transport] that NewTransport makes.
type Option func(*Transport)

// WithExtendedLength says that card and reader take APDUs in extended form, so that a command of more than 255 bytes,
// or one that expects more than 256, is sent as one APDU. The card says so in its card capabilities (ISO/IEC 7816-4,
// historical bytes). Without it such a command is sent as a chain and its response fetched in pieces, except if
// [Command.Extended] asks for the extended form. It has no effect with T=0.
func WithExtendedLength() Option { return func(t *Transport) { t.extended = true } }

// WithoutGetResponse leaves 61XX to the caller.
func WithoutGetResponse() Option { return func(t *Transport) { t.noGetResponse = true } }

// WithoutCorrection leaves 6CXX to the caller, so that nothing at all is sent twice.
func WithoutCorrection() Option { return func(t *Transport) { t.noCorrection = true } }

// WithoutChaining makes an error of a command that would have to be chained.
func WithoutChaining() Option { return func(t *Transport) { t.noChaining = true } }

// WithLinkSize sets how many bytes of data each command of a chain has, but for the last which may have fewer. A
// command with more data is chained. The default is 255, and so is what a value below 1 or above 255 means.
func WithLinkSize(bytes int) Option {
	return func(t *Transport) {
		if bytes < 1 || bytes > MaxShortData {
			bytes = MaxShortData
		}
		t.linkSize = bytes
	}
}

// WithMaxChain sets how many commands a chain may have; a value below 1 means [DefaultMaxChain]. A longer one is
// [ErrLimit], and nothing of it is sent.
func WithMaxChain(commands int) Option {
	return func(t *Transport) {
		if commands < 1 {
			commands = DefaultMaxChain
		}
		t.maxChain = commands
	}
}

// WithMaxResponse sets the most data that a response may have in all, in bytes; a value below 1 means
// [DefaultMaxResponse].
func WithMaxResponse(bytes int) Option {
	return func(t *Transport) {
		if bytes < 1 {
			bytes = DefaultMaxResponse
		}
		t.maxResponse = bytes
	}
}

// WithMaxGetResponse sets how many GET RESPONSE commands may fetch one response; a value below 1 means
// [DefaultMaxGetResponse].
func WithMaxGetResponse(commands int) Option {
	return func(t *Transport) {
		if commands < 1 {
			commands = DefaultMaxGetResponse
		}
		t.maxGetResponse = commands
	}
}

// WithProprietaryClass says that the bits of proprietary class bytes (80 to FE) mean what those of interindustry ones
// do, as Java Card and GlobalPlatform have it. Without it commands of such a class are not chained, and GET RESPONSE
// has the class byte unchanged.
func WithProprietaryClass() Option { return func(t *Transport) { t.proprietary = true } }

// WithGetResponseClass sets the class byte of GET RESPONSE, as a function of that of the command, for cards that do
// not go by the standard. By default it is the command's without the bits for chaining and secure messaging.
func WithGetResponseClass(class func(cla byte) byte) Option {
	return func(t *Transport) { t.responseClass = class }
}

// WithProtocol says which protocol the card speaks, for a transmitter that does not say so itself.
func WithProtocol(p pcsc.Protocol) Option { return func(t *Transport) { t.protocol = p } }

// WithTransaction sets how a command's APDUs are kept together: run begins a transaction, calls f once with what is to
// be used in it, ends it and returns f's error, else its own. For a *pcsc.Card this is so by default, with
// pcsc.Card.Transact; nil turns it off.
func WithTransaction(run func(ctx context.Context, f func(Transmitter) error) error) Option {
	return func(t *Transport) { t.transaction = run }
}

// NewTransport makes a Transport over a *pcsc.Card, a *pcsc.Transaction, or whatever else can transmit.
func NewTransport(transmitter Transmitter, opts ...Option) *Transport {
	t := &Transport{
		transmitter:    transmitter,
		lock:           make(chan struct{}, 1),
		linkSize:       MaxShortData,
		maxChain:       DefaultMaxChain,
		maxResponse:    DefaultMaxResponse,
		maxGetResponse: DefaultMaxGetResponse,
	}
	if card, ok := transmitter.(*pcsc.Card); ok {
		t.transaction = func(ctx context.Context, f func(Transmitter) error) error {
			return card.Transact(ctx, func(tx *pcsc.Transaction) error { return f(tx) })
		}
	}
	for _, opt := range opts {
		if opt != nil {
			opt(t)
		}
	}
	return t
}

// Do carries out a command and returns the data of the response. A status word other than success (9000 or 61XX) is an
// error, an [*Error] that errors.As finds the [StatusWord] in; with a warning there may be data as well.
func (t *Transport) Do(ctx context.Context, cmd Command) ([]byte, error) {
	r, err := t.Transmit(ctx, cmd)
	if err == nil && !r.SW.IsSuccess() {
		err = &Error{Header: cmd.header(), Err: r.SW}
	}
	return r.Data, err
}

// Transmit carries out a command and returns the response, its parts joined, with the last status word. Whether the
// card did what it was told is in the status word and not an error here, with two exceptions: a chain that came to an
// end before its last command, where [Error.Link] says at which, and a GET RESPONSE that the card refused.
//
// A response can end with 61XX although the rest could be fetched: [Command.Ne] bytes were asked for, and they are
// there. It can be longer than Ne if the card corrected Le. It can be shorter because the card had no more to say; or
// because more than 256 bytes cannot be asked for without the extended form, and the card did not announce the rest
// with 61XX, as many do not for READ BINARY.
//
// A command that cannot be sent is [ErrInvalidCommand], and nothing is sent. With an error after the first bytes of the
// response, what came is returned too.
func (t *Transport) Transmit(ctx context.Context, cmd Command) (Response, error) {
	e, err := t.begin(ctx, cmd)
	if err != nil {
		return Response{}, err
	}
	select {
	case t.lock <- struct{}{}:
		defer func() { <-t.lock }()
	case <-ctx.Done():
		return Response{}, e.failed("", ctx.Err())
	}
	var failed error // what run returned, which the function of WithTransaction may not hand on
	runs := 0
	run := func(transmitter Transmitter) error {
		if runs++; runs > 1 { // or the command would be sent again
			failed = e.failed("", errors.New("the function of WithTransaction has called its argument twice"))
		} else {
			e.transmitter = transmitter
			failed = e.run(ctx)
		}
		return failed
	}
	if t.transaction == nil {
		err = run(t.transmitter)
	} else {
		err = t.transaction(ctx, run)
	}
	var own *Error
	switch {
	case err != nil && !errors.As(err, &own):
		err = e.failed("", err) // of the transaction
	case err == nil && runs == 0:
		err = e.failed("", errors.New("the function of WithTransaction has not called its argument"))
	case err == nil:
		err = failed
	}
	return e.response, err
}

// exchange is a command on its way.
type exchange struct {
	*Transport
	transmitter Transmitter
	cmd         Command   // as it was given
	links       []Command // as it is sent
	t0          bool
	want        int // bytes of the response to be fetched; 0 for all
	apdu        []byte
	response    Response
}

// begin checks a command and plans how to send it.
func (t *Transport) begin(ctx context.Context, cmd Command) (*exchange, error) {
	switch {
	case t == nil || t.lock == nil:
		return nil, errors.New("iso7816: use of a nil or zero Transport")
	case t.transmitter == nil:
		return nil, errors.New("iso7816: Transport over a nil Transmitter")
	case ctx == nil:
		return nil, errors.New("iso7816: nil context.Context")
	}
	e := &exchange{Transport: t, cmd: cmd, t0: t.isT0()}
	extended := cmd.Extended || t.extended && !e.t0 && cmd.extended()
	switch {
	case cmd.Ne < 0 || cmd.Ne > MaxExtendedNe || extended && len(cmd.Data) > MaxExtendedData:
		_, err := cmd.Append(nil)
		return nil, err
	case cmd.Extended && e.t0:
		return nil, invalidCommand("T=0 has no extended form")
	case !extended && cmd.Ne == MaxShortNe, cmd.Ne == MaxExtendedNe:
		e.want = 0 // all there are
	default:
		e.want = cmd.Ne
	}
	if extended {
		e.links = []Command{cmd}
		return e, nil
	}
	cmd.Ne = min(cmd.Ne, MaxShortNe)
	if len(cmd.Data) <= t.linkSize {
		e.links = []Command{cmd}
		return e, nil
	}
	switch {
	case t.noChaining:
		return nil, invalidCommand("%d bytes of data need the extended form or chaining, and neither is enabled", len(cmd.Data))
	case !structured(cmd.CLA, t.proprietary):
		return nil, invalidCommand("%d bytes of data need chaining, and class %02X has no bit for it", len(cmd.Data), cmd.CLA)
	case cmd.CLA&classChaining != 0:
		return nil, invalidCommand("%d bytes of data need chaining, and class %02X already is that of a chain", len(cmd.Data), cmd.CLA)
	}
	if links := (len(cmd.Data) + t.linkSize - 1) / t.linkSize; links > t.maxChain {
		return nil, fmt.Errorf("iso7816: %w: %w: %d bytes of data need a chain of %d commands, WithMaxChain allows %d",
			ErrInvalidCommand, ErrLimit, len(cmd.Data), links, t.maxChain)
	}
	for part := range slices.Chunk(cmd.Data, t.linkSize) {
		link := cmd
		link.CLA |= classChaining
		link.Data, link.Ne = part, 0
		e.links = append(e.links, link)
	}
	last := &e.links[len(e.links)-1]
	last.CLA, last.Ne = cmd.CLA, cmd.Ne
	return e, nil
}

func (t *Transport) isT0() bool {
	if t.protocol != pcsc.ProtocolUndefined {
		return t.protocol == pcsc.ProtocolT0
	}
	p, ok := t.transmitter.(interface{ ActiveProtocol() pcsc.Protocol })
	return ok && p.ActiveProtocol() == pcsc.ProtocolT0
}

func (e *exchange) failed(detail string, err error) error {
	return &Error{Header: e.cmd.header(), Detail: detail, Err: err}
}

// run sends what has to be sent.
func (e *exchange) run(ctx context.Context) error {
	chain := len(e.links)
	for i, link := range e.links {
		r, err := e.send(ctx, link)
		e.response = r
		if err == nil && i < chain-1 {
			err = betweenLinks(r)
		}
		if err != nil {
			failed := &Error{Header: e.cmd.header(), Err: err}
			if chain > 1 {
				failed.Link, failed.Links = i+1, chain
			}
			return failed
		}
	}
	if chain == 1 {
		if err := e.correct(ctx, e.links[0]); err != nil {
			return e.failed("with the corrected Le", err)
		}
	}
	return e.fetch(ctx)
}

// betweenLinks is what is wrong with the answer to a command that is not the last of its chain. Warnings are not
// allowed there either (ISO/IEC 7816-4, status bytes).
func betweenLinks(r Response) error {
	switch {
	case r.SW != Success:
		return r.SW
	case len(r.Data) > 0:
		return fmt.Errorf("%w: %s before the end of the chain", ErrInvalidResponse, bytesText(len(r.Data)))
	}
	return nil
}

// send sends a command as one APDU, once.
func (e *exchange) send(ctx context.Context, cmd Command) (Response, error) {
	if err := ctx.Err(); err != nil {
		return Response{}, err
	}
	if e.t0 && len(cmd.Data) > 0 {
		cmd.Ne = 0
	}
	apdu, err := cmd.Append(e.apdu[:0])
	if err != nil {
		return Response{}, err
	}
	if e.t0 && len(apdu) == 4 {
		apdu = append(apdu, 0)
	}
	e.apdu = apdu
	defer clear(apdu)
	b, err := e.transmitter.Transmit(ctx, apdu)
	if err != nil {
		return Response{}, err
	}
	return parseResponse(b)
}

// correctedLe returns the Le that the card wants instead of the command's. A card that has returned data, or that
// wants what it got, does not mean what the standard says, and then the command may have run.
func (e *exchange) correctedLe(cmd Command, r Response) (ne int, ok bool) {
	ne, _ = r.SW.Available()
	sentLe := cmd.Ne > 0 && !(e.t0 && len(cmd.Data) > 0)
	ok = !e.noCorrection && r.SW.SW1() == 0x6C && len(r.Data) == 0 && sentLe && ne != cmd.Ne
	return ne, ok
}

// correct sends the command again with the right Le if the card said that it was wrong.
func (e *exchange) correct(ctx context.Context, cmd Command) error {
	ne, ok := e.correctedLe(cmd, e.response)
	if !ok {
		return nil
	}
	cmd.Ne = ne
	r, err := e.send(ctx, cmd)
	if err != nil {
		return err
	}
	e.response = r
	return nil
}

// fetch gets the rest of the response, as long as the card has more and the caller wants it.
func (e *exchange) fetch(ctx context.Context) error {
	get := Command{CLA: responseClass(e.cmd.CLA, e.proprietary), INS: InsGetResponse}
	if e.Transport.responseClass != nil {
		get.CLA = e.Transport.responseClass(e.cmd.CLA)
	}
	for round := 0; ; round++ {
		r := &e.response
		if len(r.Data) > e.maxResponse {
			return e.failed("", fmt.Errorf("%w: the response has more than %s", ErrLimit, bytesText(e.maxResponse)))
		}
		if e.noGetResponse || e.cmd.Ne == 0 || r.SW.SW1() != 0x61 || e.want > 0 && len(r.Data) >= e.want {
			return nil
		}
		if round == e.maxGetResponse {
			return e.failed("", fmt.Errorf("%w: the response is not complete after %d GET RESPONSE", ErrLimit, round))
		}
		get.Ne, _ = r.SW.Available()
		if e.want > 0 {
			get.Ne = min(get.Ne, e.want-len(r.Data))
		}
		part, err := e.send(ctx, get)
		if err == nil {
			if ne, ok := e.correctedLe(get, part); ok {
				again := get
				again.Ne = ne
				part, err = e.send(ctx, again)
			}
		}
		detail := "GET RESPONSE after " + bytesText(len(r.Data))
		if err != nil {
			return e.failed(detail, err)
		}
		r.Data, r.SW = append(slices.Clip(r.Data), part.Data...), part.SW
		switch class := part.SW.Class(); {
		case class == ClassExecution || class == ClassChecking:
			return e.failed(detail, part.SW)
		case part.SW.SW1() == 0x61 && len(part.Data) == 0:
			return e.failed(detail, fmt.Errorf("%w: no data, and %w", ErrInvalidResponse, part.SW))
		}
	}
}
