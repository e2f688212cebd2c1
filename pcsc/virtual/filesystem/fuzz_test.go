package filesystem_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

// What a fuzzed session has besides APDUs, each of which comes after its length in two bytes.
const (
	fuzzReset = 0xFF00 + iota
	fuzzT0
	fuzzT1
)

// session is a fuzzed session from lines as in the other tests.
func session(t testing.TB, script string) (b []byte) {
	for line := range strings.Lines(script) {
		command, _, _ := strings.Cut(line, ":")
		apdu := unhex(t, strings.TrimSpace(command))
		b = append(b, byte(len(apdu)>>8), byte(len(apdu)))
		b = append(b, apdu...)
	}
	return b
}

func FuzzCard(f *testing.F) {
	f.Add(session(f, `00A4080C 02 5000
		00200001 04 31323334
		00B20114 00
		00DC0114 02 0000
		00E20020 01 04
		00B20102 00
		00D68105 01 21
		00B08100 00`))
	f.Add(append([]byte{0xFF, 0x01}, session(f, `00A40400 01 F0
		00C00000 10
		00C00000 00
		00A40403 01 F0 00
		00CB3FFF 05 5C035F2081 00
		00B12F03 03 540100 00
		00D72F03 07 540110 5302 0000`)...))
	f.Add(session(f, `10A4040C 03 F0676F
		00A4040C 04 70637363
		00240001 08 31323334 35363738
		002C0001 0C 3132333435363738 34333231
		00240101 04 31323334
		002C0202 04 6161FFFF
		00840000 000000
		00CA5F20 000001
		00700000 01`))
	f.Fuzz(func(t *testing.T, data []byte) {
		card := newCard(t)
		for len(data) >= 2 {
			n := int(data[0])<<8 | int(data[1])
			data = data[2:]
			switch n {
			case fuzzReset:
				card.Reset()
				continue
			case fuzzT0, fuzzT1:
				card.SetProtocol(winscard.Protocol(n-fuzzT0) + winscard.ProtocolT0)
				continue
			}
			n = min(n, len(data))
			apdu := slices.Clone(data[:n])
			before := bytes.Clone(apdu)
			response, err := card.Transmit(apdu)
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(response), 2)
			require.Contains(t, []byte{0x61, 0x62, 0x63, 0x65, 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x90}, response[len(response)-2])
			cmd, err := iso7816.ParseCommand(apdu)
			if err != nil {
				cmd.Ne = 0
			}
			require.LessOrEqual(t, len(response)-2, cmd.Ne)
			require.Equal(t, before, apdu)
			for i := range apdu { // the card must not keep it
				apdu[i] ^= 0xFF
			}
			data = data[n:]
		}
		looksSound(t, card)
	})
}

// looksSound checks what no command can change.
func looksSound(t *testing.T, card *filesystem.Card) {
	for reference, most := range map[byte]int{0x01: 3, 0x02: 1, 0x81: 3} {
		tries, ok := card.Tries(reference, 0x5000)
		require.True(t, ok)
		require.True(t, 0 <= tries && tries <= most)
	}
	for _, size := range []struct {
		path               []uint16
		least, most, bytes int // how many records, and how many bytes they have at most
	}{
		{[]uint16{0x2F02}, 1, 1, 13}, {[]uint16{0x2F03}, 1, 1, 300}, {[]uint16{0x5000, 0x5001}, 1, 1, 16},
		{[]uint16{0x5000, 0x5002}, 3, 4, 2}, {[]uint16{0x5000, 0x5003}, 2, 254, 5}, {[]uint16{0x5000, 0x5004}, 3, 3, 1},
	} {
		contents, ok := card.Contents(size.path...)
		require.True(t, ok)
		require.True(t, size.least <= len(contents) && len(contents) <= size.most)
		for _, c := range contents {
			require.LessOrEqual(t, len(c), size.bytes)
		}
	}
	contents, _ := card.Contents(0x5000, 0x5005)
	require.Len(t, contents[0], 5)
	require.NotNil(t, contents)
}
