package pcsc

import (
	"context"
	"errors"
	"runtime"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A Transaction is exclusive use of a card for a sequence of commands. It is made by [Card.BeginTransaction] or
// [Card.Transact] and must be ended; one that is forgotten is ended some time after it became unreachable.
//
// Its methods are the card's, and work only until it ends. Methods of the Card itself take part in its transaction:
// keep other goroutines from using them meanwhile.
//
// Do not wait in a transaction, such as for a person: other programs are kept from the card, and Windows resets a card,
// and ends its transaction, when nothing is sent to it for five seconds. What comes next is [ErrResetCard] then.
type Transaction struct {
	_       noCopy
	card    *Card
	tx      uint64
	cleanup runtime.Cleanup
}

// target is nil-safe, so that every method is.
func (t *Transaction) target() target {
	if t == nil {
		return target{}
	}
	target := t.card.target()
	target.tx = t.tx
	return target
}

// BeginTransaction waits until no other program and no other goroutine has a transaction on the card, and begins one.
// It is the equivalent of SCardBeginTransaction ([pcsc-lite], [Windows]).
//
// It blocks as long as the other transaction lasts. If ctx ends first, a transaction that begins later is ended at
// once, leaving the card as it is. A goroutine that begins a second transaction on the same Card within its first one
// waits for itself.
//
// Errors: [ErrResetCard] after another program has reset the card; call [Card.Reconnect] and begin again, or use
// [Card.Transact] with [RetryAfterReset].
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardbegintransaction
func (c *Card) BeginTransaction(ctx context.Context) (*Transaction, error) {
	defer runtime.KeepAlive(c)
	tx, err := c.target().begin(ctx)
	if err != nil {
		return nil, err
	}
	t := &Transaction{card: c, tx: tx}
	forgotten := target{cardState: c.s, tx: tx}
	// In a goroutine, as native calls block and the runtime's cleanups must not.
	t.cleanup = runtime.AddCleanup(t, func(forgotten target) { go forgotten.end(LeaveCard) }, forgotten)
	return t, nil
}

// A TransactOption changes how [Card.Transact] works.
type TransactOption func(*transactOptions)

type transactOptions struct {
	retries int
}

// RetryAfterReset makes [Card.Transact] begin again when another program (or Windows, after five idle seconds) has
// reset the card: it connects anew and runs the function once more, at most n times. n below 1 is none.
//
// The function must be repeatable: a run can break off anywhere, and commands that the card has carried out are sent
// again. It must not rely on what an earlier run has left on the card, such as a selected application, a verified PIN
// or a secure channel, as the reset has undone it, and should set the variables that it fills anew in each run.
func RetryAfterReset(n int) TransactOption {
	return func(o *transactOptions) { o.retries = n }
}

// Transact begins a transaction, calls f and ends the transaction, leaving the card as it is, also when f panics. f may
// end the transaction itself, with another disposition. The error is f's, else that of beginning or ending.
//
// It blocks as [Card.BeginTransaction] does, and as long as f runs. ctx bounds the beginning and what Transact does to
// begin again; f uses it, or another one, for its own calls. Windows resets a card, and ends its transaction, when
// nothing is sent to it for five seconds: f should ask for a PIN before and not wait for anything.
//
// With [RetryAfterReset], f runs again when the error of beginning or of f is [ErrResetCard]. Transact then ends the
// transaction, reconnects with the share mode and the protocols that the connection was last made with, leaving the
// card as it is, and begins anew. When the reconnecting fails, the error is that of it. An error of ending is no reason
// to begin again, for then f has done its work.
func (c *Card) Transact(ctx context.Context, f func(*Transaction) error, opts ...TransactOption) error {
	defer runtime.KeepAlive(c)
	if f == nil {
		return &Error{Op: opBeginTransaction, Reader: c.Reader(), Code: ErrInvalidParameter, Detail: "Transact needs a function"}
	}
	var o transactOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	for run := 0; ; run++ {
		undone, err := c.transact(ctx, f)
		if !undone || run >= o.retries || !errors.Is(err, ErrResetCard) {
			return err
		}
		if err := c.target().reconnectBetween(ctx); err != nil {
			return err
		}
	}
}

// transact is one run of Transact. It says whether f did not do its work: it was not called, or returned an error.
func (c *Card) transact(ctx context.Context, f func(*Transaction) error) (undone bool, err error) {
	t, err := c.BeginTransaction(ctx)
	if err != nil {
		return true, err
	}
	defer func() {
		if e := t.closeBy(ctx); err == nil {
			err = e
		}
	}()
	err = f(t)
	return err != nil, err
}

// closeBy is Close that does not wait for a call that was given up: then the transaction is ended in the background,
// when the call is over.
func (t *Transaction) closeBy(ctx context.Context) error {
	over, err := new(ending).within(ctx, t.Close)
	if !over {
		return endedError(ctx, opEndTransaction, t.Reader(), "the transaction ends in the background, when the call under way is over")
	}
	return err
}

// End ends the transaction and leaves the card as disposition says. It is the equivalent of SCardEndTransaction
// ([pcsc-lite], [Windows]). The second time the error is [ErrInvalidHandle].
//
// It blocks while another call on the card is under way. Whatever it returns, unless disposition is invalid, the
// transaction is over. After a reset this connection has to [Card.Reconnect] as all others do.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardendtransaction
func (t *Transaction) End(disposition Disposition) error {
	defer runtime.KeepAlive(t)
	ended, err := t.target().end(disposition)
	switch {
	case ended:
		t.cleanup.Stop()
	case err == nil:
		return invalidUse(opEndTransaction, t.Reader(), "use of an ended Transaction")
	}
	return err
}

// Cancel gives up the transaction without a word to the card. It is the equivalent of SCardCancelTransaction, which only
// macOS has: elsewhere the error is errors.ErrUnsupported, and the transaction goes on. End([LeaveCard]) does as much on
// every platform.
//
// It blocks while another call on the card is under way. With every other error the transaction is over.
func (t *Transaction) Cancel() error {
	defer runtime.KeepAlive(t)
	ended, err := t.target().endBy(opCancelTransaction, func(s *cardState) winscard.Code {
		return s.backend.CancelTransaction(s.handle)
	})
	switch {
	case ended:
		t.cleanup.Stop()
	case err == nil:
		return invalidUse(opCancelTransaction, t.Reader(), "use of an ended Transaction")
	}
	return err
}

// Close is End([LeaveCard]), except that it is no error if the transaction is over already.
func (t *Transaction) Close() error {
	defer runtime.KeepAlive(t)
	ended, err := t.target().end(LeaveCard)
	if ended {
		t.cleanup.Stop()
	}
	return err
}

// Reader is [Card.Reader].
func (t *Transaction) Reader() string {
	if t == nil {
		return ""
	}
	return t.card.Reader()
}

// ActiveProtocol is [Card.ActiveProtocol].
func (t *Transaction) ActiveProtocol() Protocol {
	if t == nil {
		return ProtocolUndefined
	}
	return t.card.ActiveProtocol()
}

// Transmit is [Card.Transmit] in the transaction.
func (t *Transaction) Transmit(ctx context.Context, apdu []byte) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().transmit(ctx, nil, apdu)
}

