package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// testAbsent runs before there is a service.
func testAbsent(t *testing.T, s *suite) {
	for range 3 {
		ctx, rc := s.Backend.EstablishContext(user)
		requireCode(t, winscard.ErrNoService, rc)
		require.Zero(t, ctx)
	}
}

// outageTests may kill the service. Each begins with a fresh one.
var outageTests = []subtest{
	{"Oversized", func(t *testing.T, s *suite) {
		if s.Quirks.MaxAPDU >= s.Quirks.LibraryMax {
			return
		}
		for i, n := range []int{s.Quirks.MaxAPDU + 1, s.Quirks.LibraryMax} {
			_, card := s.session(t, readerA+i)
			_, rc := s.Backend.Transmit(card, s.protocol(t, card), make([]byte, n), make([]byte, 258))
			requireCode(t, s.Quirks.TooLong, rc, "%d bytes", n)
		}
	}},
	{"KilledInSession", func(t *testing.T, s *suite) { s.outageInSession(t, s.Service.Kill) }},
	{"StoppedInSession", func(t *testing.T, s *suite) { s.outageInSession(t, s.Service.Stop) }},
	{"KilledDuringWait", func(t *testing.T, s *suite) { s.outageDuringCalls(t, s.Service.Kill) }},
	{"StoppedDuringWait", func(t *testing.T, s *suite) { s.outageDuringCalls(t, s.Service.Stop) }},
}

func (s *suite) protocol(t *testing.T, card winscard.Card) uint32 {
	t.Helper()
	_, _, protocol, _, rc := s.Backend.Status(card, nil, nil)
	requireOK(t, rc)
	return protocol
}

// outageCodes are the answers to a call when the service has gone. The last is libpcsclite's for a connection that was
// reset, which is how a service looks that was killed with requests unread; it takes it for a refusal by polkit.
var outageCodes = []winscard.Code{
	winscard.ErrCommError, winscard.ErrNoService, winscard.ErrServiceStopped, winscard.ErrSecurityViolation,
}

func (s *suite) outageInSession(t *testing.T, end func()) {
	before := descriptors(t)
	// A session for every call: each shall meet the outage as the first.
	contexts := s.contextCalls(s.readers[readerA])
	cards := append(s.cardCalls(), disconnectCalls()...)
	handles := make([]winscard.Card, len(cards))
	owners := make([]winscard.Context, len(contexts)+len(cards))
	for i := range owners {
		var rc winscard.Code
		owners[i], rc = s.Backend.EstablishContext(user)
		requireOK(t, rc)
		if j := i - len(contexts); j >= 0 {
			handles[j], _, rc = s.Backend.Connect(owners[i], s.readers[readerA], shared, anyT)
			requireOK(t, rc)
		}
	}
	end()
	for i, c := range contexts {
		switch c.name {
		case "IsValidContext", "ListReaderGroups", "Cancel", "FreeMemory": // ask the library alone
			requireOK(t, c.call(s.Backend, owners[i]), c.name)
		default:
			requireOneOf(t, c.call(s.Backend, owners[i]), outageCodes...)
		}
	}
	for i, c := range cards {
		requireOneOf(t, c.call(s.Backend, handles[i]), outageCodes...)
	}
	testAbsent(t, s)

	s.Service.Restart()
	require.Equal(t, s.readers, s.Service.Readers())
	for i, c := range cards {
		requireOneOf(t, c.call(s.Backend, handles[i]), outageCodes...)
	}
	for i, c := range contexts {
		switch c.name {
		case "Connect", "GetStatusChange", "ListReaders":
			requireOneOf(t, c.call(s.Backend, owners[i]), outageCodes...)
		}
	}
	for i, ctx := range owners {
		if i == len(contexts)-1 {
			s.requireReleased(t, ctx) // during the outage
			continue
		}
		requireOneOf(t, s.Backend.ReleaseContext(ctx), outageCodes...)
		s.requireReleased(t, ctx) // all the same
	}
	_, card := s.session(t, readerA)
	s.requireExchange(t, card, t1, s.a, 20, 20)
	before = append(before, "the session's")
	if s.Quirks.OwnServer {
		before = append(before, "its other end")
	}
	requireDescriptors(t, before)
}

func (s *suite) outageDuringCalls(t *testing.T, end func()) {
	var waits []<-chan winscard.Code
	for range 4 {
		ctx := s.establish(t)
		waits = append(waits, s.wait(ctx, winscard.Infinite, s.current(t, ctx, s.readers[readerEmpty])...).done)
	}
	_, owner := s.session(t, readerB)
	requireOK(t, s.Backend.BeginTransaction(owner))
	_, other := s.session(t, readerA)
	_, excluded := s.sessionOutside(t, readerB, owner)
	waits = append(waits,
		start(func() winscard.Code { return s.Backend.BeginTransaction(excluded) }),
		start(func() winscard.Code {
			_, rc := s.Backend.Transmit(other, t1, hold('x'), make([]byte, 258))
			return rc
		}))
	await(t, s.a.Held(), "the command")
	s.settle(t, s.establish(t))
	end()
	s.a.Release() // the dead reader's card may still be at work
	for _, done := range waits {
		requireOneOf(t, await(t, done, "call"), outageCodes...)
	}
	s.Service.Restart()
	_, card := s.session(t, readerA)
	s.requireExchange(t, card, t1, s.a, 20, 20)
}

// sessionOutside connects to a card in spite of a transaction, which is ended
// for the moment.
func (s *suite) sessionOutside(t *testing.T, reader int, owner winscard.Card) (winscard.Context, winscard.Card) {
	t.Helper()
	requireOK(t, s.Backend.EndTransaction(owner, leave))
	ctx, card := s.session(t, reader)
	requireOK(t, s.Backend.BeginTransaction(owner))
	return ctx, card
}
