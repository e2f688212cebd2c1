package filesystem_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/atr"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

// zeros is a source of random bytes that are all the same.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// config has a file of each structure and DFs within each other.
func config() filesystem.Config {
	return filesystem.Config{
		Random: zeros{},
		MF: filesystem.DF{
			PINs: []filesystem.PIN{
				{Reference: 0x01, Value: []byte("1234"), PUK: []byte("12345678"), MinLength: 4, MaxLength: 8},
				{Reference: 0x02, Value: []byte("so"), Tries: 1, Length: 4, Pad: 0xFF, Unblock: filesystem.Verified(0x01)},
			},
			Data: []filesystem.DataObject{{Tag: 0x5F20, Value: []byte("Ada")}, {Tag: 0x81, Value: []byte{1, 2}}},
			EFs: []filesystem.EF{
				{ID: 0x2F02, SFI: 2, Data: []byte("serial number")},
				{ID: 0x2F03, Data: long(300)},
				{ID: 0x2F04, SFI: 4},
			},
			DFs: []filesystem.DF{
				{
					ID: 0x5000, Name: []byte("\xF0gopcsc"),
					PINs: []filesystem.PIN{{Reference: 0x81, Value: []byte("99")}},
					Data: []filesystem.DataObject{{Tag: 0x5F42, Value: []byte("London"), Read: filesystem.Verified(0x01)}},
					EFs: []filesystem.EF{
						{ID: 0x5001, SFI: 1, Data: []byte("hello"), Size: 16, Update: filesystem.Verified(0x01)},
						{ID: 0x5002, SFI: 2, Structure: filesystem.LinearFixed, MaxRecords: 4, Read: filesystem.AnyVerified(0x01, 0x81),
							Records: [][]byte{{1, 0xAA}, {2, 0xBB}, {1, 0xCC}}},
						{ID: 0x5003, SFI: 3, Structure: filesystem.LinearVariable, RecordSize: 5, Records: [][]byte{{1}, {2, 2}}},
						{ID: 0x5004, SFI: 4, Structure: filesystem.Cyclic, Records: [][]byte{{3}, {2}, {1}}},
						{ID: 0x5005, SFI: 5, Data: []byte("never"), Read: filesystem.Never, Update: filesystem.Verified(0x01, 0x81)},
					},
					DFs: []filesystem.DF{{ID: 0x5100, EFs: []filesystem.EF{{ID: 0x5101, Data: []byte("deep")}}}},
				},
				{Name: []byte("\xF0gopcsc2")},
				{ID: 0x6000, Name: []byte("\xF0other"), Control: []byte{0x6F, 0x00}, EFs: []filesystem.EF{{ID: 0x6001, Control: []byte{0x62, 0x00}}}},
			},
		},
	}
}

func long(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func newCard(t testing.TB, change ...func(*filesystem.Config)) *filesystem.Card {
	t.Helper()
	c := config()
	for _, f := range change {
		f(&c)
	}
	card, err := filesystem.New(c)
	require.NoError(t, err)
	return card
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err, text)
	return b
}

// run sends the command of each line and compares the response; "reset" is one.
func run(t testing.TB, card *filesystem.Card, script string) {
	t.Helper()
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if line == "reset" {
			card.Reset()
			continue
		}
		command, want, ok := strings.Cut(line, ":")
		require.True(t, ok, line)
		apdu := unhex(t, command)
		got, err := card.Transmit(apdu)
		require.NoError(t, err)
		clear(apdu) // the card must not keep it
		require.Equal(t, strings.ToUpper(hex.EncodeToString(unhex(t, want))), strings.ToUpper(hex.EncodeToString(got)), line)
	}
}

func text(s string) string { return hex.EncodeToString([]byte(s)) }

