package virtual

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
)

// client is a context: what pcscd keeps for one connection of libpcsclite.
type client struct {
	id          winscard.Context
	connections []*connection
	waits       []chan winscard.Code // one for each GetStatusChange that is waiting, with room for one code
	dead        bool                 // the service that it belonged to was stopped
	windows     bool                 // sees the service as Windows': see Service.Windows
	polls       bool                 // libpcsclite's: it asks again by itself while another connection has the lock
}

// endWaits makes every GetStatusChange of c that is waiting return rc.
func (c *client) endWaits(rc winscard.Code) {
	for _, w := range c.waits {
		w <- rc
	}
	c.waits = nil
}

// alive says with what code a call on c that had to wait must end, or Success. The caller holds s.mu.
func (s *Service) alive(c *client) winscard.Code {
	switch {
	case c.dead:
		return winscard.ErrNoService
	case s.clients[c.id] != c:
		return winscard.ErrInvalidHandle
	}
	return winscard.Success
}

// client finds a context that can be used. The caller holds s.mu.
func (s *Service) client(ctx winscard.Context) (*client, winscard.Code) {
	c, ok := s.clients[ctx]
	if !ok {
		return nil, winscard.ErrInvalidHandle
	}
	return c, s.alive(c)
}

// newID draws a handle. pcscd's handles are random too, of 31 bits, and so are not met again for a long time.
func newID() uint64 {
	for {
		if id := rand.Uint64() & 0x7FFFFFFF; id != 0 {
			return id
		}
	}
}

// EstablishContext opens a context. It returns ErrNoService while the service is stopped, ErrInvalidValue for an
// unknown scope, and ErrCommError for the 201st context, to which pcscd closes the door.
func (s *Service) EstablishContext(scope uint32) (winscard.Context, winscard.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return 0, winscard.ErrNoService
	}
	switch winscard.Scope(scope) {
	case winscard.ScopeUser, winscard.ScopeTerminal, winscard.ScopeSystem, winscard.ScopeGlobal:
	default:
		return 0, winscard.ErrInvalidValue
	}
	if rc := s.suffer(s.strike(OpEstablishContext, nil)); rc != winscard.Success {
		return 0, rc
	}
	if !s.running {
		return 0, winscard.ErrNoService
	}
	alive := 0
	for _, c := range s.clients {
		if !c.dead {
			alive++
		}
	}
	if alive >= maxContexts {
		return 0, winscard.ErrCommError
	}
	id := winscard.Context(newID())
	for s.clients[id] != nil {
		id = winscard.Context(newID())
	}
	if s.clients == nil {
		s.clients = make(map[winscard.Context]*client)
	}
	s.clients[id] = &client{id: id}
	return id, winscard.Success
}

// ReleaseContext closes a context and its connections. The card of a connection that holds a transaction, or exclusive
// access, is reset, for which ReleaseContext waits; other cards are left as they are. A GetStatusChange that is under
// way returns ErrCancelled, other calls that wait return ErrInvalidHandle.
func (s *Service) ReleaseContext(ctx winscard.Context) winscard.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[ctx]
	if !ok {
		return winscard.ErrInvalidHandle
	}
	if rc := s.suffer(s.strike(OpReleaseContext, nil)); rc != winscard.Success {
		return rc
	}
	if s.clients[ctx] != c {
		return winscard.ErrInvalidHandle
	}
	s.retire(c)
	if c.dead {
		return winscard.ErrNoService
	}
	s.disconnectAll(c)
	return winscard.Success
}

// retire makes the handles of a client invalid and ends its calls that wait. The caller holds s.mu.
func (s *Service) retire(c *client) {
	delete(s.clients, c.id)
	c.endWaits(winscard.ErrCancelled)
	for _, h := range c.connections {
		delete(s.connections, h.id)
	}
	s.released.raise()
}

