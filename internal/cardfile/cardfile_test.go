package cardfile

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// files are those that card files of the tests name.
func files(name string) ([]byte, error) {
	switch name {
	case "hello.txt":
		return []byte("hello"), nil
	case "card.txt":
		return []byte("00B00000: 9000\n"), nil
	case "bad.txt":
		return []byte("00B00000: 9000\n00B0000: 9000\n\nx\n"), nil
	}
	return nil, errors.New("no " + name)
}

func run(t *testing.T, card virtual.Card, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		command, want, _ := strings.Cut(strings.TrimSpace(line), ": ")
		apdu, err := hex.DecodeString(command)
		require.NoError(t, err)
		got, err := card.Transmit(apdu)
		require.NoError(t, err)
		require.Equal(t, want, strings.ToUpper(hex.EncodeToString(got)), line)
	}
}

func TestKinds(t *testing.T) {
	for text, script := range map[string]string{
		"kind: demo":                             "00A4040007F0676F70637363: 9000",
		"kind: files\nmf: {}\natr: 3B 00":        "00A4000C: 9000\n00A4000000: 6C0C",
		"kind: script\nscript: '00B00000: 9000'": "00B00000: 9000",
		"kind: script\natr: 3B 00\nscript: |\n  atr: 3B 01 02\n  00B00000: 9000\n": "00B00000: 9000",
		"recording: card.txt\nkind: recording":                                     "00B00000: 9000",
		`
kind: files
short_only: true
mf:
  id: 3F00
  pins:
    - {reference: 01, value: 0123, tries: 2, puk: 99999999, puk_tries: 1, min_length: 2, max_length: 5, unblock: never}
    - {reference: 02, hex: 0A 0B, length: 4, pad: FF, puk_hex: 01}
    - {reference: 81, value: "1e10"}
  data:
    - {tag: 5F20, text: Ada, read: 01 and 81}
    - {tag: 81, hex: "0102"}
  efs:
    - {id: 2F02, sfi: 2, file: hello.txt, size: 10, update: 01 or 02, control: 6F 00}
    - {id: 2010, structure: linear variable, records: [AA BB, text: C, file: hello.txt, 1010], record_size: 6, max_records: 7, read: never}
    - {id: 1e10, sfi: 3, structure: cyclic, records: ["0001", 0002]}
  dfs:
    - name: A0 00 00 00 01
      dfs: [{id: 5000, name: A0}]`: `00200001023031: 63C1
002000010430313233: 9000
00200001: 9000
00CA5F2000: 6982
00200081041E101E10: 63C2
002000810431653130: 9000
00CA5F2000: 4164619000
00200002040A0BFFFF: 9000
00CA008102: 01029000
00CA0081000000: 6700
00A40000022F0200: 6F009000
00B000000A: 68656C6C6F00000000009000
00D682000148: 9000
00A4020C022010: 9000
00B2010400: 6982
00B2011D00: 000100029000
00A4040C05A000000001: 9000
00A4010C025000: 9000`,
	} {
		card, err := parse("card.yaml", []byte(text), files)
		require.NoError(t, err, text)
		run(t, card, script)
		if strings.Contains(text, "atr: 3B 00") {
			require.Equal(t, []byte{0x3B, 0x00}, card.(virtual.ATRer).ATR())
		}
		if r, ok := card.(virtual.Resetter); ok && strings.Contains(text, "B0") {
			r.Reset()
			run(t, card, script) // which begins anew
		}
	}
}

