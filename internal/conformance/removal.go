package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

var removalTests = []subtest{
	{"InSession", func(t *testing.T, s *suite) {
		_, remove := s.insert(t)
		_, idle := s.session(t, readerSlot)
		_, transacting := s.session(t, readerSlot)
		_, nobody := s.session(t, readerSlot)
		requireOK(t, s.Backend.BeginTransaction(transacting))
		requireOK(t, s.Backend.EndTransaction(transacting, leave))
		remove()

		requireRemoved := func(card winscard.Card) {
			t.Helper()
			for _, c := range s.cardCalls() {
				switch c.name {
				case "Reconnect":
				case "Control": // is for the reader
					requireCode(t, s.Quirks.Control, c.call(s.Backend, card))
				default:
					requireCode(t, winscard.ErrRemovedCard, c.call(s.Backend, card), c.name)
				}
			}
		}
		requireRemoved(idle)
		requireRemoved(transacting)
		_, rc := s.Backend.Reconnect(idle, shared, anyT, leave)
		requireCode(t, winscard.ErrNoSmartcard, rc)
		requireRemoved(idle)
		requireOK(t, s.Backend.Disconnect(nobody, leave))

		// The next card is another card.
		second, _ := s.insert(t)
		requireRemoved(idle)
		requireRemoved(transacting)
		for _, card := range []winscard.Card{idle, transacting} {
			protocol, rc := s.Backend.Reconnect(card, shared, anyT, leave)
			requireOK(t, rc)
			require.Equal(t, t1, protocol)
			s.requireExchange(t, card, t1, second, 20, 20)
			atr := make([]byte, 36)
			_, _, _, n, rc := s.Backend.Status(card, nil, atr)
			requireOK(t, rc)
			require.Equal(t, second.ATR(), atr[:n])
		}
	}},
	{"InTransaction", func(t *testing.T, s *suite) {
		_, remove := s.insert(t)
		_, owner := s.session(t, readerSlot)
		_, other := s.session(t, readerSlot)
		requireOK(t, s.Backend.BeginTransaction(owner))
		done := start(func() winscard.Code { return s.Backend.BeginTransaction(other) })
		remove()
		// Those who wait for the transaction need not wait for its end.
		requireCode(t, winscard.ErrRemovedCard, await(t, done, "BeginTransaction"))
		requireCode(t, winscard.ErrRemovedCard, s.Backend.EndTransaction(owner, leave))
		requireOK(t, s.Backend.Disconnect(owner, leave))
	}},
}
