package atr_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

func TestString(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{yubiKey5, `direct convention, T=1, Fi=372, Di=4, fmax 5 MHz, IFSC 254, "YubiKey"`},
		{estEID1, `direct convention, T=0 T=1, Fi=512, Di=8, fmax 5 MHz, IFSC 250, "EstEID ver 1.0"`},
		{nagra, `inverse convention, T=1, specific mode T=1, Fi=512, Di=16, fmax 5 MHz, IFSC 254, "DNASP142 RevG01"`},
		{classic1K, "direct convention, T=0 T=1, MIFARE Classic 1K, ISO/IEC 14443 A, part 3"},
		{masterVisa, "direct convention, T=0, Fi=372, Di=1, fmax 5 MHz, 1 warning"},
	} {
		require.Equal(t, c.in+": "+c.want, parse(t, c.in).String())
	}
	a, _ := atr.Parse([]byte{0x3B, 0x80})
	require.Equal(t, "3B 80: direct convention, T=0, Fi=372, Di=1, fmax 5 MHz, incomplete", a.String())
	a, _ = atr.Parse([]byte{0x12})
	require.Equal(t, "12: not an answer to reset, incomplete", a.String())
}

// TestExplain: every kind of byte once. The numbers are worked out in the tests of the methods.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{soneraUICC, []string{
			"TS   3B  direct convention",
			"T0   FF  TA1 TB1 TC1 TD1 follow, 15 historical bytes",
			"TA1  94  Fi=512, Di=8, fmax 5 MHz: 64 clock cycles per ETU, 78125 bit/s at 5 MHz",
			"TB1  00  programming voltage (obsolete): not connected",
			"TC1  00  extra guard time N=0",
			"TD1  C0  T=0; TC2 TD2 follow",
			"TC2  0A  T=0: WI=10: waiting time 76800 ETU, 983ms at 5 MHz",
			"TA3  FE  T=1: IFSC, the card receives 254 bytes at a time",
			"TB3  49  T=1: BWI=4, CWI=9: block waiting time 1.143s, character waiting time 523 ETU, 6.694ms, at 5 MHz",
			"TD3  1F  T=15, for global interface bytes; TA4 follows",
			"TA4  43  clock stop in state L, class A (5 V), B (3 V)",
			"     80  category indicator: COMPACT-TLV data objects",
			`     57 34 36 43 41 32 30 20  card issuer's data "46CA20 "`,
			"TCK  68  check byte, correct",
			"Protocols: T=0 T=1; negotiable mode, starts with T=0",
		}},
		{crcCard, []string{
			"TB1  18  programming voltage (obsolete): PI1=24 V, II=0",
			"TA2  81  specific mode: T=1, rate of TA1, mode cannot change",
			"TB2  00  programming voltage (obsolete): PI2=0, in tenths of a volt",
			"TC3  01  T=1: error detection by CRC",
			"Protocols: T=1; specific mode, starts with T=1",
			"Warning: byte 14: category indicator 88 is reserved",
		}},
		{ezLink, []string{
			"TD2  01  T=1; no more interface bytes",
			"     1C 2D 94 11 F7 71 85 00  historical bytes",
			"     1C  category indicator: proprietary format",
			"Made up by the reader for a contactless card with APDUs (ISO/IEC 14443-4)",
			"If of type B: application data 1C 2D 94 11, protocol info F7 71 85, MBLI 0",
		}},
		{classic1K, []string{
			"     4F 0C A0 00 00 03 06 03 00 01 00 00 00 00  application identifier of PC/SC: MIFARE Classic 1K, ISO/IEC 14443 A, part 3",
			"Made up by the reader for a contactless storage card",
		}},
		{italianCRS, []string{
			"     6B 05 08 C8 05 01 11 01 43 4E 53  not a data object",
			"     10 31 80  status indicator: life cycle 10, proprietary; SW 3180",
		}},
		{"3B F0 70 25 FF B0 91 32 0F 72 A4 02 3E 71 00 02 00 00", []string{
			"TA1  70  Fi=reserved, Di=reserved",
			"TB1  25  programming voltage (obsolete): PI1=5 V, II=1",
			"TC1  FF  extra guard time N=255: 12 ETU between characters for T=0, 11 ETU for T=1",
			"TA2  91  specific mode: T=1, implicit rate, mode cannot change",
			"TB2  32  programming voltage (obsolete): PI2=50, in tenths of a volt",
		}},
		{"3B 80 81 F1 20 A4 02 F1 21 45 00 6E 01 82 2F 83 00", []string{
			"TB3  A4  T=1: BWI=10 (reserved), CWI=4",
			"TA4  21  specific to T=1",
			"TB4  45  specific to T=1",
			"TC4  00  specific to T=1",
			"TB5  01  specific to T=14",
			"TC5  82  specific to T=14",
		}},
		{"3B 10 70 90", []string{"Not part of it: 90"}},
		{"3B 80 01 82", []string{"TCK  82  check byte, wrong, must be 81"}},
		{"3B 87 80 01 80 12 27 60 10 81 05 00", []string{
			"     12 27 60  country code and national data: ISO 3166-1 276",
			"     10  country code and national data",
			"     81 05  status indicator: life cycle 05, operational (activated)",
		}},
		{"3B 06 80 F2 D2 76 81 03", []string{
			"     F2 D2 76  application identifier: D276",
			"     81 03  status indicator: life cycle 03, initialisation",
		}},
		{"3B 02 10 2A", []string{"     2A  DIR data reference"}},
	} {
		got := parse(t, c.in).Explain()
		lines := strings.Split(got, "\n")
		require.Equal(t, "Answer to reset: "+c.in, lines[0])
		for _, want := range c.want {
			require.Contains(t, lines, want, got)
		}
	}

	raw, err := atr.Parse(unhex(t, "03 59 5B FF B5 6F A9 F6 FF"))
	require.NoError(t, err)
	require.Contains(t, raw.Explain(), "TS   3F  inverse convention, not decoded by the reader: the bytes below are\n")
}

