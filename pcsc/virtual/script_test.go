package virtual_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// tb is a test that a card fails.
type tb struct {
	failures []string
	fatal    bool
	cleanups []func()
}

func (t *tb) Helper() {}
func (t *tb) Errorf(format string, args ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}
func (t *tb) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }
func (t *tb) Fatalf(format string, args ...any) {
	t.fatal = true
	t.Errorf(format, args...)
}

func (t *tb) end() {
	for _, f := range t.cleanups {
		f()
	}
}

const selectVerify = `
	atr: 3B 80 80 01 01
	00A40400 07 F0676F70637363: 9000 # the application

	00200001 04 31323334: 63C2
	00200001 *: 9000
	00CA???? 00: 41 64 61 9000
	0084: error 0x80100069
`

func TestScript(t *testing.T) {
	var inner tb
	card := virtual.NewScript(&inner, selectVerify)
	require.Error(t, card.Err())
	s, r := setup(t, card)
	_, c := connect(t, s, r, shared)
	for _, step := range [][2]string{
		{selectDemo, "9000"},
		{"002000010431323334", "63c2"},
		{"0020000101FF", "9000"},
		{"00CA5F2000", "4164619000"},
	} {
		require.Equal(t, step[1], demoCommand(t, s, c, step[0]))
	}
	_, _, _, _, rc := s.Status(c, nil, make([]byte, 33))
	ok(t, rc)
	require.Equal(t, []byte{0x3B, 0x80, 0x80, 0x01, 0x01}, card.ATR())
	_, rc = s.Transmit(c, t1, []byte{0x00, 0x84}, make([]byte, 258))
	want(t, winscard.ErrRemovedCard, rc)
	require.NoError(t, card.Err())
	inner.end()
	require.Empty(t, inner.failures)
}

func transmitAll(card virtual.Card, commands ...string) {
	for _, c := range commands {
		_, _ = card.Transmit([]byte(c))
	}
}

