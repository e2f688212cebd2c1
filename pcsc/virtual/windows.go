package virtual

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// Windows returns the service as the Smart Card service of Windows shows itself to a program, by way of this project's
// backend: for tests, on any platform, of what a program does there. It is the same service, with the same readers and
// cards; programs that use it and others can share a card. What differs is:
//
//   - Codes: an invalid handle is ERROR_INVALID_HANDLE. Control, GetAttrib and SetAttrib give ERROR_NOT_SUPPORTED for
//     what the driver does not know, and ERROR_INSUFFICIENT_BUFFER. On contexts that died with the service calls return
//     ErrServiceStopped.
//   - Status: a card whose protocol is settled has CardSpecific in place of CardNegotiable, and there is no counter.
//   - GetStatusChange: a reader that does not exist is no error but has StateUnknown, StateIgnore and StateChanged. The
//     pseudo reader `\\?PnP?\Notification` has the number of readers in the upper 16 bits, and changes when the caller's
//     CurrentState has another number there; with 0 it returns at once if there is a reader.
//   - ListReaders: only the groups SCard$DefaultReaders and SCard$AllReaders have readers.
//   - While another connection is in a transaction, Reconnect, and Disconnect with a reset, return ErrSharingViolation
//     and do not wait.
//   - A card to which its owner sends nothing for five seconds in a transaction is reset, and the transaction is over.
//
// Names of readers are pcscd's all the same. Of the functions that only Windows has there is
// [Service.LocateCardsByATR], with the codes and states above; the others return ErrUnsupportedFunction.
func (s *Service) Windows() winscard.Backend {
	return &windows{Service: s, active: map[winscard.Card]*activity{}}
}

// windowsPatience is for how long a transaction may be idle.
const windowsPatience = 5 * time.Second

type windows struct {
	*Service

	mu     sync.Mutex
	active map[winscard.Card]*activity // of connections in a transaction, or in a call
}

// activity is what a connection does with its card. windows.mu guards it.
type activity struct {
	clock *time.Timer // of a transaction, nil outside; resets the card when it fires
	calls int         // under way: the card is not idle, however long they take
	last  time.Time   // when the last call ended, or the transaction began
}

// code is Windows' for a code of pcscd's.
func (w *windows) code(rc winscard.Code) winscard.Code {
	switch rc {
	case winscard.ErrInvalidHandle:
		return winscard.ErrWinInvalidHandle
	case winscard.ErrNoService:
		return winscard.ErrServiceStopped
	}
	return rc
}

// driverCode is Windows' for a code that the driver may have given.
func (w *windows) driverCode(rc winscard.Code) winscard.Code {
	switch rc {
	case winscard.ErrUnsupportedFeature:
		return winscard.ErrWinNotSupported
	case winscard.ErrInsufficientBuffer:
		return winscard.ErrWinInsufficientBuffer
	}
	return w.code(rc)
}

// stateCode is Windows' for a code of a call that looks at readers.
func (w *windows) stateCode(rc winscard.Code) winscard.Code {
	if rc == winscard.ErrCommError { // the service has stopped in the meantime
		return winscard.ErrServiceStopped
	}
	return w.code(rc)
}

func (w *windows) EstablishContext(scope uint32) (winscard.Context, winscard.Code) {
	ctx, rc := w.Service.EstablishContext(scope)
	if rc == winscard.Success {
		w.Service.mu.Lock()
		defer w.Service.mu.Unlock()
		if c := w.clients[ctx]; c != nil {
			c.windows = true
		}
	}
	return ctx, rc
}

func (w *windows) ReleaseContext(ctx winscard.Context) winscard.Code {
	return w.code(w.Service.ReleaseContext(ctx))
}

func (w *windows) IsValidContext(ctx winscard.Context) winscard.Code {
	return w.code(w.Service.IsValidContext(ctx))
}

func (w *windows) FreeMemory(ctx winscard.Context, mem uintptr) winscard.Code {
	return w.code(w.Service.FreeMemory(ctx, mem))
}

func (w *windows) Cancel(ctx winscard.Context) winscard.Code { return w.code(w.Service.Cancel(ctx)) }

func (w *windows) ListReaders(ctx winscard.Context, groups []string, readers []byte) (int, winscard.Code) {
	n, rc := w.Service.ListReaders(ctx, groups, readers)
	filled := slices.ContainsFunc(groups, func(g string) bool {
		return strings.EqualFold(g, winscard.DefaultReaders) || strings.EqualFold(g, winscard.AllReaders)
	})
	if len(groups) > 0 && !filled && (rc == winscard.Success || rc == winscard.ErrInsufficientBuffer) {
		clear(readers)
		return 0, winscard.ErrNoReadersAvailable
	}
	return n, w.code(rc)
}

func (w *windows) ListReaderGroups(ctx winscard.Context, groups []byte) (int, winscard.Code) {
	n, rc := w.Service.ListReaderGroups(ctx, groups)
	return n, w.code(rc)
}

func (w *windows) GetStatusChange(ctx winscard.Context, timeout uint32, states []winscard.ReaderState) winscard.Code {
	return w.stateCode(w.Service.GetStatusChange(ctx, timeout, states))
}

