package iso7816_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

// unhex reads hexadecimal digits with blanks; "xx*n" is a byte n times.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var out []byte
	for _, part := range strings.Fields(text) {
		digits, count, repeated := strings.Cut(part, "*")
		b, err := hex.DecodeString(digits)
		require.NoError(t, err, part)
		n := 1
		if repeated {
			_, err := fmt.Sscan(count, &n)
			require.NoError(t, err, part)
		}
		out = append(out, bytes.Repeat(b, n)...)
	}
	return out
}

// The cases of ISO/IEC 7816-3, decoding conventions for command APDUs.
func TestCommandCases(t *testing.T) {
	data := func(n int) []byte { return bytes.Repeat([]byte{0xDA}, n) }
	for name, c := range map[string]struct {
		apdu string
		want iso7816.Command
	}{
		"1":          {"00 44 00 00", iso7816.Command{INS: 0x44}},
		"2S":         {"0C B0 81 02 10", iso7816.Command{CLA: 0x0C, INS: 0xB0, P1: 0x81, P2: 2, Ne: 16}},
		"2S all":     {"00 B0 00 00 00", iso7816.Command{INS: 0xB0, Ne: 256}},
		"2S most":    {"00 B0 00 00 FF", iso7816.Command{INS: 0xB0, Ne: 255}},
		"3S":         {"00 A4 00 0C 02 3F 00", iso7816.Command{INS: 0xA4, P2: 0x0C, Data: []byte{0x3F, 0}}},
		"3S most":    {"00 D6 00 00 FF DA*255", iso7816.Command{INS: 0xD6, Data: data(255)}},
		"4S":         {"00 A4 04 00 02 A0 00 10", iso7816.Command{INS: 0xA4, P1: 4, Data: []byte{0xA0, 0}, Ne: 16}},
		"4S all":     {"00 88 00 00 01 DA 00", iso7816.Command{INS: 0x88, Data: data(1), Ne: 256}},
		"4S most":    {"00 88 00 00 FF DA*255 00", iso7816.Command{INS: 0x88, Data: data(255), Ne: 256}},
		"2E":         {"00 B0 00 00 00 01 01", iso7816.Command{INS: 0xB0, Ne: 257, Extended: true}},
		"2E all":     {"00 B0 00 00 00 00 00", iso7816.Command{INS: 0xB0, Ne: 65536, Extended: true}},
		"2E asked":   {"00 B0 00 00 00 00 10", iso7816.Command{INS: 0xB0, Ne: 16, Extended: true}},
		"3E":         {"00 D6 00 00 00 01 00 DA*256", iso7816.Command{INS: 0xD6, Data: data(256), Extended: true}},
		"3E asked":   {"00 D6 00 00 00 00 01 DA", iso7816.Command{INS: 0xD6, Data: data(1), Extended: true}},
		"3E most":    {"00 D6 00 00 00 FF FF DA*65535", iso7816.Command{INS: 0xD6, Data: data(65535), Extended: true}},
		"4E":         {"00 2A 9E 9A 00 01 2C DA*300 00 80", iso7816.Command{INS: 0x2A, P1: 0x9E, P2: 0x9A, Data: data(300), Ne: 128, Extended: true}},
		"4E by Ne":   {"00 2A 00 00 00 00 01 DA 10 00", iso7816.Command{INS: 0x2A, Data: data(1), Ne: 4096, Extended: true}},
		"4E longest": {"00 2A 00 00 00 FF FF DA*65535 00 00", iso7816.Command{INS: 0x2A, Data: data(65535), Ne: 65536, Extended: true}},
	} {
		t.Run(name, func(t *testing.T) {
			apdu := unhex(t, c.apdu)
			got, err := iso7816.ParseCommand(apdu)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			back, err := got.Bytes()
			require.NoError(t, err)
			require.Equal(t, apdu, back)

			back, err = got.Append([]byte("before"))
			require.NoError(t, err)
			require.Equal(t, append([]byte("before"), apdu...), back)

			if !strings.Contains(name, "asked") { // the form follows from the lengths
				got.Extended = false
				back, err = got.Bytes()
				require.NoError(t, err)
				require.Equal(t, apdu, back)
			}
		})
	}
	// There are no lengths that could be extended.
	apdu, err := iso7816.Command{INS: 0x44, Extended: true}.Bytes()
	require.NoError(t, err)
	require.Equal(t, unhex(t, "00 44 00 00"), apdu)
}