// TransmitAppend is [Card.TransmitAppend] in the transaction.
func (t *Transaction) TransmitAppend(ctx context.Context, dst, apdu []byte) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().transmit(ctx, dst, apdu)
}

// Control is [Card.Control] in the transaction.
func (t *Transaction) Control(ctx context.Context, code uint32, in []byte) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().control(ctx, nil, code, in)
}

// ControlAppend is [Card.ControlAppend] in the transaction.
func (t *Transaction) ControlAppend(ctx context.Context, dst []byte, code uint32, in []byte) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().control(ctx, dst, code, in)
}

// GetAttrib is [Card.GetAttrib] in the transaction.
func (t *Transaction) GetAttrib(ctx context.Context, id Attribute) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().getAttrib(ctx, nil, id)
}

// GetAttribAppend is [Card.GetAttribAppend] in the transaction.
func (t *Transaction) GetAttribAppend(ctx context.Context, dst []byte, id Attribute) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().getAttrib(ctx, dst, id)
}

// Status is [Card.Status] in the transaction.
func (t *Transaction) Status(ctx context.Context) (Status, error) {
	defer runtime.KeepAlive(t)
	return t.target().status(ctx)
}

// Reconnect is [Card.Reconnect] in the transaction, which goes on with the card as init leaves it.
func (t *Transaction) Reconnect(ctx context.Context, share ShareMode, protocols Protocol, init Disposition) error {
	defer runtime.KeepAlive(t)
	return t.target().reconnect(ctx, share, protocols, init)
}