func TestSelect(t *testing.T) {
	for name, script := range map[string]string{
		"by identifier": `
			00A4000C: 9000
			00A40000 00: 6F0A 820138 83023F00 8A0105 9000
			00A4000C 02 3F00: 9000
			00A4000C 02 2F02: 9000
			00B00000 06: ` + text("serial") + `9000
			00A4000C 02 5000: 9000
			00A4000C 02 2F02: 6A82     # not below the current DF
			00B00000 06: 6986
			00A4000C 02 5000: 9000     # itself
			00A4000C 02 6000: 9000     # a sibling
			00A4000C 02 5000: 9000
			00A4000C 02 5100: 9000     # a child
			00A4000C 02 5000: 9000     # the parent
			00A4000C 02 5001: 9000
			00A4000C 02 0000: 6A82
			00A4000C 02 3F00: 9000
			00A4000C 02 9999: 6A82
			00A4000C 03 3F0000: 6A87`,
		"children and parent": `
			00A4010C 02 2F02: 6A82
			00A4020C 02 5000: 6A82
			00A4020C 02 2F02: 9000
			00B00000 06: ` + text("serial") + `9000
			00A4010C 02 5000: 9000
			00A4010C 02 5100: 9000
			00A4020C 02 5101: 9000
			00A4030C: 9000
			00A4030C: 9000
			00A4030C: 6A82
			00A4030C 02 3F00: 6A87
			00A4010C: 6A87`,
		"by name": `
			00A4040C 07 F0676F70637363: 9000
			00A40404 00: 6213 820138 83025000 8407F0676F70637363 8A0105 9000 # the first there is
			00A4040C 08 F0676F7063736332: 9000
			00A4000C 02 2F02: 6A82
			00A40400 08 F0676F7063736332 00: 6F10 820138 8408F0676F7063736332 8A0105 9000
			00A40408 08 F0676F7063736332 00: 640A 8408F0676F7063736332 9000
			00A4040C 01 F1: 6A82
			00A4040C 11 F0000000000000000000000000000000AA: 6A87`,
		"by the beginning of a name": `
			00A40400 01 F0 00: 6F13 820138 83025000 8407F0676F70637363 8A0105 9000
			00A40402 01 F0 00: 6F10 820138 8408F0676F7063736332 8A0105 9000
			00A40402 01 F0 00: 6F00 9000
			00A40402 01 F0 00: 6A82
			00A40403 01 F0 00: 6F10 820138 8408F0676F7063736332 8A0105 9000
			00A40403 01 F0 00: 6F13 820138 83025000 8407F0676F70637363 8A0105 9000
			00A40403 01 F0 00: 6A82
			00A40401 01 F0 00: 6F00 9000
			00A4000C 02 3F00: 9000
			00A40402 01 F0 00: 6F13 820138 83025000 8407F0676F70637363 8A0105 9000
			00A4000C 02 3F00: 9000
			00A40403 01 F0 00: 6F00 9000
			00A40402 07 F0676F70637363 00: 6F13 820138 83025000 8407F0676F70637363 8A0105 9000
			00A40402 07 F0676F70637363 00: 6A82 # a whole name is one DF's alone`,
		"by path": `
			00A4080C 06 500051005101: 9000
			00B00000 00: ` + text("deep") + `9000
			00A4080C 02 2F02: 9000
			00A4080C 04 50005100: 9000
			00A4090C 02 5101: 9000
			00A4080C 04 50005101: 6A82
			00A4080C 04 99995101: 6A82
			00A4090C 02 5101: 9000        # nothing has changed
			00A4090C: 6A87
			00A4080C 03 500051: 6A87`,
		"control information": `
			00A40000 02 2F02 00: 6F11 8002000D 820101 83022F02 880110 8A0105 9000
			00A40004 02 2F03 00: 6210 8002012C 820101 83022F03 8800 8A0105 9000
			00A40008 02 2F03 00: 6400 9000
			00A4080C 02 5000: 9000
			00A40204 02 5002 00: 6215 80020006 82050221000203 83025002 880110 8A0105 9000
			00A40204 02 5003 00: 6215 80020003 82050421000502 83025003 880118 8A0105 9000
			00A40204 02 5004 00: 6215 80020003 82050621000103 83025004 880120 8A0105 9000
			00A40804 04 60006001 00: 6200 9000`,
		"parameters": `
			00A4050C 02 2F02: 6A86
			00A40010 02 2F02: 6A86
			00A40002 02 2F02: 6A86   # next is for names`,
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t), script) })
	}
}

