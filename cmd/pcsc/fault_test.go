package main

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestFault(t *testing.T) {
	const choose, name = "00A4040007F0676F70637363", "00CA5F2000"
	two := []string{"--card", "demo", "--card", "demo", "--fault"}
	for _, test := range []struct {
		args []string
		exit int
	}{
		{[]string{"apdu", "0", choose}, exitOK},
		{[]string{"--fault", "pull-card", "apdu", "0", choose}, exitNoCard},
		{[]string{"--fault", "answer 6F00 apdu 00A4", "apdu", "0", choose}, exitStatusWord},
		{[]string{"--fault", "fail SCARD_E_NO_SERVICE on EstablishContext", "list"}, exitNoService},
		{[]string{"--fault", "comm-error nth 3", "apdu", "0", choose, name}, exitOK},
		{[]string{"--fault", "comm-error nth 2", "apdu", "0", choose, name}, exitNoService},
		// In one reader alone, and several together.
		{append(two, "1: pull-card", "apdu", "0", choose), exitOK},
		{append(two, "1: pull-card", "apdu", "1", choose), exitNoCard},
		{append(two, "delay 1ms always", "--fault", "1:answer 6A82 nth 2", "apdu", "1", choose, name), exitStatusWord},
	} {
		r := start(t.Context(), env{}, "", append([]string{"--virtual"}, test.args...)...)
		require.Equal(t, test.exit, r.exit, "%v: %s%s", test.args, r.stdout, r.stderr)
	}
}

func TestFaultUsage(t *testing.T) {
	const todo = "\n  say what is to go wrong and when, as in --fault \"pull-card nth 3\" or --fault \"1: delay 5s always\"\n"
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "--fault", "pull-card"}, "pcsc: --fault goes with --virtual, or with pcsc serve\n  see pcsc help\n"},
		{[]string{"demo", "--virtual", "--fault", "pull-card"}, "pcsc: nothing is to go wrong on the tour\n  leave --fault away\n"},
		{[]string{"list", "--virtual", "--fault", "pull-card nth 0"}, `pcsc: --fault: fault "pull-card nth 0": nth: "0" is no number from 1 on` + todo},
		{[]string{"list", "--virtual", "--fault", "0: delay soon"}, `pcsc: --fault: fault "delay soon": delay: "soon" is no time such as 5s` + todo},
		{[]string{"list", "--virtual", "--fault", "1: pull-card"}, `pcsc: --fault: "1: pull-card": "1" is not the number of a reader; they have 0 to 0` + todo},
		{[]string{"list", "--virtual", "--fault", "-1: pull-card"}, `pcsc: --fault: "-1: pull-card": "-1" is not the number of a reader; they have 0 to 0` + todo},
		{[]string{serveName, "--fault", "x: pull-card"}, `pcsc: --fault: "x: pull-card": "x" is not the number of a reader; they have 0 to 0` + todo},
		{[]string{serveName, "--fault", "delay"}, `pcsc: --fault: fault "delay": delay needs a time such as 5s` + todo},
	} {
		r := start(t.Context(), env{}, "", test.args...)
		require.Equal(t, exitUsage, r.exit, test.args)
		require.Equal(t, test.want, r.stderr)
	}
}

// The help names whatever there is.
func TestFaultHelp(t *testing.T) {
	word := regexp.MustCompile(`[a-z]+(-[a-z]+)*`)
	for text, names := range map[string]*regexp.Regexp{
		"explode":       regexp.MustCompile(`is none of (.*)`),
		"pull-card now": regexp.MustCompile(`is no condition: (.*) are`),
	} {
		_, err := virtual.ParseFault(text)
		require.Error(t, err)
		found := names.FindStringSubmatch(err.Error())
		require.Len(t, found, 2)
		for _, name := range word.FindAllString(found[1], -1) {
			require.Contains(t, faultWords, name)
		}
	}
	require.Contains(t, start(t.Context(), env{}, "", serveName, "--help").stdout, faultWords)
}
