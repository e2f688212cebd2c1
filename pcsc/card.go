package pcsc

import (
	"context"
	"fmt"
	"runtime"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
)

// A Card is a connection to a card, or to a reader alone ([ShareDirect]). It is made by [Context.Connect] and is safe
// for use by many goroutines at once; their calls follow one another.
//
// When a method's context ends first, the method returns, but the card stays busy until the native call is over:
// other methods wait for it, Disconnect and Close without limit, [Card.CloseContext] as long as its context lets it.
type Card struct {
	_       noCopy
	s       *cardState
	context *Context // keeps it from being collected, and so from being closed
	cleanup runtime.Cleanup
}

// target is nil-safe, so that every method is.
func (c *Card) target() target {
	if c == nil {
		return target{}
	}
	return target{cardState: c.s}
}

// Connect connects to the card in the reader. It is the equivalent of SCardConnect ([pcsc-lite], [Windows]).
//
// protocols are those that the program can use, such as [ProtocolAny]; [Card.ActiveProtocol] is what it got. With
// [ShareDirect], for control codes to the reader, no card is needed and protocols may be [ProtocolUndefined].
//
// It blocks while the card powers up and, on pcsc-lite, while another program holds a transaction. If ctx ends first,
// a connection that comes about later is disconnected and the card left as it is: nothing was sent to it, and a reset
// would be felt by the programs that share it.
//
// Errors: [ErrUnknownReader], [ErrNoSmartcard], [ErrSharingViolation] when another program uses the card exclusively,
// [ErrProtoMismatch], and more.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardconnectw
func (c *Context) Connect(ctx context.Context, reader string, share ShareMode, protocols Protocol) (*Card, error) {
	var s *contextState
	if c != nil {
		s = c.s
	}
	state, err := contextCall(ctx, c, opConnect, reader, true,
		func(b winscard.Backend, h winscard.Context) (*cardState, winscard.Code) {
			handle, protocol, rc := b.Connect(h, reader, uint32(share), uint32(protocols))
			if rc != winscard.Success {
				return nil, rc
			}
			state := newCardState(s, h, handle, reader, protocol)
			state.wanted = terms{share, protocols}
			if !s.add(state) { // the context was closed meanwhile; it waits for this call
				b.Disconnect(handle, uint32(winscard.LeaveCard))
				return nil, winscard.ErrInvalidHandle
			}
			return state, rc
		},
		func(state *cardState) { state.close(winscard.LeaveCard) })
	if err != nil {
		return nil, err
	}
	card := &Card{s: state, context: c}
	// In a goroutine, as native calls block and the runtime's cleanups must not.
	card.cleanup = runtime.AddCleanup(card, func(s *cardState) { go s.close(winscard.ResetCard) }, state)
	return card, nil
}

// Reader is the name of the reader, as it was given to [Context.Connect].
func (c *Card) Reader() string {
	if c == nil || c.s == nil {
		return ""
	}
	return c.s.reader
}

// ActiveProtocol is the protocol in use since Connect or the last Reconnect: [ProtocolT0], [ProtocolT1],
// [ProtocolRaw], or [ProtocolUndefined] for a direct connection without a card.
func (c *Card) ActiveProtocol() Protocol {
	if c == nil || c.s == nil {
		return ProtocolUndefined
	}
	return Protocol(c.s.protocol.Load())
}

// Transmit sends a command APDU to the card and returns the response, status word included. It is the equivalent of
// SCardTransmit ([pcsc-lite], [Windows]). The only allocation is that of the result.
//
// The APDU is sent once, whatever happens. It blocks until the card has answered; if ctx ends first, the card may
// still carry out the command. Whether the card did what it was told is in the last two bytes of the response and
// never an error here.
//
// Errors: [ErrResetCard] after another program has reset the card (use [Card.Reconnect]), [ErrRemovedCard],
// [ErrReaderUnavailable] after the reader was unplugged, [ErrNotTransacted] when the exchange failed. An empty or
// overlong APDU and a direct connection without a protocol are refused without a native call.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardtransmit
func (c *Card) Transmit(ctx context.Context, apdu []byte) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().transmit(ctx, nil, apdu)
}