func TestBinary(t *testing.T) {
	for name, script := range map[string]string{
		"read": `
			00B00000 01: 6986
			00B08200 00: ` + text("serial number") + `9000
			00B00000 00: ` + text("serial number") + `9000   # it is the current one now
			00B00007 03: ` + text("num") + `9000
			00B00007 06: ` + text("number") + `9000
			00B00007 07: ` + text("number") + `6282
			00B00007 000000: ` + text("number") + `9000
			00B00007 000007: ` + text("number") + `6282
			00B0000C 01: ` + text("r") + `9000
			00B0000D 01: 6B00
			00B07FFF 01: 6B00
			00B08207 03: ` + text("num") + `9000
			00B08300 01: 6A82
			00B08000 01: 6A86
			00B09F00 01: 6A86
			00B0A200 01: 6A86
			00B00000: 6700
			00B00000 02 5400: 6700
			00A4000C 02 2F03: 9000
			00B00102 02: 0203 9000
			00B08400 00: 9000 # empty
			00B00000 01: 6282`,
		"update": `
			00A4080C 02 5000: 9000
			00D68105 01 21: 6982
			00200001 04 31323334: 9000
			00D68105 01 21: 9000
			00B00000 00: ` + text("hello!") + `00000000000000000000 9000
			00D6000E 02 4142: 9000
			00D6000F 02 4142: 6A84
			00D60010 01 41: 6A84
			00D60011 01 41: 6B00
			00D60000: 6700
			00B0000E 02: 4142 9000
			00D68201 01 FF: 6981
			00D68001 01 FF: 6A86
			00B08201 01: 6981
			00B08500 01: 6982`,
		"with an offset data object": `
			00A4000C 02 2F02: 9000
			00B10000 03 540107 00: 53066E756D626572 9000
			00B12F03 03 5401FE 04: 5302FEFF 9000
			00B12F03 04 54020129 00: 5303 292A2B 9000
			00B12F03 04 5402012C 00: 6B00
			00B12F03 03 540100 03: 530100 9000
			00B12F03 03 540100 01: 6C03
			00B12F03 03 540100 02: 6C03
			00B10002 03 540100 08: 5306 ` + text("serial") + ` 9000
			00B10009 03 540100 08: 6A82
			00B12F09 03 540100 08: 6A82
			00B12F03 03 540100: 6700
			00B12F03 00: 6A80
			00B12F03 03 530100 00: 6A80
			00B12F03 03 5401: 6700
			00B12F03 02 5401 00: 6A80
			00B12F03 07 54050000000001 00: 6A80
			00B12F03 06 5404FFFFFFFF 00: 6B00
			00B12F03 06 540100530100 00: 6A80
			00B10004 03 540100 00: 6282 # empty
			00D72F03 07 540110 5302 0000: 9000
			00B12F03 03 540110 04: 5302 0000 9000
			00D72F03 03 540110: 6A80
			00D72F03 06 540110 5201 00: 6A80
			00D72F03 07 54020200 530100: 6B00
			00D72F03 05 540110 5300: 6700`,
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t), script) })
	}
}

func TestLongBinary(t *testing.T) {
	card := newCard(t)
	all := hex.EncodeToString(long(300))
	run(t, card, `
		00A4000C 02 2F03: 9000
		00B00000 00: `+all[:512]+`9000
		00B00100 00: `+all[512:]+`9000
		00B00000 000000: `+all+`9000
		00B00000 00012C: `+all+`9000
		00B00000 00012D: `+all+`6282
		00B12F03 03 540100 00: 5381FD`+all[:2*253]+`9000
		00B12F03 000003 540100 0000: 5382012C`+all+`9000
		00B12F03 03 540100 81: 537F`+all[:2*127]+`9000
		00B12F03 03 540100 82: 537F`+all[:2*127]+`9000
		00B12F03 03 540100 83: 538180`+all[:2*128]+`9000
		00D60000 0000FF`+all[2*45:]+`: 9000
		00B00000 00012C:`+all[2*45:]+all[2*255:]+`9000`)
}