func TestScriptFailures(t *testing.T) {
	for _, test := range []struct {
		name, script string
		commands     []string
		want         []string
		opts         []virtual.ScriptOption
	}{
		{
			name: "another command", script: "00A40400 07 F0676F70637363 00: 9000",
			commands: []string{"\x00\xA4\x04\x00\x08\xF0gopcscX\x00"},
			want: []string{`virtual: the card got another command than its script has in line 1:
--- expected
+++ sent
@@ -1,4 +1,4 @@
 header 00 A4 04 00
-Lc     07
-data   F0 67 6F 70 63 73 63
+Lc     08
+data   F0 67 6F 70 63 73 63 58
 Le     00`, "virtual: the card did not get 1 of the 1 commands of its script:\n\tline 1: 00A40400 07F0676F7063736300"},
		},
		{
			name: "the right one comes after all", script: "00B0???? 04: 9000",
			commands: []string{"\x00\xB0\x00\x00\x05", "\x00\xB0\x01\x02\x04"},
			want: []string{`virtual: the card got another command than its script has in line 1:
--- expected
+++ sent
@@ -1,2 +1,2 @@
-header 00 B0 ?? ??
-Le     04
+header 00 B0 00 00
+Le     05`},
		},
		{
			name: "one too many", script: "00B00000: 9000",
			commands: []string{"\x00\xB0\x00\x00", "\x00\xB0\x00\x00"},
			want:     []string{"virtual: the card got a command after the end of its script: 00B00000"},
		},
		{
			name: "a PIN", script: "00200001 04 31323334: 9000",
			commands: []string{"\x00\x20\x00\x01\x044321"},
			want: []string{`virtual: the card got another command than its script has in line 1:
header 00 20 00 01
rest   masked
What follows the header may hold a PIN and is not shown; WithUnsafePINs shows it.`,
				"virtual: the card did not get 1 of the 1 commands of its script:\n\tline 1: 00200001 masked"},
		},
		{
			name: "a PIN, another reference", script: "00200001 04 31323334: 9000",
			commands: []string{"\x00\x20\x00\x02\x044321", "\x00\x20\x00\x01\x041234", "\x00\x20\x00\x01\x041234"},
			want: []string{`virtual: the card got another command than its script has in line 1:
--- expected
+++ sent
@@ -1,2 +1,2 @@
-header 00 20 00 01
+header 00 20 00 02
 rest   masked
What follows the header may hold a PIN and is not shown; WithUnsafePINs shows it.`,
				"virtual: the card got a command after the end of its script: 00200001 masked"},
		},
		{
			name: "a PIN, where none is expected", script: "00B00000: 9000",
			commands: []string{"\x00\x20\x00\x01\x041234", "\x20\x31", "\x00\xB0\x00\x00"},
			want: []string{`virtual: the card got another command than its script has in line 1:
--- expected
+++ sent
@@ -1 +1,2 @@
-header 00 B0 00 00
+header 00 20 00 01
+rest   masked
What follows the header may hold a PIN and is not shown; WithUnsafePINs shows it.`,
				`virtual: the card got another command than its script has in line 1:
--- expected
+++ sent
@@ -1 +1 @@
-header 00 B0 00 00
+rest   masked
What follows the header may hold a PIN and is not shown; WithUnsafePINs shows it.`},
		},
		{
			name: "a PIN that may be shown", script: "00200001 04 31323334: 9000", opts: []virtual.ScriptOption{virtual.WithUnsafePINs()},
			commands: []string{"\x00\x20\x00\x01\x044321", "\x00\x20\x00\x01\x041234", "\x00\x20\x00\x01\x041234"},
			want: []string{`virtual: the card got another command than its script has in line 1:
--- expected
+++ sent
@@ -1,3 +1,3 @@
 header 00 20 00 01
 Lc     04
-data   31 32 33 34
+data   34 33 32 31`, "virtual: the card got a command after the end of its script: 00200001 0431323334"},
		},
		{
			name: "an answer that was not recorded", script: "00C20000 masked: masked 9000",
			commands: []string{"\x00\xC2\x00\x00\x01\x00"},
			want: []string{"virtual: the answer to 00C20000 *, line 1, was not recorded since it may hold a PIN; record it " +
				"with WithUnsafePINs and a test card",
				"virtual: the card did not get 1 of the 1 commands of its script:\n\tline 1: 00C20000 *"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var inner tb
			card := virtual.NewScript(&inner, test.script, test.opts...)
			transmitAll(card, test.commands...)
			err := card.Err()
			inner.end()
			require.Equal(t, test.want, inner.failures)
			require.EqualError(t, err, strings.Join(inner.failures, "\n"))
			transmitAll(card, "\x00\xB0\x00\x00")
			require.Equal(t, test.want, inner.failures, "the test is over")
			if len(test.opts) == 0 {
				require.NotContains(t, err.Error(), "31 32 33 34")
				require.NotContains(t, err.Error(), "31323334")
			}
		})
	}
}

// A client in a loop does not fill the log.
func TestScriptFailuresAreLimited(t *testing.T) {
	var inner tb
	card := virtual.NewScript(&inner, strings.Repeat("00B00000: 9000\n", 20))
	for range 50 {
		transmitAll(card, "\x00\xB0\x00\x01")
	}
	require.Len(t, inner.failures, 10)
	inner.end()
	require.Len(t, inner.failures, 11)
	require.Equal(t, 11, strings.Count(inner.failures[10], "\n"))
}