// TransmitAppend is [Card.Transmit] that appends the response to dst and returns the extended slice; it allocates only
// if dst has no room. With an error it returns dst as it is. dst and apdu may share memory.
func (c *Card) TransmitAppend(ctx context.Context, dst, apdu []byte) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().transmit(ctx, dst, apdu)
}

// Control sends a command to the reader's driver and returns its answer. It is the equivalent of SCardControl
// ([pcsc-lite], [Windows]; SCardControl132 on macOS). For codes see [CtlCode]; in may be empty.
//
// The command is sent once, whatever happens. It blocks until the driver has answered, which on a PIN pad waits for a
// person; if ctx ends first, the driver goes on.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardcontrol
func (c *Card) Control(ctx context.Context, code uint32, in []byte) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().control(ctx, nil, code, in)
}

// ControlAppend is [Card.Control] that appends the answer to dst and returns the extended slice.
func (c *Card) ControlAppend(ctx context.Context, dst []byte, code uint32, in []byte) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().control(ctx, dst, code, in)
}

// GetAttrib returns an attribute of the reader or card. It is the equivalent of SCardGetAttrib ([pcsc-lite],
// [Windows]). An attribute that the reader does not have is an error, often one that is errors.ErrUnsupported.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardgetattrib
func (c *Card) GetAttrib(ctx context.Context, id Attribute) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().getAttrib(ctx, nil, id)
}

// GetAttribAppend is [Card.GetAttrib] that appends the attribute to dst and returns the extended slice.
func (c *Card) GetAttribAppend(ctx context.Context, dst []byte, id Attribute) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().getAttrib(ctx, dst, id)
}

// Status is what [Card.Status] says of a connection.
type Status struct {
	Readers    []string  // the reader's names; on Windows there can be more than one
	State      CardState // one meaning on all platforms
	EventCount uint16    // on pcsc-lite, card insertions and removals so far; else 0
	Protocol   Protocol
	ATR        []byte // the card's answer to reset; nil if there is no card
}

// Status asks for the state of the card and its reader. It is the equivalent of SCardStatus ([pcsc-lite], [Windows]).
//
// Errors: [ErrResetCard] after another program has reset the card, [ErrRemovedCard], and more.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardstatusw
func (c *Card) Status(ctx context.Context) (Status, error) {
	defer runtime.KeepAlive(c)
	return c.target().status(ctx)
}

// Reconnect connects anew with the same handle: after [ErrResetCard], or to change share mode or protocol. init says
// what happens to the card first. It is the equivalent of SCardReconnect ([pcsc-lite], [Windows]).
//
// Another program's transaction makes it wait (pcsc-lite) or fail with [ErrSharingViolation]. When ctx ends first the
// native call goes on and may still change the connection.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardreconnect
func (c *Card) Reconnect(ctx context.Context, share ShareMode, protocols Protocol, init Disposition) error {
	defer runtime.KeepAlive(c)
	return c.target().reconnect(ctx, share, protocols, init)
}

// Disconnect ends the connection and leaves the card as disposition says. It is the equivalent of SCardDisconnect
// ([pcsc-lite], [Windows]), and like it says [ErrInvalidHandle] the second time.
//
// It blocks while another call on the card is under way, and on pcsc-lite, for every disposition but [LeaveCard], while
// another connection has a transaction on the card. Elsewhere that can be [ErrSharingViolation], and the card is still
// connected. With every other error but that of an invalid disposition the connection is over. A transaction of its
// own that is still running ends with it.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scarddisconnect
func (c *Card) Disconnect(disposition Disposition) error {
	defer runtime.KeepAlive(c)
	closed, err := c.target().disconnect(disposition)
	if closed {
		c.cleanup.Stop()
	}
	return err
}