func TestRecords(t *testing.T) {
	for name, script := range map[string]string{
		"read": `
			00A4080C 02 5000: 9000
			00B20104 00: 6986
			00B20114 00: 6982
			00200081 02 3939: 9000
			00B20114 00: 01AA 9000
			00B20314 02: 01CC 9000
			00B20414 02: 6A83
			00B20114 01: 6C02
			00B20114 03: 01AA 9000
			00B20114: 6700
			00B20114 01 00: 6700
			00B2FF14 00: 6A86
			00B20117 00: 6A86
			00B201F4 00: 6A82
			00B201FC 00: 6A86
			00B20115 00: 01AA02BB01CC 9000
			00B20215 00: 02BB01CC 9000
			00B20216 00: 01CC02BB 9000
			00B20104 00: 01AA 9000
			00B2010C 00: 6981`,
		"by identifier": `
			00A4080C 04 50005002: 9000
			00200001 04 31323334: 9000
			00B20004 00: 6A83 # there is no current record
			00B20102 00: 01AA 9000
			00B20004 00: 01AA 9000
			00B20102 01: 6C02
			00B20102 02: 01CC 9000
			00B20102 02: 6A83
			00B20103 02: 01AA 9000
			00B20103 02: 6A83
			00B20101 02: 01CC 9000
			00B20100 02: 01AA 9000
			00B20002 02: 02BB 9000
			00B20304 02: 01CC 9000 # a number leaves the current record where it was
			00B20004 02: 02BB 9000
			00B20900 02: 6A83
			00A4080C 04 50005002: 9000
			00B20003 02: 01CC 9000
			00B20003 02: 02BB 9000`,
		"linear fixed": `
			00A4080C 04 50005002: 9000
			00200001 04 31323334: 9000
			00DC0204 02 DDDD: 9000
			00B20204 02: DDDD 9000
			00DC0204 01 DD: 6700
			00DC0204 03 DDDDDD: 6700
			00DC0204: 6700
			00DC0504 02 DDDD: 6A83
			00DCFF04 02 DDDD: 6A86
			00DC0105 02 DDDD: 6A86
			00DC0100 02 DDDD: 6A86
			00DC0000 02 E1E1: 9000
			00DC0002 02 E2E2: 9000
			00DC0001 02 E3E3: 9000
			00DC0003 02 E4E4: 9000
			00DC0004 02 E5E5: 9000
			00B20105 00: E1E1E5E5E3E3 9000
			00E20000 02 FFFF: 9000
			00B20004 00: FFFF 9000
			00E20000 02 FFFF: 6A84
			00E20001 02 FFFF: 6A86
			00E20100 02 FFFF: 6A86
			00E20000 01 FF: 6700`,
		"linear variable": `
			00A4080C 02 5000: 9000
			00E20018 05 0000000000: 9000
			00E20018 06 000000000000: 6A84
			00DC011C 03 010101: 9000
			00B2011D 00: 010101 0202 0000000000 9000`,
		"cyclic": `
			00A4080C 02 5000: 9000
			00B20125 00: 030201 9000
			00E20020 01 04: 9000
			00B20125 00: 040302 9000
			00DC0023 01 05: 9000
			00B20125 00: 050403 9000
			00DC0224 01 AA: 9000
			00B20125 00: 05AA03 9000
			00E20020 02 0606: 6700`,
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t), script) })
	}
}