// disconnectAll closes the connections of a client that is retired. The caller holds s.mu, which is released meanwhile.
func (s *Service) disconnectAll(c *client) {
	for _, h := range slices.Clone(c.connections) {
		disposition := winscard.LeaveCard
		if r := h.reader; r != nil && r.owner == h && h.event == eventNone {
			disposition = winscard.ResetCard
		}
		s.disconnect(h, disposition)
	}
}

// standBy waits while another connection has the lock, or returns ErrSharingViolation if the client does that itself.
// The caller holds s.mu, which is released meanwhile.
func (s *Service) standBy(c *client) winscard.Code {
	if c.polls {
		return winscard.ErrSharingViolation
	}
	s.pause()
	return winscard.Success
}

// IsValidContext returns Success or ErrInvalidHandle. A context that died with the service is valid until it is
// released, as in libpcsclite.
func (s *Service) IsValidContext(ctx winscard.Context) winscard.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[ctx] == nil {
		return winscard.ErrInvalidHandle
	}
	return winscard.Success
}

// Cancel ends the calls of GetStatusChange that wait on the context, with ErrCancelled. If none does, it does nothing:
// a cancel that comes before the wait is lost. Other calls cannot be cancelled.
func (s *Service) Cancel(ctx winscard.Context) winscard.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[ctx]
	if !ok {
		return winscard.ErrInvalidHandle
	}
	if rc := s.suffer(s.strike(OpCancel, nil)); rc != winscard.Success {
		return rc
	}
	c.endWaits(winscard.ErrCancelled)
	return winscard.Success
}

// ListReaders writes the readers' names as a multi-string and returns its length. Groups are ignored, as libpcsclite
// does; one that contains a NUL gives ErrInvalidParameter. Without a reader it returns ErrNoReadersAvailable.
func (s *Service) ListReaders(ctx winscard.Context, groups []string, readers []byte) (int, winscard.Code) {
	for _, group := range groups {
		if strings.IndexByte(group, 0) >= 0 {
			return 0, winscard.ErrInvalidParameter
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, rc := s.client(ctx)
	if rc != winscard.Success {
		return 0, rc
	}
	if rc := s.suffer(s.strike(OpListReaders, nil)); rc != winscard.Success {
		return 0, rc
	}
	if rc := s.alive(c); rc != winscard.Success {
		return 0, inFlight(rc)
	}
	var names []string
	n := 1
	for i := range s.slots {
		if r := s.slots[i].reader; r != nil {
			names = append(names, r.name)
			n += len(r.name) + 1
		}
	}
	switch {
	case len(names) == 0:
		return 0, winscard.ErrNoReadersAvailable
	case len(readers) == 0:
		return n, winscard.Success
	case len(readers) < n:
		return n, winscard.ErrInsufficientBuffer
	}
	// No name is empty or contains a NUL: AddReader sees to that.
	if _, err := cstring.AppendMulti(readers[:0], names); err != nil {
		return 0, winscard.ErrInternalError
	}
	return n, winscard.Success
}

// ListReaderGroups writes the one group that pcsc-lite knows, SCard$DefaultReaders, as a multi-string and returns its
// length.
func (s *Service) ListReaderGroups(ctx winscard.Context, groups []byte) (int, winscard.Code) {
	if rc := s.IsValidContext(ctx); rc != winscard.Success {
		return 0, rc
	}
	const all = winscard.DefaultReaders + "\x00\x00"
	switch {
	case len(groups) == 0:
		return len(all), winscard.Success
	case len(groups) < len(all):
		return len(all), winscard.ErrInsufficientBuffer
	}
	return copy(groups, all), winscard.Success
}

// FreeMemory does nothing, since the service allocates nothing for its callers, but checks the context.
func (s *Service) FreeMemory(ctx winscard.Context, _ uintptr) winscard.Code {
	return s.IsValidContext(ctx)
}

// StringifyError returns the code's text.
func (s *Service) StringifyError(code winscard.Code) string { return code.Error() }
