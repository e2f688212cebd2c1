package virtual_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const selectDemo = "00A4040007F0676F70637363"

// demoCommand sends a command in hexadecimal and returns the response in hexadecimal.
func demoCommand(t testing.TB, s *virtual.Service, card winscard.Card, command string) string {
	t.Helper()
	send := unhex(t, command)
	_, _, protocol, _, rc := s.Status(card, nil, nil)
	ok(t, rc)
	recv := make([]byte, 258)
	n, rc := s.Transmit(card, protocol, send, recv)
	ok(t, rc)
	return hex.EncodeToString(recv[:n])
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}

func verifyDemo(t testing.TB, s *virtual.Service, card winscard.Card) {
	t.Helper()
	require.Equal(t, "9000", demoCommand(t, s, card, selectDemo))
	require.Equal(t, "9000", demoCommand(t, s, card, "002000010431323334"))
}

func TestDemoCard(t *testing.T) {
	const (
		address = "00CA5F4200"
		holder  = "00CA5F2000"
		right   = "002000010431323334"
		wrong   = "002000010430303030"
	)
	for name, commands := range map[string][][2]string{
		"selection": {
			{holder, "6985"},
			{right, "6985"},
			{"00A4040003F0676F", "9000"},
			{selectDemo + "00", "9000"},
			{"00A4040008F0676F7063736300", "6a82"},
			{"00A4040001A0", "6a82"},
			{"00A40400", "6a82"},
			{"00A4000C023F00", "6a86"},
			{"00A40401023F00", "6a86"},
		},
		"data": {
			{selectDemo, "9000"},
			{holder, hex.EncodeToString([]byte("Ada Lovelace")) + "9000"},
			{"00CA5F20", hex.EncodeToString([]byte("Ada Lovelace")) + "9000"},
			{"00CA5F20000000", hex.EncodeToString([]byte("Ada Lovelace")) + "9000"},
			{address, "6982"},
			{"00CA000000", "6a88"},
		},
		"PIN": {
			{selectDemo, "9000"},
			{"00200001", "63c3"},
			{wrong, "63c2"},
			{"0020000100000430303030", "63c1"}, // extended length
			{"00200001", "63c1"},
			{right, "9000"},
			{"00200001", "9000"},
			{address, hex.EncodeToString([]byte("12 St James's Square, London")) + "9000"},
			{wrong, "63c2"},
			{address, "6982"},
			{wrong, "63c1"},
			{wrong, "6983"},
			{right, "6983"},
			{"00200001", "6983"},
			{"00200002", "6a86"},
		},
		"selection ends the PIN": {
			{selectDemo, "9000"},
			{right, "9000"},
			{selectDemo, "9000"},
			{address, "6982"},
		},
		"errors": {
			{selectDemo, "9000"},
			{"80CA5F2000", "6e00"},
			{"00B0000000", "6d00"},
			{"00", "6700"},
			{"0020000104313233", "6700"},
			{"00200001043132333400FF", "6700"},
			{"002000010000", "6700"},
			{"00200001000000FF", "6700"},
			{"00200001000004313233", "6700"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := setup(t, virtual.NewDemoCard())
			_, card := connect(t, s, r, shared)
			for _, c := range commands {
				require.Equal(t, c[1], demoCommand(t, s, card, c[0]), c[0])
			}
		})
	}
}

func TestDemoCardRemembersTries(t *testing.T) {
	demo := virtual.NewDemoCard()
	s, r := setup(t, demo)
	_, card := connect(t, s, r, shared)
	verifyDemo(t, s, card)
	require.Equal(t, "63c2", demoCommand(t, s, card, "002000010430303030"))
	_, rc := s.Reconnect(card, shared, anyT, reset)
	ok(t, rc)
	require.Equal(t, 2, demo.Tries())
	require.Equal(t, "6985", demoCommand(t, s, card, "00200001"))
	require.Equal(t, "9000", demoCommand(t, s, card, selectDemo))
	require.Equal(t, "63c2", demoCommand(t, s, card, "00200001"))

	atr := demo.ATR()
	var check byte
	for _, b := range atr[1:] {
		check ^= b
	}
	require.Zero(t, check, "the check byte")
	require.Equal(t, "gopcsc demo", string(atr[4:len(atr)-1]))
}