func TestVerify(t *testing.T) {
	for name, script := range map[string]string{
		"tries": `
			00200001: 63C3
			00200001 04 30303030: 63C2
			00200001: 63C2
			00200001 04 30303030: 63C1
			00200001 04 31323334: 9000
			00200001: 9000
			00200001 04 30303030: 63C2
			00200001: 63C2
			00200001 01 30: 63C1
			00200001 04 30303030: 63C0
			00200001: 6983
			00200001 04 31323334: 6983
			reset
			00200001 04 31323334: 6983`,
		"state": `
			00200001 04 31323334: 9000
			0020FF01: 9000
			00200001: 63C3
			00200001 04 31323334: 9000
			reset
			00200001: 63C3
			0020FF01 04 31323334: 6700
			00200101 04 31323334: 6A86
			00200000 04 31323334: 6A88
			00200081 04 31323334: 6A88
			00210001 04 31323334: 6D00`,
		"of a DF": `
			00A4080C 04 50005100: 9000
			00200081 02 3939: 9000
			00200001 04 31323334: 9000
			00A4030C: 9000
			00200081: 9000
			00A4000C: 9000
			00A4000C 02 5000: 9000
			00200081: 63C3
			00200001: 9000
			00D68500 01 41: 6982
			00200081 02 3939: 9000
			00D68500 01 41: 9000
			00A40404 07 F0676F70637363 01: 6C15
			00200081: 9000              # nothing has been selected
			00A4040C 06 F06F74686572: 9000
			00A4040C 07 F0676F70637363: 9000
			00200081: 63C3`,
		"padded": `
			00200002 02 736F: 6700
			00200002: 63C1
			00200002 04 736FFFFF: 9000
			00200002 04 736F0000: 63C0
			00200002 04 736FFFFF: 6983`,
		"change": `
			00240001 08 30303030 35363738: 63C2
			00240001 08 31323334 35363738: 9000
			00200001: 9000
			00200001 04 31323334: 63C2
			00200001 04 35363738: 9000
			00240001 07 35363738 353637: 6A80
			00240001 0D 35363738 353637383132333435: 6A80
			00240001 03 353637: 63C2
			00240001: 6700
			00240101 04 31323334: 6982
			00200001 04 35363738: 9000
			00240101 03 313233: 6A80
			00240101 05 3132333435: 9000
			00200001 05 3132333435: 9000
			00240201 05 3132333435: 6A86
			00240003 05 3132333435: 6A88`,
		"change of a padded one": `
			00240002 06 736FFFFF 6162: 6700
			00240002 08 736FFFFF FFFFFFFF: 6A80
			00240002 08 736FFFFF 616263FF: 9000
			00240102 03 616263: 6700
			00200002 04 616263FF: 9000`,
		"reset of the counter": `
			002C0001 0C 3132333435363738 34333231: 9000
			00200001: 63C3
			00200001 04 34333231: 9000
			00200001 04 30303030: 63C2
			00200001 04 30303030: 63C1
			00200001 04 30303030: 63C0
			002C0101 08 3132333435363738: 9000
			00200001: 63C3
			002C0101 09 313233343536373839: 6700
			002C0001 0B 3132333435363738 343332: 6A80
			002C0001 08 3132333435363738: 6A80
			002C0101: 6700
			002C0101 08 3132333435363739: 63C2
			002C0101 08 3132333435363739: 63C1
			002C0101 08 3132333435363739: 63C0
			002C0101 08 3132333435363738: 6983
			002C0401 08 3132333435363738: 6A86
			002C0081 08 3132333435363738: 6A88`,
		"reset of the counter without a code": `
			00200002 04 00000000: 63C0
			002C0302: 6982
			002C0002 04 736FFFFF: 6984
			00200001 04 31323334: 9000
			002C0302: 9000
			00200002: 63C1
			002C0302 01 00: 6700
			002C0202 04 6161FFFF: 9000
			00200002 04 6161FFFF: 9000
			002C0201 04 31323334: 6982 # always would be too often`,
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t), script) })
	}
}

func TestGetData(t *testing.T) {
	run(t, newCard(t), `
		00CA5F20 00: 416461 9000
		00CA0081 02: 0102 9000
		00CA5F42 00: 6A88
		00CA5F20 01 00: 6700
		00CB3FFF 04 5C025F20 00: 5F2003416461 9000
		00CB3FFF 05 5C035F2081 00: 5F2003416461 81020102 9000
		00CB3FFF 05 5C035F4281 00: 6A88
		00CB3FFF 02 5C00 00: 6A80
		00CB3FFF 03 5C015F 00: 6A80
		00CB3FFF 07 5C055F81818181 00: 6A80
		00CB3FFF 03 5C0100 00: 6A80
		00CB3FFF 04 54025F20 00: 6A80
		00CB3FFF 03 5C025F 00: 6A80
		00CB0000 04 5C025F20 00: 6A86
		00A4000C 02 5000: 9000
		00CA5F20 00: 416461 9000
		00CA5F42 00: 6982
		00200001 04 31323334: 9000
		00CA5F42 00: `+text("London")+`9000`)
	card := newCard(t, func(c *filesystem.Config) { c.MF.Data[0].Value = long(0x4000) })
	run(t, card, "00CB3FFF 0A 5C085F205F205F205F20 00: 6A84")
}

