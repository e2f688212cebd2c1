package conformance

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

// Readers that come and go while the real service runs, seen through the contract and through package pcsc.

func TestHotPlugReal(t *testing.T) {
	backend, err := openBackend()
	require.NoError(t, err)
	env := onVpcd(backend, RealHotPlug(t))
	raw := &suite{Environment: env}
	raw.prepare(t)
	raw.start(t)
	raw.run(t, "Contract", testHotPlug)

	// Where the service tells of readers, and where they are listed now and then.
	for _, how := range []struct {
		name    string
		options []pcsc.Option
		tests   []apiTest
	}{
		{"PnP", nil, hotPlugTests},
		{"NoPnP", []pcsc.Option{pcsc.WithBackend(noPnP{backend})}, hotPlugTests[:1]},
	} {
		t.Run(how.name, func(t *testing.T) {
			s := &apiSuite{suite{Environment: env}, how.options}
			s.start(t)
			for _, test := range how.tests {
				s.runClean(t, test.name, func(t *testing.T) { test.run(t, s) })
			}
			i := slices.IndexFunc(watchOutageTests, func(test apiTest) bool { return test.name == "NoReaders" })
			t.Run("NoReaders", func(t *testing.T) {
				watch(t)
				watchOutageTests[i].run(t, s)
			})
		})
	}
}

// plug plugs a reader in; the function that it returns pulls it out. It is empty unless a card is given.
func (s *apiSuite) plug(t *testing.T, card *Card) (reader string, pull func()) {
	t.Helper()
	plug := s.Service.(HotPlugger)
	plug.AddReader()
	names := s.Service.Readers()
	require.Len(t, names, len(s.readers)+1)
	if card != nil {
		s.Service.Insert(len(s.readers), card)
	}
	pulled := false
	pull = func() {
		if !pulled {
			pulled = true
			plug.RemoveReader()
		}
	}
	t.Cleanup(pull)
	return names[len(s.readers)], pull
}