// Close disconnects and resets the card, so that a PIN that was verified does not outlive the connection. To leave the
// card as it is use Disconnect([LeaveCard]). Closing again is no error.
//
// It blocks while another call on the card is under way, and while another connection, of this program or another, has
// a transaction on the card: without limit on pcsc-lite, which resets a card only then; where the service refuses the
// reset instead, for a second, after which it disconnects without one and returns [ErrSharingViolation]. Whatever it
// returns, the card is closed.
func (c *Card) Close() error {
	if c == nil || c.s == nil {
		return invalidUse(opDisconnect, "", "use of a nil or zero Card")
	}
	_, err := c.s.close(winscard.ResetCard)
	c.cleanup.Stop()
	runtime.KeepAlive(c)
	return err
}

// CloseContext is [Card.Close] that does not wait longer than ctx: for a program that has to go on, or to end, although
// a card does not answer or another program does not end its transaction. If ctx ends first, or has ended, the card is
// disconnected and reset in the background, as soon as that can be done, and the error is ctx's.
//
// Whatever it returns, the card is closed: its methods return [ErrInvalidHandle]. Close can still wait for the end of
// what goes on. A program that ends before that leaves the card as it is, with a verified PIN: on an interrupt, ctx
// should not be the context that the interrupt has ended but one that gives the reset its time, such as a second.
func (c *Card) CloseContext(ctx context.Context) error {
	if c == nil || c.s == nil {
		return invalidUse(opDisconnect, "", "use of a nil or zero Card")
	}
	if ctx == nil {
		return checkContext(ctx, opDisconnect, c.s.reader)
	}
	c.s.closing.Store(true)
	c.cleanup.Stop()
	over, err := c.s.ending.within(ctx, c.Close)
	if !over {
		return endedError(ctx, opDisconnect, c.s.reader, lateClose)
	}
	return err
}

func (t target) transmit(ctx context.Context, dst, apdu []byte) ([]byte, error) {
	return t.exchange(ctx, opTransmit, dst, apdu, checkTransmit, 0, doTransmit)
}

func checkTransmit(s *cardState, apdu []byte) *Error {
	s.call.arg = s.protocol.Load()
	switch {
	case len(apdu) == 0:
		return s.refuse(opTransmit, ErrInvalidParameter, "empty APDU")
	case len(apdu) > winscard.MaxBufferSizeExtended:
		return s.tooLong(opTransmit, "APDU", len(apdu))
	case s.call.arg == uint32(winscard.ProtocolUndefined):
		return s.refuse(opTransmit, ErrProtoMismatch,
			"the connection has no protocol: connect or reconnect in shared or exclusive mode")
	}
	return nil
}

func doTransmit(s *cardState) {
	k := &s.call
	k.n, k.rc = s.backend.Transmit(s.handle, k.arg, k.in, k.out)
	if means(k.rc, winscard.ErrProtoMismatch) {
		k.rc = s.whyRefused(k.rc)
	}
}

// whyRefused is the code of a call that was refused with rc because of its arguments, if they are as they should be: to a
// command that meets another program's reset under way pcsc-lite says that no protocol is agreed on, and to any call on
// a reader that was unplugged that a value is invalid. Status alone says what is so.
func (s *cardState) whyRefused(rc winscard.Code) winscard.Code {
	var st Status
	switch now := s.readStatus(&st); {
	case means(now, winscard.ErrResetCard), means(now, winscard.ErrRemovedCard), now == winscard.ErrReaderUnavailable:
		return now
	case now == winscard.Success && means(rc, winscard.ErrProtoMismatch) && uint32(st.Protocol) != s.call.arg:
		return winscard.ErrResetCard
	}
	return rc
}

func (t target) control(ctx context.Context, dst []byte, code uint32, in []byte) ([]byte, error) {
	return t.exchange(ctx, opControl, dst, in, checkControl, code, doControl)
}

func checkControl(s *cardState, in []byte) *Error {
	if len(in) > winscard.MaxBufferSizeExtended {
		return s.tooLong(opControl, "command", len(in))
	}
	return nil
}

