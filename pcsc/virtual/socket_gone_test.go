//go:build unix

package virtual_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/generated/protocol"
)

// A client that vanishes while it waits is noticed at once, whatever it waits for and whatever it has said before:
// nothing of it is left, and others have the card.
func TestSocketGoneWhileWaiting(t *testing.T) {
	connect := func(t *testing.T, c *remote, reader string) {
		t.Helper()
		require.NoError(t, c.Send(protocol.CmdConnect, &protocol.Connect{Context: c.ctx, Reader: reader, ShareMode: shared, PreferredProtocols: anyT}))
	}
	for name, wait := range map[string]func(t *testing.T, c *remote, card int32, reader string){
		"GetStatusChange": func(t *testing.T, c *remote, _ int32, _ string) {
			require.NoError(t, c.Send(protocol.CmdWaitReaderStateChange, nil))
		},
		"Transaction": func(t *testing.T, c *remote, card int32, _ string) { ok(t, c.begin(card)) },
		// pcscd waits for ever, and so do we; but when the client is gone, the card is free again.
		"OwnLock": func(t *testing.T, c *remote, card int32, reader string) {
			ok(t, c.begin(card))
			connect(t, c, reader)
		},
		"OwnLockInDisconnect": func(t *testing.T, c *remote, card int32, reader string) {
			other, _, err := c.Connect(c.ctx, reader)
			require.NoError(t, err)
			ok(t, c.begin(card))
			require.NoError(t, c.Send(protocol.CmdDisconnect, &protocol.Disconnect{Card: other, Disposition: reset}))
		},
		"OwnLockAndMoreSaid": func(t *testing.T, c *remote, card int32, reader string) {
			ok(t, c.begin(card))
			for range 100 {
				connect(t, c, reader)
			}
			require.NoError(t, c.Send(protocol.CmdReleaseContext, &protocol.Release{Context: c.ctx}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			minors(t, func(t *testing.T, minor int32) {
				s, r := setup(t, echo(atrBoth))
				socket, _ := serve(t, s)
				witness := open(t, socket, 6)
				before := goleak.IgnoreCurrent()
				c := open(t, socket, minor)
				wait(t, c, c.connect(r), r.Name())
				witness.quiet() // the service does other things meanwhile
				require.NoError(t, c.Close())
				nothingLeft(t, before)
				m := protocol.Connect{Context: witness.ctx, Reader: r.Name(), ShareMode: exclusive, PreferredProtocols: anyT}
				require.NoError(t, witness.Call(protocol.CmdConnect, &m))
				ok(t, m.RV)
			})
		})
	}
}

// So is one that vanishes while it waits for another client's lock, which that client keeps.
func TestSocketGoneWhileLockedOut(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	socket, _ := serve(t, s)
	holder := open(t, socket, 4)
	card := holder.connect(r)
	ok(t, holder.begin(card))
	before := goleak.IgnoreCurrent()
	c := open(t, socket, 4)
	require.NoError(t, c.Send(protocol.CmdConnect, &protocol.Connect{Context: c.ctx, Reader: r.Name(), ShareMode: shared, PreferredProtocols: anyT}))
	require.NoError(t, c.Close())
	nothingLeft(t, before)
	_, err := holder.Transmit(card, t1, apdu...)
	require.NoError(t, err)
	ok(t, holder.end(card))
	require.EqualValues(t, 1, sharing(t, holder))
}
