package differential

import (
	"slices"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A disagreement is a difference between pcscd and the virtual service that is wanted.
type disagreement struct {
	name   string
	reason string
	when   func(difference) bool // the exact condition
	ends   bool                  // the services' states differ from then on, so the sequence ends
	show   func(*machine)        // a sequence in which it occurs; nil if it does so by chance
}

// disagreements is the table. TestDisagreements plays each entry's sequence, and fails if it doesn't occur; what occurs by
// chance has none.
var disagreements []disagreement

func init() { disagreements = table } // the sequences lead back to the table

var table = []disagreement{
	{
		name: "ReleaseContext ends a wait",
		reason: "libpcsclite holds a lock of the context while it waits, so SCardReleaseContext waits too, and while it " +
			"does so holds the lock of the whole library: no call of the process gets through, not even SCardCancel. " +
			"The virtual service ends the wait with SCARD_E_CANCELLED.",
		when: func(d difference) bool {
			return d.theirsWaits && d.call.op == "ReleaseContext" && d.call.context.busy()
		},
		ends: true,
		show: func(m *machine) { m.run(releaseContext(waitingContext(m))) },
	},
	{
		name: "calls on one context run at once",
		reason: "The same lock: in libpcsclite a call on a context waits for the one that is under way. In the virtual " +
			"service it does not, since a test that hangs for ever helps nobody.",
		when: func(d difference) bool {
			return d.theirsWaits && d.call.op != "ReleaseContext" && d.call.context != nil && d.call.context.busy()
		},
		ends: true,
		show: func(m *machine) { m.run(listReaders(waitingContext(m), nil, 100)) },
	},
	{
		name: "Reconnect resets again and again",
		reason: "A Reconnect that resets the card and waits to be the only connection is asked for by libpcsclite every " +
			"100 ms, and resets the card each time. The virtual service, which doesn't poll, resets it once at the " +
			"beginning and once at the end of the wait. Here the card counts.",
		when: func(d difference) bool {
			return d.call.op == "Transmit" && d.call.card.resetAgain && slices.Equal(d.fields, []string{"response"})
		},
		ends: true,
		show: func(m *machine) {
			m.insert(0, 0)
			var cards []*cardHandle
			for range 2 {
				m.run(establishContext(uint32(winscard.ScopeSystem)))
				m.run(connect(m.contexts[len(m.contexts)-1], names()[0], uint32(winscard.ShareShared), uint32(winscard.ProtocolAny)))
				cards = m.cards
			}
			m.run(reconnect(cards[0], uint32(winscard.ShareExclusive), uint32(winscard.ProtocolAny), uint32(winscard.ResetCard)))
			time.Sleep(polling)
			m.run(disconnect(cards[1], uint32(winscard.LeaveCard)))
			m.run(transmit(cards[0], m.protocol, []byte{0, insCount, 0, 0}, 258))
		},
	},
	{
		name: "Reconnect meets a card that is being pulled",
		reason: "A Reconnect that waits to be the only connection is asked for every 100 ms. pcscd takes the ATR and the " +
			"protocol from a card that was pulled, and the state, one after the other and without a lock. A Reconnect in " +
			"between finds no protocol that suits and not that there is no card. It takes a machine under load.",
		when: func(d difference) bool {
			return d.late && d.call.op == "Reconnect" && d.subject == "pcscd" &&
				d.ours.code == winscard.ErrNoSmartcard && d.theirs.code == winscard.ErrProtoMismatch
		},
	},
	{
		name: "Connect meets a context that is being released in a transaction",
		reason: "A Connect that waits for the transaction goes on as soon as the lock is free. pcscd frees it, resets the card " +
			"and forgets the protocol one after the other, so that Connect may find the protocol of before or none; the " +
			"virtual service does it all at once. It takes a machine under load; the log of pcscd shows that it went on, and " +
			"the order is inferred.",
		when: func(d difference) bool {
			return d.late && d.call.op == "Connect" && d.subject == "pcscd" &&
				d.ours.code == winscard.ErrProtoMismatch && d.theirs.code == winscard.Success && d.m.endedBy("ReleaseContext")
		},
		ends: true,
	},
}

// endedBy reports whether the last step is a call of that operation.
func (m *machine) endedBy(op string) bool {
	last := m.script[len(m.script)-1].call
	return last != nil && last.op == op
}

// waitingContext makes a context whose GetStatusChange waits.
func waitingContext(m *machine) *contextHandle {
	m.run(establishContext(uint32(winscard.ScopeSystem)))
	ctx := m.contexts[0]
	m.run(getStatusChange(ctx, winscard.Infinite, []watched{{names()[0], uint32(winscard.StateEmpty)}}))
	return ctx
}

// busy reports whether a call is under way during which libpcsclite keeps the context's lock. Others are asked for
// every 100 ms, and the lock is free in between.
func (c *contextHandle) busy() bool {
	return c.waiting != nil && slices.Contains([]string{"GetStatusChange", "Connect", "Disconnect"}, c.waiting.call.op)
}
