package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/pcsc"
)

// A card whose power another program takes away, and then one that the reader cannot supply with power: each has an
// error of its own, and everything works again when the power is back.
func padUnpowered(t *testing.T, s *padSuite) {
	if !s.real() {
		return // the virtual service always has power
	}
	ctx := t.Context()
	command := []byte{0x80, 0x50, 0x00, 0x00}
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	direct, err := c.Connect(ctx, s.readers[0], pcsc.ShareDirect, pcsc.ProtocolUndefined)
	require.NoError(t, err)
	defer func() { require.NoError(t, direct.Disconnect(pcsc.LeaveCard)) }()
	pad := ifdtest.New(t, func(code uint32, in []byte) ([]byte, error) { return direct.Control(ctx, code, in) })

	require.NoError(t, s.card.Disconnect(pcsc.UnpowerCard))
	_, err = direct.Status(ctx)
	require.ErrorIs(t, err, pcsc.ErrResetCard, "it has lost its power")

	pad.Power(ifdtest.PowerError)
	defer pad.Power(ifdtest.OK)
	for _, share := range []pcsc.ShareMode{pcsc.ShareShared, pcsc.ShareExclusive} {
		_, err = c.Connect(ctx, s.readers[0], share, pcsc.ProtocolAny)
		require.ErrorIs(t, err, pcsc.ErrUnpoweredCard)
		require.NotErrorIs(t, err, pcsc.ErrResetCard)
		require.NotErrorIs(t, err, pcsc.ErrRemovedCard)
		var e *pcsc.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "SCardConnect", e.Op)
	}

	pad.Power(ifdtest.OK)
	card, err := c.Connect(ctx, s.readers[0], pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	defer func() { require.NoError(t, card.Disconnect(pcsc.LeaveCard)) }()
	_, err = card.Transmit(ctx, command)
	require.NoError(t, err)

	// A reset that fails.
	pad.Power(ifdtest.PowerError)
	require.ErrorIs(t, card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.ResetCard), pcsc.ErrUnresponsiveCard)
	_, err = card.Transmit(ctx, command)
	require.ErrorIs(t, err, pcsc.ErrResetCard)
	_, err = card.BeginTransaction(ctx)
	require.ErrorIs(t, err, pcsc.ErrResetCard)

	pad.Power(ifdtest.OK)
	require.NoError(t, card.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.UnpowerCard))
	_, err = card.Transmit(ctx, command)
	require.NoError(t, err)
	s.card, s.pad = s.connect(t, s.readers[0])
}