func TestChallenge(t *testing.T) {
	run(t, newCard(t), `
		00840000 08: 0000000000000000 9000
		00840000: 6700
		00840000 01 00: 6700
		00840100 08: 6A86`)
	card := newCard(t, func(c *filesystem.Config) { c.Random = nil })
	a, err := card.Transmit(unhex(t, "008400000100"))
	require.NoError(t, err)
	require.Len(t, a, 2, "no command")
	a, err = card.Transmit(unhex(t, "0084000010"))
	require.NoError(t, err)
	b, err := card.Transmit(unhex(t, "0084000010"))
	require.NoError(t, err)
	require.Len(t, a, 18)
	require.NotEqual(t, a, b)
	a, err = card.Transmit(unhex(t, "00840000000000"))
	require.NoError(t, err)
	require.Len(t, a, 65538)
	card = newCard(t, func(c *filesystem.Config) { c.Random = strings.NewReader("") })
	run(t, card, "00840000 08: 6581")
}

func TestClass(t *testing.T) {
	run(t, newCard(t), `
		: 6700
		00A404: 6700
		00A40400 02 00: 6700
		80CA5F20 00: 6E00
		FFCA5F20 00: 6E00
		20CA5F20 00: 6E00
		01CA5F20 00: 6881
		03CA5F20 00: 6881
		40CA5F20 00: 6881
		6FCA5F20 00: 6881
		04CA5F20 00: 6882
		0CCA5F20 00: 6882
		00700000 01: 6881
		00708001: 6881
		000E0000: 6D00
		00120000: 6D00`)
	run(t, newCard(t, func(c *filesystem.Config) { c.ShortOnly = true }), `
		00CA5F20 00: 416461 9000
		00CA5F20 000000: 6700
		00A4000C 000002 2F02: 6700`)
}

func TestChaining(t *testing.T) {
	for name, script := range map[string]string{
		"select": `
			10A4040C 03 F0676F: 9000
			10A4040C 02 7063: 9000
			00A4040C 02 7363: 9000
			00A40404 07 F0676F70637363 00: 6213 820138 83025000 8407F0676F70637363 8A0105 9000
			10A40404 07 F0676F70637363: 9000
			00A40404 00: 6213 820138 83025000 8407F0676F70637363 8A0105 9000`,
		"another command": `
			10A4040C 03 F0676F: 9000
			00CA5F20 00: 6883
			00A4040C 02 7063: 6A82
			10A4040C 03 F0676F: 9000
			00A4040D 04 70637363: 6883
			10A4040C 03 F0676F: 9000
			00C00000 00: 6985
			00A4040C 04 70637363: 6A82
			10A4040C 03 F0676F: 9000
			00120000: 6D00
			00A4040C 04 70637363: 6A82
			10120000: 6D00
			10C00000: 6D00`,
		"reset": `
			10A4040C 03 F0676F: 9000
			reset
			00A4040C 04 70637363: 6A82`,
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t), script) })
	}
	card := newCard(t)
	half := "10D60000 008000" + hex.EncodeToString(long(0x8000)) + ":"
	run(t, card, half+"9000\n"+half+"6700")
	run(t, newCard(t, func(c *filesystem.Config) { c.MF.EFs[1].Size = 0x8000 }), `
		00A4000C 02 2F03: 9000
		10D60000 004000`+hex.EncodeToString(long(0x4000))+`: 9000
		00D60000 003FFE`+hex.EncodeToString(long(0x3FFE))+`: 9000
		00B03FFF 03: FF0001 9000`)
}

func TestGetResponse(t *testing.T) {
	all := hex.EncodeToString(long(600))
	long := func(c *filesystem.Config) { c.MF.Data[0].Value = long(600) }
	for name, script := range map[string]string{
		"short": `
			00CA5F20 00: ` + all[:512] + ` 6100
			00C00000 00: ` + all[512:1024] + `6158
			00C00000 58: ` + all[1024:] + `9000
			00C00000 01: 6985`,
		"in parts": `
			00CA5F20 10: ` + all[:32] + ` 6100
			00C00000 000210: ` + all[32:32+2*0x210] + `6138
			00C00000 39: 6C38
			00C00000 38: ` + all[32+2*0x210:] + `9000`,
		"extended": `
			00CA5F20 000000: ` + all + `9000
			00CA5F20 000258: ` + all + `9000
			00CA5F20 000200: ` + all[:1024] + `6158
			00C00000 00: ` + all[1024:] + `9000`,
		"wrong": `
			00CA5F20 00: ` + all[:512] + ` 6100
			00C00000: 6700
			00C00000 00: 6985
			00CA5F20 00: ` + all[:512] + ` 6100
			00C00100 00: 6A86
			00CA5F20 00: ` + all[:512] + ` 6100
			00B00000 00: 6986
			00C00000 00: 6985
			00CA5F20 00: ` + all[:512] + ` 6100
			reset
			00C00000 00: 6985
			00CA5F20 00: ` + all[:512] + ` 6100
			01C00000 00: 6881
			00C00000 00: 6985
			00CA5F20: 9000
			00C00000 00: 6985`,
	} {
		t.Run(name, func(t *testing.T) { run(t, newCard(t, long), script) })
	}
}

