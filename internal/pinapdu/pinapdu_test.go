package pinapdu

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tests of tracing have every command; these are about what they can't see.
func TestSecret(t *testing.T) {
	for command, want := range map[string][2]bool{ // whether it is secret, and whether it is after a secret one
		"":           {true, true},
		"0020":       {true, true},
		"00200001":   {true, true},
		"00C0000000": {false, true},
		"00C1000000": {false, true},
		"FFC0000000": {true, true},
		"00A40400":   {false, false},
		"FFCA000000": {false, false},
	} {
		apdu, err := hex.DecodeString(command)
		require.NoError(t, err)
		require.Equal(t, want, [2]bool{Secret(apdu, false), Secret(apdu, true)}, command)
	}
}

func TestShown(t *testing.T) {
	for _, test := range []struct{ command, response, header, status string }{
		{"0020000104\x31\x32\x33\x34", "data\x90\x00", "0020", "\x90\x00"},
		{"0020", "\x90", "0020", "\x90"},
		{"0020", "", "0020", ""},
		{"002", "data\x90\x00", "", ""},
	} {
		header, status := Shown([]byte(test.command), []byte(test.response))
		require.Equal(t, test.header, string(header))
		require.Equal(t, test.status, string(status))
	}
}