func TestWriteTo(t *testing.T) {
	a := parse(t, yubiKey5)
	var b bytes.Buffer
	n, err := a.WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, a.Explain(), b.String())
	require.Equal(t, int64(b.Len()), n)

	broken := errors.New("broken")
	_, err = a.WriteTo(writerFunc(func([]byte) (int, error) { return 0, broken }))
	require.ErrorIs(t, err, broken)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestNames: what has no name has a text all the same.
func TestNames(t *testing.T) {
	require.Equal(t, "unknown convention", (&atr.ATR{}).Convention().String())
	require.Equal(t, "clock stop in either state", atr.ClockStopAny.String())
	require.Equal(t, "clock stop in state H", atr.ClockStopHigh.String())
	require.Equal(t, "clock stop not supported", atr.ClockStopNotSupported.String())
	require.Equal(t, "clock stop indicator 4", atr.ClockStop(4).String())
	require.Equal(t, "write behaviour 4", atr.WriteBehaviour(4).String())
	require.Equal(t, "reserved data object", atr.Tag(9).String())
	require.Equal(t, "no historical bytes", atr.FormatNone.String())
	require.Equal(t, "card with contacts", atr.NotContactless.String())
	for tag := range atr.Tag(16) {
		require.NotEmpty(t, tag.String())
	}
}

// TestZero: the zero value does nothing wrong.
func TestZero(t *testing.T) {
	a := &atr.ATR{}
	require.Empty(t, a.Bytes())
	require.Equal(t, []atr.Protocol{0}, a.Protocols())
	require.Equal(t, atr.DefaultRate(), a.Rate())
	require.True(t, a.TCK.Valid())
	require.NotEmpty(t, a.Explain())
	require.NotEmpty(t, a.String())
}