func TestFaults(t *testing.T) {
	const mf = "kind: files\nmf:\n  "
	for text, want := range map[string]string{
		"":                                   "card.yaml:1:1: the file is empty: describe a card, beginning with its kind",
		"- demo":                             "card.yaml:1:1: wanted a mapping, found a list",
		"kind: [":                            "card.yaml:2:1: YAML: while parsing a flow node: did not find expected node content",
		"kind: \xff":                         "card.yaml:1:7: byte 0xFF is not UTF-8: save the file as UTF-8",
		"kind: demo\n---\nkind: demo":        "card.yaml:2:1: a second document: put it in a file of its own, or remove the ---",
		"atr: 3B 00":                         `card.yaml:1:1: "kind" is missing: "demo", "files", "recording" or "script"`,
		"kind: dmeo":                         `card.yaml:1:7: kind: wanted "demo", "files", "recording" or "script", found the text "dmeo" (did you mean "demo"?)`,
		"kind: [demo]":                       `card.yaml:1:7: kind: wanted "demo", "files", "recording" or "script", found a list`,
		"kind: demo\nkind: demo":             `card.yaml:2:1: key "kind" is already given in line 1: keep one`,
		"kind: demo\natr: 3B 00":             `card.yaml:2:1: no key "atr": the keys are kind`,
		"kind: demo\n? [a]\n: b":             `card.yaml:2:3: no key "": the keys are kind`,
		"kind: &a demo":                      `card.yaml:1:7: kind: YAML anchors are not allowed: remove "&a"`,
		"kind: files":                        `card.yaml:1:1: "mf" is missing`,
		"kind: files\nmf:":                   "card.yaml:2:4: mf: has no value: give one, or remove the key",
		"kind: files\nmf: 1":                 "card.yaml:2:5: mf: wanted a mapping, found the number 1",
		"kind: files\nmf: {}\natr: 3B":       "card.yaml:3:6: atr: has 1 bytes, 2 to 33 are allowed",
		"kind: files\nmf: {}\natr: 3":        `card.yaml:3:6: atr: wanted bytes in hexadecimal, such as 3F 00, found the number 3`,
		"kind: files\nmf: {}\natr: [3B]":     "card.yaml:3:6: atr: wanted text, found a list",
		"kind: files\nmf: {}\nshort_only: 1": "card.yaml:3:13: short_only: wanted true or false, found the number 1",
		mf + "idd: 3F00":                     `card.yaml:3:3: mf: no key "idd" (did you mean "id"?)`,
		mf + "id: 3F01":                      "card.yaml:3:7: mf.id: is 3F01, the master file is 3F00",
		mf + "id: 3F":                        `card.yaml:3:7: mf.id: wanted 4 hexadecimal digits, found the text "3F"`,
		mf + "id: 0x3F":                      `card.yaml:3:7: mf.id: wanted 4 hexadecimal digits, found the number 0x3F`,
		mf + "efs: {}":                       "card.yaml:3:8: mf.efs: wanted a list, found a mapping",
		mf + "efs: [1]":                      "card.yaml:3:9: mf.efs[0]: wanted a mapping, found the number 1",
		mf + "efs: [&a {id: 2F02}, *a]":      "card.yaml:3:9: mf.efs[0]: YAML anchors are not allowed: remove \"&a\"\ncard.yaml:3:24: mf.efs[1]: YAML aliases are not allowed: write the value out",
		mf + "efs: [{}]":                     `card.yaml:3:9: mf.efs[0]: "id" is missing`,
		mf + "efs: [{id: 2F02, sfi: 2}, {id: 2F03, sfi: 2}]":             "card.yaml:3:45: mf.efs[1].sfi: 2 is also that of another file in the same DF",
		mf + "efs: [{id: 2F02, sfi: 31}]":                                "card.yaml:3:25: mf.efs[0].sfi: is 31, 1 to 30 are allowed, and 0 is none",
		mf + "efs: [{id: 2F02, sfi: 258}]":                               "card.yaml:3:25: mf.efs[0].sfi: is 258, 1 to 30 are allowed, and 0 is none",
		mf + "efs: [{id: 2F02, sfi: 1F}]":                                `card.yaml:3:25: mf.efs[0].sfi: wanted a decimal number, found the text "1F"`,
		mf + "efs: [{id: 2F02, size: '1'}]":                              `card.yaml:3:26: mf.efs[0].size: wanted a decimal number, found the text "1"`,
		mf + "efs: [{id: 2F02, hex: 00, text: a}]":                       "card.yaml:3:35: mf.efs[0].text: hex is given too: keep one",
		mf + "efs: [{id: 2F02, file: other}]":                            "card.yaml:3:26: mf.efs[0].file: no other",
		mf + "efs: [{id: 2F02, file: []}]":                               "card.yaml:3:26: mf.efs[0].file: wanted text, found a list",
		mf + "efs: [{id: 2F02, text: ab, size: 1}]":                      "card.yaml:3:36: mf.efs[0].size: is 1, 2 to 65535 are allowed",
		mf + "efs: [{id: 2F02, structure: cylic, records: [00]}]":        `card.yaml:3:31: mf.efs[0].structure: wanted "cyclic", "linear fixed", "linear variable" or "transparent", found the text "cylic" (did you mean "cyclic"?)`,
		mf + "efs: [{id: 2F02, structure: cyclic, records: [00, 0000]}]": "card.yaml:3:49: mf.efs[0].records[0]: has 1 bytes, all records of the file have 2",
		mf + "efs: [{id: 2F02, structure: cyclic, records: [{txt: a}]}]": `card.yaml:3:50: mf.efs[0].records[0]: no key "txt" (did you mean "text"?)`,
		mf + "efs: [{id: 2F02, structure: linear fixed}]":                "card.yaml:3:9: mf.efs[0]: is missing, and there is no record to take it from",
		mf + "efs: [{id: 2F02, read: 01}]":                               "card.yaml:3:26: mf.efs[0].read: there is no PIN 01 here",
		mf + "efs: [{id: 2F02, read: 1}]":                                `card.yaml:3:26: mf.efs[0].read: wanted "always", "never" or references of PINs, such as 01, "01 and 81" or "01 or 81", found the number 1`,
		mf + "efs: [{id: 2F02, read: 01 and 02 or 03}]":                  `card.yaml:3:26: mf.efs[0].read: wanted "always", "never" or references of PINs, such as 01, "01 and 81" or "01 or 81", found the text "01 and 02 or 03"`,
		mf + "efs: [{id: 2F02, read: 01 and}]":                           `card.yaml:3:26: mf.efs[0].read: wanted "always", "never" or references of PINs, such as 01, "01 and 81" or "01 or 81", found the text "01 and"`,
		mf + "efs: [{id: 2F02, read: ''}]":                               `card.yaml:3:26: mf.efs[0].read: wanted "always", "never" or references of PINs, such as 01, "01 and 81" or "01 or 81", found the text ""`,
		mf + "dfs: [{}]":                                                 "card.yaml:3:9: mf.dfs[0]: is missing, and so is a name to select it by",
		mf + "dfs: [{id: 5000, dfs: [{id: 3F00}]}]":                      "card.yaml:3:31: mf.dfs[0].dfs[0].id: 3F00 is reserved",
		mf + "pins: [{reference: 01}]":                                   "card.yaml:3:10: mf.pins[0]: has 0 bytes, 1 to 64 are allowed",
		mf + "pins: [{value: 1}]":                                        `card.yaml:3:10: mf.pins[0]: "reference" is missing`,
		mf + "data: [{tag: 5F2, hex: 00}]":                               `card.yaml:3:16: mf.data[0].tag: wanted 2, 4, 6, 8 hexadecimal digits, found the text "5F2"`,
		"kind: script":                                                   `card.yaml:1:1: "script" is missing`,
		"kind: script\nscript: [a]":                                      "card.yaml:2:9: script: wanted text, found a list",
		"kind: script\natr: 00\nscript: '*: 9000'":                       "card.yaml:2:6: atr: has 1 bytes, 2 to 33 are allowed",
		"kind: script\nscript: |\n  # one\n  00B0000: 9000\n":            `card.yaml:4:1: script: command: "0" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)`,
		"kind: script\nscript: '00B0000: 9000'":                          `card.yaml:2:9: script: command: "0" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)`,
		"kind: recording":                                                `card.yaml:1:1: "recording" is missing`,
		"kind: recording\nrecording: other":                              "card.yaml:2:12: recording: no other",
		"kind: recording\nrecording: bad.txt": `bad.txt:2:1: command: "0" is not two hexadecimal digits, ?? (any byte), or * at the end (any rest)
bad.txt:4:1: no ":" between command and answer`,
		mf + "efs: [{id: x, sfi: y}]": `card.yaml:3:14: mf.efs[0].id: wanted 4 hexadecimal digits, found the text "x"
card.yaml:3:22: mf.efs[0].sfi: wanted a decimal number, found the text "y"`,
	} {
		t.Run(text, func(t *testing.T) {
			card, err := parse("card.yaml", []byte(text), files)
			require.EqualError(t, err, want)
			require.Nil(t, card)
		})
	}
}

