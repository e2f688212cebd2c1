package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const exampleCards = "../../examples/cards/"

func TestVirtual(t *testing.T) {
	for _, test := range []struct {
		args []string
		want []string // in the output
	}{
		{[]string{"list"}, []string{"0: gopcsc Virtual Reader 00 00"}},
		{[]string{"status", "0"}, []string{"gopcsc Virtual Reader 00 00", "3B 8B 80 01"}},
		{[]string{"atr"}, []string{"gopcsc demo"}},
		{[]string{"apdu", "0", "00A4040007F0676F70637363"}, []string{"9000"}},
		{[]string{"feature", "0"}, nil},
		{[]string{"attr", "0"}, nil},
		{[]string{"watch", "--timeout", "100ms"}, []string{"gopcsc Virtual Reader 00 00"}},
		{[]string{"version"}, []string{"not loaded: --virtual needs none"}},
		{[]string{"doctor"}, []string{"gopcsc Virtual Reader 00 00"}},
		{[]string{"demo"}, []string{"--virtual asks for it", "The card was reset"}},
		{[]string{"list", "--card", "none", "--card", "demo"}, []string{"0: gopcsc Virtual Reader 00 00", "1: gopcsc Virtual Reader 01 00"}},
		{[]string{"--card", exampleCards + "id.yaml", "apdu", "0", "00B0820006"}, []string{"73657269616C 9000"}},
		{[]string{"--card", exampleCards + "script.yaml", "apdu", "0", "00A4040007F0676F70637363"}, []string{"9000"}},
		{[]string{"--card", exampleCards + "recording.yaml", "apdu", "0", "00A4040007F0676F70637363", "00200001023030"}, []string{"9000"}},
	} {
		r := start(t.Context(), env{}, "", append([]string{"--virtual"}, test.args...)...)
		exit := exitOK
		if test.args[0] == watchName {
			exit = exitTimeout
		}
		require.Equal(t, exit, r.exit, "%v: %s", test.args, r.stderr)
		for _, want := range test.want {
			require.Contains(t, r.stdout, want, "%v", test.args)
		}
	}
}

func TestVirtualUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("kind: files\nmf: {idd: 3F00, efs: [{}]}"), 0o600))
	sixteen := []string{"--virtual", "list"}
	for range 17 {
		sixteen = append(sixteen, "--card", "none")
	}
	for want, args := range map[string][]string{
		"pcsc: --card goes with --virtual, or with pcsc serve\n  see pcsc help\n":                                     {"list", "--card", "demo"},
		"pcsc: --virtual needs no library: leave --library away\n  see pcsc help\n":                                   {"list", "--virtual", "--library", "/lib/x"},
		"pcsc: --card: open none.yaml: no such file or directory\n  give the name of a card file, or demo, or none\n": {"list", "--virtual", "--card", "none.yaml"},
		"pcsc: 17 readers; a service has at most 16\n  see pcsc help\n":                                               sixteen,
		"pcsc: the tour has a card of its own\n  leave --card away\n":                                                 {"demo", "--virtual", "--card", "demo"},
		"pcsc: the card file " + bad + " is not right:\n  " + bad + ":2:6: mf: no key \"idd\" (did you mean \"id\"?)\n  " + bad +
			":2:23: mf.efs[0]: \"id\" is missing\n": {"list", "--virtual", "--card", bad},
	} {
		r := start(t.Context(), env{}, "", args...)
		require.Equal(t, exitUsage, r.exit, args)
		require.Equal(t, want, r.stderr)
	}
	r := start(t.Context(), env{}, "", "list", "--json", "--card", "demo")
	require.Equal(t, exitUsage, r.exit)
	require.Contains(t, r.stdout, "--card goes with --virtual, or with pcsc serve")
}
