package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const demoATR = "3B8B8001676F706373632064656D6F22"

func TestATR(t *testing.T) {
	service := virtual.New()
	service.Stop() // it is not needed
	want := start(t.Context(), on(service), "", "atr", demoATR)
	require.Equal(t, exitOK, want.exit, want.stderr)
	require.Contains(t, want.stdout, "Answer to reset: 3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22\nTS   3B  direct convention\n")
	require.Contains(t, want.stdout, "TCK  22  check byte, correct\nProtocols: T=0 T=1;")
	for _, args := range [][]string{
		{strings.ToLower(demoATR)},
		{"3B:8B:80:01:67:6F:70:63:73:63:20:64:65:6D:6F:22"},
		{"3B 8B 8001 676F70637363 2064656D6F22"},
		strings.Fields("3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22"),
	} {
		require.Equal(t, want, start(t.Context(), on(service), "", append([]string{"atr"}, args...)...), args)
	}

	var got atrReport
	r := start(t.Context(), on(service), "", "atr", "--json", demoATR)
	require.Equal(t, exitOK, r.exit)
	r.decode(t, &got)
	require.Equal(t, atrReport{
		ATR:             demoATR,
		Convention:      "direct convention",
		Protocols:       []string{"T=0", "T=1"},
		DefaultProtocol: "T=0",
		Rate:            jsonRate{372, 1, 5_000_000},
		IFSC:            32,
		Historical:      "676F706373632064656D6F",
		Contactless:     "contactless card with APDUs (ISO/IEC 14443-4)",
		Warnings:        []jsonWarning{},
		Explanation:     strings.Split(strings.TrimSpace(want.stdout), "\n"),
	}, got)

	got = atrReport{}
	r = start(t.Context(), on(service), "", "atr", "--json", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 01 00 00 00 00 6B")
	require.Equal(t, exitOK, r.exit)
	r.decode(t, &got)
	require.Contains(t, got.StorageCard, "MIFARE Classic 1K")
	require.Len(t, got.Warnings, 1, "wrong TCK")
	require.Equal(t, 19, got.Warnings[0].Offset)
}

func TestATRIncomplete(t *testing.T) {
	for _, digits := range []string{"3BFD13000081", "4B80", "0000", "3B8B8001"} {
		r := start(t.Context(), env{}, "", "atr", digits)
		require.Equal(t, exitError, r.exit, digits)
		require.Regexp(t, `^pcsc: the answer to reset can't be read to the end: byte \d+: .+\n$`, r.stderr)
		require.Contains(t, r.stdout, "Answer to reset: ")
		var got atrReport
		j := start(t.Context(), env{}, "", "atr", "--json", digits)
		require.Equal(t, exitError, j.exit)
		j.decode(t, &got)
		require.Equal(t, digits, got.ATR)
		require.Equal(t, strings.Split(strings.TrimSpace(r.stdout), "\n"), got.Explanation)
		require.Equal(t, exitError, got.Error.Exit)
	}
}

func TestATRReader(t *testing.T) {
	service, reader, _ := withDemoCard()
	want := start(t.Context(), on(service), "", "atr", demoATR)
	for _, args := range [][]string{{}, {"1"}, {"demo"}, {reader.Name()}} {
		require.Equal(t, want, start(t.Context(), on(service), "", append([]string{"atr"}, args...)...), args)
	}
	var got atrReport
	start(t.Context(), on(service), "", "atr", "--json").decode(t, &got)
	require.Equal(t, reader.Name(), got.Reader)
	require.Equal(t, demoATR, got.ATR)

	fails := func(exit int, want string, args ...string) {
		t.Helper()
		r := start(t.Context(), on(service), "", append([]string{"atr"}, args...)...)
		require.Equal(t, exit, r.exit)
		require.Empty(t, r.stdout)
		require.Contains(t, r.stderr, want)
	}
	fails(exitNoCard, `there is no card in the reader "Empty Reader 00 00"`, "0")
	fails(exitNoReader, "no reader has the index 10; the highest is 1", "10") // digits, but an index
	fails(exitNoReader, `no reader's name is or contains "122"`, "122")
	fails(exitUsage, "the number of hexadecimal digits is odd", "3B800")
	fails(exitUsage, `argument 1, "Demo", is not hexadecimal digits`, "Demo", "Reader")
	fails(exitUsage, "the reader's name is empty", "")
	reader.Insert(virtual.NewCard([]byte{}, nil))
	fails(exitNoCard, `the card in the reader "Demo Reader 01 00" does not answer`)
	reader.Remove()
	fails(exitNoCard, "no reader has a card")
	reader.Insert(virtual.NewDemoCard())
	service.AddReader("Third").Insert(virtual.NewDemoCard())
	fails(exitNoReader, "there are 3 readers")
	service.Stop()
	fails(exitNoService, pcsc.ErrNoService.Error(), "1")
	service = virtual.New()
	fails(exitNoReader, "there is no reader")
}

func FuzzParseATR(f *testing.F) {
	f.Add("3B 80", "x")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, args := range [][]string{{a}, {a, b}} {
			answer, err := parseATR(args)
			require.False(t, answer != nil && err != nil)
		}
	})
}