func TestScriptText(t *testing.T) {
	for text, message := range map[string]string{
		"00B00000":                           `line 1: no ":" between command and answer`,
		"00B00000:":                          "line 1: answer: is missing; 9000 is success",
		": 9000":                             "line 1: command: is missing",
		"00B0000: 9000":                      `line 1: command: "0" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)`,
		"00B0 * 00: 9000":                    `line 1: command: "*" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)`,
		"00B00000: 9x":                       `line 1: answer: "9x" is not two hexadecimal digits`,
		"00B00000: ?? 9000":                  `line 1: answer: "??" is not two hexadecimal digits`,
		"00B00000: error":                    "line 1: answer: after error a code is wanted, such as SCARD_W_REMOVED_CARD or 0x80100069",
		"00B00000: error 0":                  "line 1: answer: after error a code is wanted, such as SCARD_W_REMOVED_CARD or 0x80100069",
		"00B00000: error 0x180100069":        "line 1: answer: after error a code is wanted, such as SCARD_W_REMOVED_CARD or 0x80100069",
		"atr: 3B8":                           `line 1: ATR: "8" is not two hexadecimal digits`,
		"atr: 3B 00\natr: 3B 00":             "line 2: the ATR is given once, before the first exchange",
		"00: 9000\natr: 3B 00":               "line 2: the ATR is given once, before the first exchange",
		"atr:":                               "line 1: the ATR has 0 bytes; 1 to 33 are allowed",
		"atr: " + strings.Repeat("3B", 34):   "line 1: the ATR has 34 bytes; 1 to 33 are allowed",
		"\n# comment\nx: 9000\n00: 9000\ny:": "line 3: command: \"x\" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)\nline 5: command: \"y\" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)",
	} {
		_, err := virtual.LoadScript(strings.NewReader(text))
		require.EqualError(t, err, "virtual: script that can't be read:\n"+message)
		var inner tb
		require.Nil(t, virtual.NewScript(&inner, text))
		require.True(t, inner.fatal)
	}
	card, err := virtual.LoadScript(strings.NewReader("\r\n00 b0 0000 :\t6a82\r\n*: 6D00"))
	require.NoError(t, err)
	require.Equal(t, []byte{0x3B, 0x80, 0x80, 0x01, 0x01}, card.ATR())
	response, err := card.Transmit([]byte{0x00, 0xB0, 0x00, 0x00})
	require.NoError(t, err)
	require.Equal(t, []byte{0x6A, 0x82}, response)
	response, err = card.Transmit([]byte{0x00})
	require.NoError(t, err)
	require.Equal(t, []byte{0x6D, 0x00}, response)
	require.NoError(t, card.Err())
}

func TestScriptRewinds(t *testing.T) {
	for _, rewind := range []bool{false, true} {
		var opts []virtual.ScriptOption
		if rewind {
			opts = append(opts, virtual.WithRewind())
		}
		card := virtual.NewScript(&tb{}, "00B00000: 9000\n00B00001: 9000", opts...)
		transmitAll(card, "\x00\xB0\x00\x00")
		card.Reset()
		response, err := card.Transmit([]byte{0x00, 0xB0, 0x00, 0x00})
		if !rewind {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []byte{0x90, 0x00}, response)
		require.NoError(t, card.Err(), "what was not sent does not matter")
	}
}

func TestScriptExpect(t *testing.T) {
	command, response := []byte{0x00, 0xB0, 0x00, 0x00}, []byte{0x90, 0x00}
	var inner tb
	card := virtual.NewScript(&inner, "").Expect(command, response).Expect(command, nil)
	command[0], response[0] = 1, 1
	got, err := card.Transmit([]byte{0x00, 0xB0, 0x00, 0x00})
	require.NoError(t, err)
	require.Equal(t, []byte{0x90, 0x00}, got)
	got[0] = 1
	inner.end()
	require.Equal(t, []string{"virtual: the card did not get 1 of the 2 commands of its script:\n\texchange 2: 00B00000"}, inner.failures)
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, bytes.ErrTooLarge }

func TestScriptUnreadable(t *testing.T) {
	_, err := virtual.LoadScript(badReader{})
	require.ErrorIs(t, err, bytes.ErrTooLarge)
	var inner tb
	require.Nil(t, virtual.NewPlayer(&inner, badReader{}))
	require.True(t, inner.fatal)
}
