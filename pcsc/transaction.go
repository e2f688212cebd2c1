package pcsc

import (
	"context"
	"runtime"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A Transaction is exclusive use of a card for a sequence of commands. It is made by [Card.BeginTransaction] or
// [Card.Transact] and must be ended; one that is forgotten is ended some time after it became unreachable.
//
// Its methods are the card's, and work only until it ends. Methods of the Card itself take part in its transaction:
// keep other goroutines from using them meanwhile.
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
// Windows resets a card, and ends its transaction, when nothing is sent to it for five seconds.
//
// Errors: [ErrResetCard] after another program has reset the card; call [Card.Reconnect] and begin again.
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

// Transact begins a transaction, calls f and ends the transaction, leaving the card as it is, also when f panics. f may
// end the transaction itself, with another disposition. The error is f's, else that of beginning or ending.
func (c *Card) Transact(ctx context.Context, f func(*Transaction) error) (err error) {
	t, err := c.BeginTransaction(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if e := t.Close(); err == nil {
			err = e
		}
	}()
	return f(t)
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
	s := t.cardState
	if s == nil {
		return false, invalidUse(opEndTransaction, "", "use of a nil or zero Transaction")
	}
	s.lock.acquire(nil)
	defer s.lock.release()
	switch {
	case s.closed || s.tx != t.tx:
		return false, nil
	case disposition > EjectCard:
		return false, s.refuse(opEndTransaction, ErrInvalidValue, "no such disposition")
	}
	rc := s.backend.EndTransaction(s.handle, uint32(disposition))
	// Even if it failed: pcsc-lite gives up the transaction when the card was reset or removed, and where it does not
	// the connection is of no use.
	s.endTransaction()
	if rc != winscard.Success {
		return true, s.failed(opEndTransaction, rc)
	}
	return true, nil
}