func doControl(s *cardState) {
	k := &s.call
	k.n, k.rc = s.backend.Control(s.handle, k.arg, k.in, k.out)
}

func (s *cardState) tooLong(op, what string, n int) *Error {
	return s.refuse(op, ErrInvalidParameter,
		fmt.Sprintf("the %s has %d bytes, the platform's maximum is %d", what, n, winscard.MaxBufferSizeExtended))
}

func (t target) getAttrib(ctx context.Context, dst []byte, id Attribute) ([]byte, error) {
	return t.exchange(ctx, opGetAttrib, dst, nil, nil, uint32(id), doGetAttrib)
}

// doGetAttrib reads an attribute, with a larger buffer if it must: reading changes nothing. It begins with
// MaxBufferSize, as pcsc-lite takes no larger buffer for attributes.
func doGetAttrib(s *cardState) {
	k := &s.call
	var got filled[byte]
	got, k.rc = grow(winscard.MaxBufferSize, len(k.out), s.response, func(buf []byte) (int, winscard.Code) {
		return s.backend.GetAttrib(s.handle, k.arg, buf)
	})
	k.n, k.need = len(got.data), got.needed
}

func (t target) status(ctx context.Context) (Status, error) {
	if err := t.acquire(ctx, opStatus); err != nil {
		return Status{}, err
	}
	s := t.cardState
	var st Status // not touched any more once run has given up: the background works on it then
	do := func(s *cardState) { s.call.rc = s.readStatus(&st) }
	if err := s.run(ctx, opStatus, do, nil); err != nil {
		return Status{}, err
	}
	rc := s.call.rc
	s.lock.release()
	if rc != winscard.Success {
		return Status{}, s.failed(opStatus, rc)
	}
	return st, nil
}

func (s *cardState) readStatus(st *Status) winscard.Code {
	readers, atr := make([]byte, 2*winscard.MaxReaderName), make([]byte, winscard.ReaderStateATRSize)
	for {
		n, state, protocol, m, rc := s.backend.Status(s.handle, readers, atr)
		switch {
		case means(rc, winscard.ErrInsufficientBuffer) && len(readers) < listMaxSize:
			// Not every library says which of the two was too small, or by how much.
			readers = make([]byte, min(max(n, 4*len(readers)), listMaxSize))
			atr = make([]byte, min(max(m, len(atr)), listMaxSize))
			continue
		case rc != winscard.Success:
			return rc
		case n < 0 || n > len(readers) || m < 0 || m > len(atr):
			return winscard.ErrInternalError // a backend that breaks its contract
		}
		*st = Status{
			Readers:    cstring.Split(readers[:n]),
			State:      CardState(state & 0xFFFF),
			EventCount: uint16(state >> 16),
			Protocol:   Protocol(protocol),
		}
		if m > 0 {
			st.ATR = append([]byte(nil), atr[:m]...)
		}
		return rc
	}
}

func (t target) reconnect(ctx context.Context, share ShareMode, protocols Protocol, init Disposition) error {
	if err := t.acquire(ctx, opReconnect); err != nil {
		return err
	}
	return t.reconnectLocked(ctx, terms{share, protocols}, init, nil)
}

// reconnectLocked reconnects. It needs the lock. When the native call is over, be it in the background, after is called,
// unless it is nil, and the lock freed.
func (t target) reconnectLocked(ctx context.Context, wanted terms, init Disposition, after func(*cardState)) error {
	s := t.cardState
	do := func(s *cardState) {
		protocol, rc := s.backend.Reconnect(s.handle, uint32(wanted.share), uint32(wanted.protocols), uint32(init))
		if s.call.rc = rc; rc == winscard.Success {
			s.protocol.Store(protocol)
			s.wanted = wanted
		}
	}
	if err := s.run(ctx, opReconnect, do, after); err != nil {
		return err
	}
	rc := s.call.rc
	if after != nil {
		after(s)
	}
	s.lock.release()
	if rc != winscard.Success {
		return s.failed(opReconnect, rc)
	}
	return nil
}