func TestParseCommandErrors(t *testing.T) {
	for apdu, want := range map[string]string{
		"":                              "0 bytes, the header alone has 4",
		"00 A4 04":                      "3 bytes, the header alone has 4",
		"00 A4 04 00 02 3F":             "Lc is 2, and what follows has 1 byte",
		"00 A4 04 00 02 3F 00 00 00":    "Lc is 2 and Le has 1 byte, and what follows Lc has 4 bytes",
		"00 A4 04 00 00 00":             "an extended length begins with 00 and has 2 more bytes, not 1",
		"00 A4 04 00 00 00 00 00":       "extended Lc is 0, and what follows has 1 byte",
		"00 A4 04 00 00 00 00 01 00":    "extended Lc is 0, and what follows has 2 bytes",
		"00 A4 04 00 00 00 02 3F":       "extended Lc is 2, and what follows has 1 byte",
		"00 A4 04 00 00 00 02 3F 00 00": "extended Lc is 2 and Le has 2 bytes, and what follows Lc has 3 bytes",
		"00 A4 04 00 00 00 02 3F 00*4":  "extended Lc is 2 and Le has 2 bytes, and what follows Lc has 5 bytes",
	} {
		c, err := iso7816.ParseCommand(unhex(t, apdu))
		require.EqualError(t, err, "iso7816: invalid command: "+want, apdu)
		require.ErrorIs(t, err, iso7816.ErrInvalidCommand)
		require.Zero(t, c)
	}
}

func TestEncodeErrors(t *testing.T) {
	for want, c := range map[string]iso7816.Command{
		"65536 bytes of data, an APDU holds at most 65535":     {Data: make([]byte, 65536)},
		"Ne is 65537, an APDU can ask for at most 65536 bytes": {Ne: 65537},
		"Ne is -1, at least 0 is wanted":                       {Ne: -1},
	} {
		b, err := c.Append([]byte{1, 2})
		require.EqualError(t, err, "iso7816: invalid command: "+want)
		require.ErrorIs(t, err, iso7816.ErrInvalidCommand)
		require.Equal(t, []byte{1, 2}, b)
		b, err = c.Bytes()
		require.Error(t, err)
		require.Nil(t, b)
	}
}

// What is parsed refers to the APDU, and appending to it does not overwrite what follows.
func TestParseCommandShares(t *testing.T) {
	apdu := unhex(t, "00 88 00 00 02 01 02 10")
	c, err := iso7816.ParseCommand(apdu)
	require.NoError(t, err)
	apdu[5] = 9
	require.Equal(t, []byte{9, 2}, c.Data)
	_ = append(c.Data, 7)
	require.Equal(t, byte(0x10), apdu[7])
}

func TestCommandString(t *testing.T) {
	for want, c := range map[string]iso7816.Command{
		"00A40400 SELECT Nc=7 Ne=256":          {INS: 0xA4, P1: 4, Data: make([]byte, 7), Ne: 256},
		"00440000":                             {INS: 0x44},
		"80CA0000 Ne=16":                       {CLA: 0x80, INS: 0xCA, Ne: 16}, // proprietary: INS means anything
		"01B00000 READ BINARY Ne=257 extended": {CLA: 1, INS: 0xB0, Ne: 257},
	} {
		require.Equal(t, want, c.String())
	}
}

// Whatever a program does to print a command or response, it does not see the PIN.
func TestNothingPrintsData(t *testing.T) {
	verify, err := iso7816.Verify(1, []byte("SECRET"))
	require.NoError(t, err)
	response := iso7816.Response{Data: []byte("SECRET"), SW: 0x9000}
	var logged bytes.Buffer
	text, asJSON := slog.New(slog.NewTextHandler(&logged, nil)), slog.New(slog.NewJSONHandler(&logged, nil))
	for _, v := range []any{verify, &verify, response, &response} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%t"} {
			fmt.Fprintf(&logged, verb+"\n", v)
		}
		text.Info("text", "value", v)
		asJSON.Info("json", "value", v)
	}
	require.NotEmpty(t, logged.String())
	for _, form := range []string{"SECRET", "534543", "83 69 67", "0x53", "U0VDUkVU", "1010011"} {
		require.NotContains(t, logged.String(), form)
	}
	require.Contains(t, logged.String(), "00200001 VERIFY Nc=6")
	require.Contains(t, logged.String(), "6 bytes, success (9000)")
}

func FuzzParseCommand(f *testing.F) {
	for _, seed := range []string{
		"", "00A40400", "00B0000000", "00A4000C023F00", "00A4040002A00010", "00B00000000101", "00D6000000000101",
		"002A0000000001DA1000", "00A404000000", "00A40400000000000000",
	} {
		b, _ := hex.DecodeString(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, apdu []byte) {
		c, err := iso7816.ParseCommand(apdu)
		if err != nil {
			require.ErrorIs(t, err, iso7816.ErrInvalidCommand)
			return
		}
		back, err := c.Bytes()
		require.NoError(t, err)
		require.Equal(t, apdu, back)
	})
}