func TestLoad(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorIs(t, err, os.ErrNotExist)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "card.yaml"), []byte("kind: recording\nrecording: card.txt"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "card.txt"), []byte("00B00000: 9000"), 0o600))
	card, err := Load(filepath.Join(dir, "card.yaml"))
	require.NoError(t, err)
	run(t, card, "00B00000: 9000")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "card.yaml"), []byte("kind: recording\nrecording: "+filepath.Join(dir, "card.txt")), 0o600))
	_, err = Load(filepath.Join(dir, "card.yaml"))
	require.NoError(t, err)
}

// The cards of the examples do what they say.
func TestExamples(t *testing.T) {
	scripts := map[string]string{
		"id.yaml": `00A4040C07F0676F70637363: 9000
00CA5F2000: 416461204C6F76656C6163659000
00B0810003: 4164619000
00B0820003: 6982
002000010431323334: 9000
00B0820003: 3132209000
00E200180200FF: 9000
00B2011D00: 00FF000000009000`,
		"script.yaml":    "00A4040007F0676F7063736300: 9000\n00CA5F2000: 4164619000",
		"recording.yaml": "00A4040007F0676F70637363: 9000\n002000010431323334: 9000",
	}
	names, err := filepath.Glob("../../examples/cards/*.yaml")
	require.NoError(t, err)
	require.Len(t, names, len(scripts))
	for _, name := range names {
		card, err := Load(name)
		require.NoError(t, err)
		require.Contains(t, scripts, filepath.Base(name))
		run(t, card, scripts[filepath.Base(name)])
	}
}

// Whatever a file holds, there is a card, or faults that have a position and stand on one line each.
func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("../../examples/cards/*.yaml")
	require.NoError(f, err)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte("kind: files\nmf: {efs: [{id: 2F02, records: [{text: a}], read: 01 or 02}], pins: [{reference: 01, hex: 00}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		card, err := parse("fuzz.yaml", data, files)
		if err == nil {
			response, err := card.Transmit([]byte{0x00, 0xA4, 0x00, 0x00})
			require.True(t, err != nil || len(response) >= 0)
			return
		}
		var faults Faults
		require.ErrorAs(t, err, &faults)
		for _, fault := range faults {
			require.NotEmpty(t, fault.Msg)
			require.NotContains(t, fault.Error(), "\n")
			require.Positive(t, fault.Line, fault.Error())
			require.Positive(t, fault.Col, fault.Error())
		}
	})
}