var hotPlugTests = []apiTest{
	{"Watch", func(t *testing.T, s *apiSuite) {
		w := s.watch(t)
		w.snapshot(s)
		for range 2 {
			w.quiet()
			reader, pull := s.plug(t, nil)
			require.False(t, w.expect(pcsc.ReaderAdded, reader, nil).Initial)
			card := NewCard()
			s.Service.Insert(len(s.readers), card)
			w.expect(pcsc.CardInserted, reader, card.ATR())
			w.quiet()
			pull() // with the card
			w.expect(pcsc.CardRemoved, reader, card.ATR())
			w.expect(pcsc.ReaderRemoved, reader, nil)
			w.quiet()
		}
	}},
	{"WatchSlowBody", func(t *testing.T, s *apiSuite) {
		// What happens while the loop's body is busy. Another watch tells when it was noticed.
		w, other := s.watch(t), s.watch(t)
		w.snapshot(s)
		other.snapshot(s)
		card, second := NewCard(), NewCard()
		reader, pull := s.plug(t, card)
		other.until(pcsc.CardInserted, reader)
		w.expect(pcsc.ReaderAdded, reader, nil)
		w.expect(pcsc.CardInserted, reader, card.ATR())
		pull()
		other.until(pcsc.ReaderRemoved, reader)
		_, pull = s.plug(t, second)
		other.until(pcsc.CardInserted, reader)
		w.expect(pcsc.CardRemoved, reader, card.ATR())
		w.expect(pcsc.ReaderRemoved, reader, nil)
		w.expect(pcsc.ReaderAdded, reader, nil)
		w.expect(pcsc.CardInserted, reader, second.ATR())
		pull()
		other.until(pcsc.ReaderRemoved, reader)
		_, pull = s.plug(t, card)
		other.until(pcsc.CardInserted, reader)
		pull()
		other.until(pcsc.ReaderRemoved, reader)
		w.expect(pcsc.CardRemoved, reader, second.ATR())
		w.expect(pcsc.ReaderRemoved, reader, nil)
		w.expect(pcsc.ReaderAdded, reader, nil)
		w.expect(pcsc.CardInserted, reader, card.ATR())
		w.expect(pcsc.CardRemoved, reader, card.ATR())
		w.expect(pcsc.ReaderRemoved, reader, nil)
		w.quiet()
	}},
	{"Replaced", func(t *testing.T, s *apiSuite) {
		// Another reader under the name of the one before.
		card, second := NewCard(), NewCard()
		reader, pull := s.plug(t, card)
		w := s.watch(t)
		w.until(pcsc.CardInserted, reader)
		pull()
		w.expect(pcsc.CardRemoved, reader, card.ATR())
		w.expect(pcsc.ReaderRemoved, reader, nil)
		_, pull = s.plug(t, nil)
		w.expect(pcsc.ReaderAdded, reader, nil)
		w.quiet()
		s.Service.Insert(len(s.readers), second)
		w.expect(pcsc.CardInserted, reader, second.ATR())
		pull()
		w.expect(pcsc.CardRemoved, reader, second.ATR())
		w.expect(pcsc.ReaderRemoved, reader, nil)

		// While the body is busy. The service is quicker than a watch has to be, so that it may have missed that the reader
		// was gone; the cards it has not, though pcscd counts no event for the one that has gone with the reader.
		_, pull = s.plug(t, card)
		w.until(pcsc.CardInserted, reader)
		pull()
		_, pull = s.plug(t, second)
		w.expect(pcsc.CardRemoved, reader, card.ATR())
		w.until(pcsc.CardInserted, reader)
		pull()
		w.expect(pcsc.CardRemoved, reader, second.ATR())
		w.expect(pcsc.ReaderRemoved, reader, nil)
	}},
	{"WaitCard", func(t *testing.T, s *apiSuite) {
		// In a reader that is not there yet.
		reader, pull := s.plug(t, nil)
		pull()
		c := s.context(t)
		found := start(func() string {
			name, _, err := c.WaitCard(t.Context(), reader)
			return fmt.Sprint(name, err)
		})
		requireNotYet(t, found, "WaitCard")
		_, pull = s.plug(t, NewCard())
		require.Equal(t, fmt.Sprint(reader, nil), requireSoon(t, found, "WaitCard"))
		removed := start(func() error { return c.WaitRemoved(t.Context(), reader) })
		requireNotYet(t, removed, "WaitRemoved")
		pull()
		require.NoError(t, requireSoon(t, removed, "WaitRemoved"))
	}},
	{"Connection", func(t *testing.T, s *apiSuite) {
		ctx := t.Context()
		reader, pull := s.plug(t, NewCard())
		c := s.context(t)
		card, err := c.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
		require.NoError(t, err)
		tx, err := card.BeginTransaction(ctx)
		require.NoError(t, err)
		_, err = tx.Transmit(ctx, isVerified)
		require.NoError(t, err)
		pull()
		// pcscd 1.9.9 knows the connection no more, and says SCARD_E_INVALID_VALUE; its Status alone says why.
		_, err = tx.Transmit(ctx, isVerified)
		require.ErrorIs(t, err, pcsc.ErrReaderUnavailable)
		require.ErrorIs(t, tx.End(pcsc.LeaveCard), pcsc.ErrReaderUnavailable)
		for name, call := range map[string]func() error{
			"Status":           func() error { return second(card.Status(ctx)) },
			"Control":          func() error { return second(card.Control(ctx, pcsc.CtlCode(1), nil)) },
			"GetAttrib":        func() error { return second(card.GetAttrib(ctx, pcsc.AttrATRString)) },
			"Attributes":       func() error { return second(card.Attributes(ctx)) },
			"Features":         func() error { return second(card.Features(ctx)) },
			"BeginTransaction": func() error { return second(card.BeginTransaction(ctx)) },
			"Reconnect":        func() error { return card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard) },
		} {
			require.ErrorIs(t, call(), pcsc.ErrReaderUnavailable, name)
		}
		require.NoError(t, card.Close())
		_, err = c.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
		require.ErrorIs(t, err, pcsc.ErrUnknownReader)
		list, err := c.ListReaders(ctx)
		require.NoError(t, err)
		require.Equal(t, s.readers, list)
	}},
}