func (w *windows) LocateCardsByATR(ctx winscard.Context, masks []winscard.ATRMask, states []winscard.ReaderState) winscard.Code {
	return w.stateCode(w.Service.LocateCardsByATR(ctx, masks, states))
}

func (w *windows) Connect(ctx winscard.Context, reader string, share, protocols uint32) (winscard.Card, uint32, winscard.Code) {
	card, protocol, rc := w.Service.Connect(ctx, reader, share, protocols)
	return card, protocol, w.code(rc)
}

func (w *windows) Reconnect(card winscard.Card, share, protocols, initialization uint32) (uint32, winscard.Code) {
	protocol, rc := w.Service.Reconnect(card, share, protocols, initialization)
	return protocol, w.code(rc)
}

func (w *windows) Disconnect(card winscard.Card, disposition uint32) winscard.Code {
	rc := w.Service.Disconnect(card, disposition)
	if rc == winscard.Success {
		w.forget(card)
	}
	return w.code(rc)
}

func (w *windows) BeginTransaction(card winscard.Card) winscard.Code {
	rc := w.Service.BeginTransaction(card)
	if rc == winscard.Success {
		w.mu.Lock()
		defer w.mu.Unlock()
		a := w.activity(card)
		if a.clock == nil {
			a.clock = time.AfterFunc(windowsPatience, func() { w.expire(card) })
		}
		a.used()
	}
	return w.code(rc)
}

func (w *windows) EndTransaction(card winscard.Card, disposition uint32) winscard.Code {
	rc := w.Service.EndTransaction(card, disposition)
	w.Service.mu.Lock() // for as long as it takes, or another call could begin a transaction whose clock is stopped here
	defer w.Service.mu.Unlock()
	// Exclusive access has a lock of its own, which is no transaction.
	if h, _ := w.connection(card); h == nil || h.reader == nil || h.reader.owner != h || h.reader.sharing == exclusive && h.reader.locks == 1 {
		w.forget(card)
	}
	return w.code(rc)
}

// activity finds or makes what is known of a connection. The caller holds w.mu.
func (w *windows) activity(card winscard.Card) *activity {
	a := w.active[card]
	if a == nil {
		a = &activity{}
		w.active[card] = a
	}
	return a
}

// used starts the clock of a transaction, if there is one, anew.
func (a *activity) used() {
	a.last = time.Now()
	if a.clock != nil {
		a.clock.Reset(windowsPatience)
	}
}

// call notes that a call begins, and returns what notes its end.
func (w *windows) call(card winscard.Card) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.activity(card).calls++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		a := w.activity(card)
		a.calls--
		a.used()
		w.drop(card, a)
	}
}

// drop forgets a connection that is neither in a transaction nor in a call. The caller holds w.mu.
func (w *windows) drop(card winscard.Card, a *activity) {
	if a.clock == nil && a.calls == 0 {
		delete(w.active, card)
	}
}

// forget stops the clock of a transaction.
func (w *windows) forget(card winscard.Card) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.active[card]; a != nil && a.clock != nil {
		a.clock.Stop()
		a.clock = nil
		w.drop(card, a)
	}
}

// idle reports whether a transaction was idle for too long. A clock can fire just before it is started anew; whoever
// started it, or will at the end of a call, has it fire again.
func (w *windows) idle(card winscard.Card) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.active[card]
	return a != nil && a.clock != nil && a.calls == 0 && time.Since(a.last) >= windowsPatience
}

// expire ends an idle transaction and resets the card.
func (w *windows) expire(card winscard.Card) {
	s := w.Service
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.idle(card) {
		return
	}
	w.forget(card)
	h, rc := s.connection(card)
	if rc != winscard.Success || h.reader == nil || h.reader.owner != h {
		return
	}
	r := h.reader
	r.owner, r.locks = nil, 0
	if r.sharing == exclusive {
		r.lock(h)
	}
	r.notify(eventReset)
	s.released.raise()
	s.repower(r, warmReset, func() winscard.Code { return winscard.Success })
}

func (w *windows) Transmit(card winscard.Card, pci uint32, send, recv []byte) (int, winscard.Code) {
	defer w.call(card)()
	n, rc := w.Service.Transmit(card, pci, send, recv)
	return n, w.code(rc)
}

func (w *windows) Control(card winscard.Card, code uint32, in, out []byte) (int, winscard.Code) {
	defer w.call(card)()
	n, rc := w.Service.Control(card, code, in, out)
	return n, w.driverCode(rc)
}

func (w *windows) GetAttrib(card winscard.Card, id uint32, attr []byte) (int, winscard.Code) {
	n, rc := w.Service.GetAttrib(card, id, attr)
	return n, w.driverCode(rc)
}

func (w *windows) SetAttrib(card winscard.Card, id uint32, attr []byte) winscard.Code {
	return w.driverCode(w.Service.SetAttrib(card, id, attr))
}

func (w *windows) Status(card winscard.Card, readers, atr []byte) (int, uint32, uint32, int, winscard.Code) {
	n, state, protocol, m, rc := w.Service.Status(card, readers, atr)
	state &= 0xFFFF
	if protocol != 0 && state&uint32(winscard.CardNegotiable) != 0 {
		state = state&^uint32(winscard.CardNegotiable) | uint32(winscard.CardSpecific)
	}
	return n, state, protocol, m, w.code(rc)
}
