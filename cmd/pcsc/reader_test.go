package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

func TestFindReader(t *testing.T) {
	names := []string{"ACS ACR122U 00 00", "ACS ACR122U 01 00", "Gemalto PC Twin 02 00", "7"}
	for _, test := range []struct{ arg, want string }{
		{"0", names[0]},
		{"1", names[1]},
		{"01", names[1]},
		{"7", names[3]}, // a whole name
		{"ACS ACR122U 01 00", names[1]},
		{"gemalto", names[2]},
		{"U 01", names[1]},
	} {
		got, err := findReader(names, test.arg)
		require.NoError(t, err, test.arg)
		require.Equal(t, test.want, got, test.arg)
	}
	for _, test := range []struct {
		arg, want string
		exit      int
	}{
		{"", "the reader's name is empty", exitUsage},
		{"4", "no reader has the index 4; the highest is 3", exitNoReader},
		{"99", "no reader has the index 99; the highest is 3", exitNoReader},
		{"122", `"122" fits 2 readers: "ACS ACR122U 00 00", "ACS ACR122U 01 00"`, exitNoReader},
		{"omnikey", `no reader's name is or contains "omnikey"`, exitNoReader},
		{"-1", `no reader's name is or contains "-1"`, exitNoReader},
		{"99999999999999999999", `no reader's name is or contains "99999999999999999999"`, exitNoReader},
	} {
		_, err := findReader(names, test.arg)
		var f *failure
		require.ErrorAs(t, err, &f, test.arg)
		require.Equal(t, test.exit, f.exit, test.arg)
		require.Equal(t, test.want, f.what)
	}
	_, err := findReader(nil, "0")
	require.EqualError(t, err, "there is no reader")
}

func FuzzFindReader(f *testing.F) {
	f.Add("0", "a", "b")
	f.Fuzz(func(t *testing.T, arg, a, b string) {
		name, err := findReader([]string{a, b}, arg)
		if err == nil {
			require.Contains(t, []string{a, b}, name)
		}
	})
}

func TestStateWords(t *testing.T) {
	for state, want := range map[pcsc.State]string{
		0:                                   "no card",
		pcsc.StateEmpty:                     "no card",
		pcsc.StatePresent:                   "card",
		pcsc.StateUnknown:                   "can't be used",
		pcsc.StatePresent | pcsc.StateInUse: "card, in use",
		pcsc.StatePresent | pcsc.StateExclusive | pcsc.StateInUse:   "card, which a program has for itself",
		pcsc.StatePresent | pcsc.StateMute:                          "card that does not answer",
		pcsc.StateEmpty | pcsc.StateUnavailable | pcsc.StateChanged: "can't be used",
	} {
		require.Equal(t, want, stateWords(state), state)
	}
	require.Equal(t, []string{}, stateNames(0))
	require.Equal(t, []string{"present", "inuse"}, stateNames(pcsc.StatePresent|pcsc.StateInUse|pcsc.StateChanged))
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "Lesegerät 読取 00 00", printable("Lesegerät 読取 00 00"))
	require.Equal(t, `"\x1b[2Jevil"`, printable("\x1b[2Jevil"))
	require.Equal(t, `"\xff"`, printable("\xff"))
}
