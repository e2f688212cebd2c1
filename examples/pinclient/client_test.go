package pinclient

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

// setup puts a card into a virtual reader and returns what the client needs to use it.
func setup(t *testing.T, card virtual.Card) (*pcsc.Context, *virtual.Reader) {
	t.Helper()
	service := virtual.New()
	reader := service.AddReader("Test Reader")
	reader.Insert(card)
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	return pc, reader
}

// newCard makes the card that the client is for. Its PIN is 1234.
func newCard(t *testing.T) *filesystem.Card {
	t.Helper()
	card, err := filesystem.New(filesystem.Config{MF: filesystem.DF{
		PINs: []filesystem.PIN{{Reference: 0x01, Value: []byte("1234"), Tries: 3}},
		DFs: []filesystem.DF{{
			Name: []byte("\xF0gopcsc"),
			Data: []filesystem.DataObject{{Tag: 0x5F42, Value: []byte("London"), Read: filesystem.Verified(0x01)}},
		}},
	}})
	require.NoError(t, err)
	return card
}

func requireTries(t *testing.T, want int, card *filesystem.Card) {
	t.Helper()
	tries, ok := card.Tries(0x01)
	require.True(t, ok)
	require.Equal(t, want, tries)
}

func TestAddress(t *testing.T) {
	pc, reader := setup(t, newCard(t))
	address, err := Address(t.Context(), pc, reader.Name(), []byte("1234"))
	require.NoError(t, err)
	require.Equal(t, "London", address)
}

func TestWrongPIN(t *testing.T) {
	card := newCard(t)
	pc, reader := setup(t, card)
	use := func(pin string) error {
		_, err := Address(t.Context(), pc, reader.Name(), []byte(pin))
		return err
	}
	var wrong *WrongPINError
	require.ErrorAs(t, use("0000"), &wrong)
	require.Equal(t, 2, wrong.Tries)
	require.NoError(t, use("1234"))
	requireTries(t, 3, card) // a right PIN gives all tries back

	require.Error(t, use("0000"))
	require.Error(t, use("0000"))
	require.ErrorIs(t, use("0000"), ErrLastTry)
	requireTries(t, 1, card) // which has not been used

	_, err := card.Transmit([]byte{0x00, 0x20, 0x00, 0x01, 0x01, 0x30}) // somebody else does
	require.NoError(t, err)
	require.ErrorIs(t, use("1234"), ErrBlocked)
}

// When the client is done, the card has forgotten the PIN.
func TestPINIsForgotten(t *testing.T) {
	card := newCard(t)
	pc, reader := setup(t, card)
	_, err := Address(t.Context(), pc, reader.Name(), []byte("1234"))
	require.NoError(t, err)
	response, err := card.Transmit([]byte{0x00, 0x20, 0x00, 0x01}) // VERIFY without a PIN asks for the state
	require.NoError(t, err)
	require.Equal(t, []byte{0x63, 0xC3}, response)
}

// The card is pulled while it compares the PIN. The client can't know whether that was counted.
func TestCardPulled(t *testing.T) {
	card := newCard(t)
	pc, reader := setup(t, card)
	pulled := reader.Inject(virtual.PullCard(), virtual.APDU(0x00, 0x20, 0x00, 0x01, 0x04))
	_, err := Address(t.Context(), pc, reader.Name(), []byte("0000"))
	require.ErrorIs(t, err, pcsc.ErrNotTransacted)
	require.Equal(t, 1, pulled.Struck())
	requireTries(t, 2, card) // sent once, and not again

	_, err = Address(t.Context(), pc, reader.Name(), []byte("1234"))
	require.ErrorIs(t, err, pcsc.ErrNoSmartcard)
	reader.Insert(card)
	_, err = Address(t.Context(), pc, reader.Name(), []byte("1234"))
	require.NoError(t, err)
}

// The card takes an hour for an answer, and the client gives up after a minute. The test takes no time.
func TestSlowCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pc, reader := setup(t, newCard(t))
		reader.Inject(virtual.Delay(time.Hour), virtual.APDU(0x00, 0xA4))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		_, err := Address(ctx, pc, reader.Name(), []byte("1234"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(begin), 2*time.Minute) // on the bubble's clock
	})
}

// These commands and no others, in this order. In a failure PINs are masked.
func TestCommands(t *testing.T) {
	card := virtual.NewScript(t, `
		00A40400 07 F0676F70637363 00: 6A82
	`)
	pc, reader := setup(t, card)
	_, err := Address(t.Context(), pc, reader.Name(), []byte("1234"))
	require.Error(t, err)

	card = virtual.NewScript(t, `
		00A40400 07 F0676F70637363 00: 6F00 9000
		00200001:                      63C3
		00200001 04 31323334:          9000
		00CA5F42 00:                   4C6F6E646F6E 9000
	`)
	pc, reader = setup(t, card)
	address, err := Address(t.Context(), pc, reader.Name(), []byte("1234"))
	require.NoError(t, err)
	require.Equal(t, "London", address)
}