// reconnectBetween reconnects as the connection was made, leaving the card as it is. It does so when no transaction is
// under way: in that of another goroutine it would hide the reset from it.
func (t target) reconnectBetween(ctx context.Context) error {
	s := t.cardState
	if err := checkContext(ctx, opReconnect, s.reader); err != nil {
		return err
	}
	if !s.gate.acquire(ctx.Done()) {
		return endedError(ctx, opReconnect, s.reader, "another goroutine's transaction is under way")
	}
	if err := t.acquire(ctx, opReconnect); err != nil {
		s.gate.release()
		return err
	}
	return t.reconnectLocked(ctx, s.wanted, LeaveCard, func(s *cardState) { s.gate.release() })
}

// begin begins a transaction and returns its number.
//
// The service lets one handle begin any number of transactions, one inside the other, so that two goroutines would
// both have one. The gate keeps them apart.
func (t target) begin(ctx context.Context) (uint64, error) {
	s := t.cardState
	if s == nil {
		return 0, invalidUse(opBeginTransaction, "", "use of a nil or zero Card")
	}
	if err := checkContext(ctx, opBeginTransaction, s.reader); err != nil {
		return 0, err
	}
	if !s.gate.acquire(ctx.Done()) {
		return 0, endedError(ctx, opBeginTransaction, s.reader, "another goroutine's transaction is under way")
	}
	if err := t.acquire(ctx, opBeginTransaction); err != nil {
		s.gate.release()
		return 0, err
	}
	if err := s.run(ctx, opBeginTransaction, doBegin, lateBegin); err != nil {
		return 0, err
	}
	defer s.lock.release()
	if s.call.rc != winscard.Success {
		s.gate.release()
		return 0, s.failed(opBeginTransaction, s.call.rc)
	}
	s.lastTx++
	s.tx = s.lastTx
	return s.tx, nil
}

func doBegin(s *cardState) { s.call.rc = s.backend.BeginTransaction(s.handle) }

// lateBegin undoes a begin that nobody waits for any more.
func lateBegin(s *cardState) {
	if s.call.rc == winscard.Success {
		s.backend.EndTransaction(s.handle, uint32(winscard.LeaveCard))
	}
	s.gate.release()
}

// end ends the transaction. It says false if the transaction is over already.
func (t target) end(disposition Disposition) (bool, error) {
	if disposition > EjectCard {
		return t.endBy(opEndTransaction, nil)
	}
	return t.endBy(opEndTransaction, func(s *cardState) winscard.Code {
		return s.backend.EndTransaction(s.handle, uint32(disposition))
	})
}

// endBy is end with the call that ends the transaction; there is none for a disposition that does not exist.
func (t target) endBy(op string, call func(*cardState) winscard.Code) (bool, error) {
	s := t.cardState
	if s == nil {
		return false, invalidUse(op, "", "use of a nil or zero Transaction")
	}
	s.lock.acquire(nil)
	defer s.lock.release()
	switch {
	case s.closed || s.tx != t.tx:
		return false, nil
	case call == nil:
		return false, s.refuse(op, ErrInvalidValue, "no such disposition")
	}
	rc := call(s)
	if rc == winscard.ErrInvalidValue {
		rc = s.whyRefused(rc)
	}
	if rc == winscard.ErrUnsupportedFunction {
		return false, s.failed(op, rc)
	}
	// Even if it failed: pcsc-lite gives up the transaction when the card was reset or removed, and where it does not
	// the connection is of no use.
	s.endTransaction()
	if rc != winscard.Success {
		return true, s.failed(op, rc)
	}
	return true, nil
}