// With T=0 responses to commands with data wait for GET RESPONSE, and Le is exact.
func TestT0(t *testing.T) {
	script := `
		00A40400 07 F0676F70637363: 6115
		00C00000 00: 6C15
		00C00000 15: 6F13 820138 83025000 8407F0676F70637363 8A0105 9000
		00A40400 07 F0676F70637363 00: 6115
		00C00000 10: 6F13 820138 83025000 8407F0676F7063 6105
		00C00000 05: 7363 8A0105 9000
		00A4040C 07 F0676F70637363: 9000
		00CA5F20 00: 6C03
		00CA5F20 02: 6C03
		00CA5F20 03: 416461 9000
		00CA5F20: 6C03
		00B08100 00: 6C10
		00B08100 05: ` + text("hello") + `9000
		00B0810E 05: 6C02
		00840000 04: 00000000 9000`
	card := newCard(t)
	card.SetProtocol(winscard.ProtocolT0)
	run(t, card, script)
	card.SetProtocol(winscard.ProtocolT1)
	run(t, card, "00CA5F20 00: 416461 9000")
	run(t, newCard(t, func(c *filesystem.Config) { c.ATR = []byte{0x3B, 0x00} }), script)
}

func TestATR(t *testing.T) {
	b := newCard(t).ATR()
	a, err := atr.ParseStrict(b)
	require.NoError(t, err)
	require.Equal(t, []atr.Protocol{atr.ProtocolT0, atr.ProtocolT1}, a.Protocols())
	c, ok := a.Historical().Capabilities()
	require.True(t, ok)
	require.Equal(t, "selects DFs by full name, partial name, path, file identifier, short file identifiers, record numbers, "+
		"record identifiers; proprietary write, data unit of 2 quartets; command chaining, extended Lc and Le, no logical "+
		"channels", c.String())
	b[0] = 0
	require.Equal(t, filesystem.DefaultATR(), newCard(t).ATR())
	require.Equal(t, []byte{0x3B, 0x00}, newCard(t, func(c *filesystem.Config) { c.ATR = []byte{0x3B, 0x00} }).ATR())
}

// A test looks at what its client has left.
func TestLook(t *testing.T) {
	card := newCard(t)
	run(t, card, `
		00200001 04 30303030: 63C2
		00200001 04 31323334: 9000
		00200001 04 30303030: 63C2
		00A4080C 02 5000: 9000
		00E20018 02 0909: 9000`)
	for _, test := range []struct {
		reference byte
		path      []uint16
		tries     int
		ok        bool
	}{{1, nil, 2, true}, {1, []uint16{0x5000, 0x5100}, 2, true}, {0x81, []uint16{0x5000}, 3, true}, {0x81, nil, 0, false}, {1, []uint16{1}, 0, false}} {
		tries, ok := card.Tries(test.reference, test.path...)
		require.Equal(t, test.tries, tries)
		require.Equal(t, test.ok, ok)
	}
	contents, ok := card.Contents(0x5000, 0x5003)
	require.True(t, ok)
	require.Equal(t, [][]byte{{1}, {2, 2}, {9, 9}}, contents)
	contents[0][0] = 0
	contents, ok = card.Contents(0x2F02)
	require.True(t, ok)
	require.Equal(t, [][]byte{[]byte("serial number")}, contents)
	contents[0][0] = 0
	run(t, card, "00B2011C 00: 01 9000\n00A4000C: 9000\n00B08200 01: 73 9000")
	for _, path := range [][]uint16{nil, {0x5000}, {0x9999}, {0x9999, 0x5001}} {
		_, ok = card.Contents(path...)
		require.False(t, ok)
	}
}
