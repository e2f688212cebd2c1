package atr_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

// Answers of real cards, as their owners and makers have published them.
const (
	yubiKey5    = "3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40"
	yubiKey5NFC = "3B 8D 80 01 80 73 C0 21 C0 57 59 75 62 69 4B 65 FF 7F"
	openPGP2    = "3B DA 18 FF 81 B1 FE 75 1F 03 00 31 C5 73 C0 01 40 00 90 00 0C"
	estEID1     = "3B FE 94 00 FF 80 B1 FA 45 1F 03 45 73 74 45 49 44 20 76 65 72 20 31 2E 30 43"
	estEID3     = "3B FE 18 00 00 80 31 FE 45 80 31 80 66 40 90 A4 16 2A 00 83 0F 90 00 EF"
	germanEID   = "3B 84 80 01 80 82 90 00 97" // the Personalausweis, contactless
	italianEID  = "3B 8F 80 01 80 31 80 65 B0 85 04 00 11 12 0F FF 82 90 00 8A"
	italianCRS  = "3B FF 18 00 FF C1 0A 31 FE 55 00 6B 05 08 C8 05 01 11 01 43 4E 53 10 31 80 0C"
	girocard    = "3B FF 96 00 FF 81 31 FE 45 65 63 0D 09 71 07 64 00 0D 00 03 54 50 07 01 81"
	citiEMV     = "3B 6E 00 00 80 31 80 66 B0 84 0C 01 6E 01 83 00 90 00"
	cashCard    = "3B 2A 00 80 65 24 B0 00 02 00 82 90 00"
	usim        = "3B 97 96 80 1F 43 80 31 E0 73 FE 21 1B 3B"
	soneraUICC  = "3B FF 94 00 00 C0 0A B1 FE 49 1F 43 80 31 E0 73 F6 21 13 57 34 36 43 41 32 30 20 68"
	o2SIM       = "3B FF 94 00 00 40 0A 80 31 00 73 12 21 13 57 4A 33 0E 01 31 41 00"
	nagra       = "3F FF 95 00 FF 91 81 71 FE 47 00 44 4E 41 53 50 31 34 32 20 52 65 76 47 30 31 15"
	videoGuard  = "3F FF 11 25 03 10 80 41 B0 06 69 FF 4A 50 70 00 00 41 5A 01 00 11"
	athenaTest  = "3F 96 18 80 01 80 51 00 61 10 30 9F" // a compliance test card
	vitale      = "3F 65 25 00 52 09 6A 90 00"
	multiflex   = "3B 02 14 50"
	masterVisa  = "3B 02 14 50 11"
	classic1K   = "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 01 00 00 00 00 6A"
	classic4K   = "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 02 00 00 00 00 69"
	ultralight  = "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 03 00 00 00 00 68"
	feliCa      = "3B 8F 80 01 80 4F 0C A0 00 00 03 06 11 00 3B 00 00 00 00 42"
	desfire     = "3B 81 80 01 80 80"
	ezLink      = "3B 88 80 01 1C 2D 94 11 F7 71 85 00 BE" // ISO/IEC 14443 type B
	crcCard     = "3B FD 11 18 00 B1 81 00 F1 20 4D 01 1F 01 88 99 99 99 99 99 99 99 99 99 99 99 99 CF"
	etsiUICC    = "3B 97 95 80 B1 FE 00 1F 42 80 31 A0 73 BE 21 17 7A" // an example of ETSI TS 102 221, which leaves the TCK open
)

var realATRs = []string{
	yubiKey5, yubiKey5NFC, openPGP2, estEID1, estEID3, germanEID, italianEID, italianCRS, girocard, citiEMV, cashCard,
	usim, soneraUICC, o2SIM, nagra, videoGuard, athenaTest, vitale, multiflex, masterVisa, classic1K, classic4K,
	ultralight, feliCa, desfire, ezLink, crcCard, etsiUICC,
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func parse(t testing.TB, s string) *atr.ATR {
	t.Helper()
	a, err := atr.Parse(unhex(t, s))
	require.NoError(t, err)
	return a
}

// TestReal reads real answers. The expectations are worked out by hand from the tables of ISO/IEC 7816-3, 8.2 and 8.3.
func TestReal(t *testing.T) {
	const mhz = atr.Megahertz
	t0, t1, both := []atr.Protocol{0}, []atr.Protocol{1}, []atr.Protocol{0, 1}
	dflt := atr.Rate{Fi: 372, Di: 1, FMax: 5 * mhz} // no TA1
	t1dflt := atr.T1Parameters{IFSC: 32, BWI: 4, CWI: 13}
	a, ab, b := atr.ClassA, atr.ClassA|atr.ClassB, atr.ClassB
	for _, c := range []struct {
		name, in   string
		protocols  []atr.Protocol
		rate       atr.Rate
		n          int // TC1
		wi         int // TC2
		t1         atr.T1Parameters
		stop       atr.ClockStop
		classes    atr.Classes
		historical int
		tck        bool
	}{
		{"YubiKey 5", yubiKey5, t1, atr.Rate{Fi: 372, Di: 4, FMax: 5 * mhz}, 0, 10, atr.T1Parameters{IFSC: 254, BWI: 1, CWI: 5}, 0, a, 13, true},
		{"YubiKey 5 NFC", yubiKey5NFC, both, dflt, 0, 10, t1dflt, 0, a, 13, true},
		{"OpenPGP 2", openPGP2, t1, atr.Rate{Fi: 372, Di: 12, FMax: 5 * mhz}, 255, 10, atr.T1Parameters{IFSC: 254, BWI: 7, CWI: 5}, 0, ab, 10, true},
		{"EstEID 1", estEID1, both, atr.Rate{Fi: 512, Di: 8, FMax: 5 * mhz}, 255, 10, atr.T1Parameters{IFSC: 250, BWI: 4, CWI: 5}, 0, ab, 14, true},
		{"EstEID 3", estEID3, both, atr.Rate{Fi: 372, Di: 12, FMax: 5 * mhz}, 0, 10, atr.T1Parameters{IFSC: 254, BWI: 4, CWI: 5}, 0, a, 14, true},
		{"German eID", germanEID, both, dflt, 0, 10, t1dflt, 0, a, 4, true},
		{"Italian CRS", italianCRS, t1, atr.Rate{Fi: 372, Di: 12, FMax: 5 * mhz}, 255, 10, atr.T1Parameters{IFSC: 254, BWI: 5, CWI: 5}, 0, a, 15, true},
		{"girocard", girocard, t1, atr.Rate{Fi: 512, Di: 32, FMax: 5 * mhz}, 255, 10, atr.T1Parameters{IFSC: 254, BWI: 4, CWI: 5}, 0, a, 15, true},
		{"EMV", citiEMV, t0, dflt, 0, 10, t1dflt, 0, a, 14, false},
		{"USIM", usim, t0, atr.Rate{Fi: 512, Di: 32, FMax: 5 * mhz}, 0, 10, t1dflt, atr.ClockStopLow, ab, 7, true},
		{"UICC", soneraUICC, both, atr.Rate{Fi: 512, Di: 8, FMax: 5 * mhz}, 0, 10, atr.T1Parameters{IFSC: 254, BWI: 4, CWI: 9}, atr.ClockStopLow, ab, 15, true},
		{"ETSI example", etsiUICC, both, atr.Rate{Fi: 512, Di: 16, FMax: 5 * mhz}, 0, 10, atr.T1Parameters{IFSC: 254}, atr.ClockStopLow, b, 7, true},
		{"SIM", o2SIM, t0, atr.Rate{Fi: 512, Di: 8, FMax: 5 * mhz}, 0, 10, t1dflt, 0, a, 15, false},
		{"pay TV, T=1", nagra, t1, atr.Rate{Fi: 512, Di: 16, FMax: 5 * mhz}, 255, 10, atr.T1Parameters{IFSC: 254, BWI: 4, CWI: 7}, 0, a, 15, true},
		{"pay TV, T=0", videoGuard, t0, dflt, 3, 10, t1dflt, 0, a, 15, false},
		{"test card", athenaTest, both, atr.Rate{Fi: 372, Di: 12, FMax: 5 * mhz}, 0, 10, t1dflt, 0, a, 6, true},
		{"card with CRC", crcCard, t1, dflt, 0, 10, atr.T1Parameters{IFSC: 32, BWI: 4, CWI: 13, EDC: atr.CRC}, 0, a, 13, true},
		{"memory card", multiflex, t0, dflt, 0, 10, t1dflt, 0, a, 2, false},
		{"DESFire", desfire, both, dflt, 0, 10, t1dflt, 0, a, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := parse(t, c.in)
			require.Equal(t, c.protocols, a.Protocols())
			require.Equal(t, c.protocols[0], a.DefaultProtocol())
			require.Equal(t, c.rate, a.Rate())
			require.Equal(t, c.n, a.ExtraGuardTime())
			require.Equal(t, c.wi, a.T0Parameters().WI)
			require.Equal(t, c.t1, a.T1Parameters())
			require.Equal(t, c.stop, a.ClockStop())
			require.Equal(t, c.classes, a.Classes())
			require.False(t, a.SPU().Used())
			require.Len(t, a.HistoricalBytes, c.historical)
			require.Equal(t, c.tck, a.TCK.Present)
			require.Equal(t, c.tck, a.TCK.Required)
			require.True(t, a.TCK.Valid())
			require.Empty(t, a.Rest)
			convention := atr.DirectConvention
			if strings.HasPrefix(c.in, "3F") {
				convention = atr.InverseConvention
			}
			require.Equal(t, convention, a.Convention())
		})
	}
}

// TestBytesRoundTrip puts every real answer together again.
func TestBytesRoundTrip(t *testing.T) {
	for _, s := range realATRs {
		require.Equal(t, unhex(t, s), parse(t, s).Bytes())
	}
}

func TestInterfaceBytes(t *testing.T) {
	a := parse(t, soneraUICC)
	require.Equal(t, atr.Byte{Value: 0xFF, Present: true, Offset: 1}, a.T0)
	require.Equal(t, []atr.InterfaceBytes{
		{
			Index: 1,
			TA:    atr.Byte{Value: 0x94, Present: true, Offset: 2},
			TB:    atr.Byte{Value: 0x00, Present: true, Offset: 3},
			TC:    atr.Byte{Value: 0x00, Present: true, Offset: 4},
			TD:    atr.Byte{Value: 0xC0, Present: true, Offset: 5},
		},
		{
			Index: 2,
			TC:    atr.Byte{Value: 0x0A, Present: true, Offset: 6},
			TD:    atr.Byte{Value: 0xB1, Present: true, Offset: 7},
		},
		{
			Index: 3, Protocol: atr.ProtocolT1,
			TA: atr.Byte{Value: 0xFE, Present: true, Offset: 8},
			TB: atr.Byte{Value: 0x49, Present: true, Offset: 9},
			TD: atr.Byte{Value: 0x1F, Present: true, Offset: 10},
		},
		{
			Index: 4, Protocol: atr.ProtocolT15,
			TA: atr.Byte{Value: 0x43, Present: true, Offset: 11},
		},
	}, a.Interface)

	for _, c := range []struct {
		get     func(int) (byte, bool)
		i       int
		value   byte
		present bool
	}{
		{a.TA, 1, 0x94, true},
		{a.TB, 1, 0x00, true},
		{a.TC, 2, 0x0A, true},
		{a.TD, 3, 0x1F, true},
		{a.TA, 2, 0, false},
		{a.TD, 4, 0, false},
		{a.TA, 5, 0, false},
		{a.TA, 0, 0, false},
		{a.TA, -1, 0, false},
	} {
		value, present := c.get(c.i)
		require.Equal(t, c.value, value)
		require.Equal(t, c.present, present)
	}
}

// TestRawInverse reads an answer whose reader did not know the inverse convention. 3F reads as 03: complemented it is
// C0, and C0 backwards is 03.
func TestRawInverse(t *testing.T) {
	// 65 is 01100101, complemented 10011010, backwards 01011001; and so on.
	raw := unhex(t, "03 59 5B FF B5 6F A9 F6 FF")
	a, err := atr.Parse(raw)
	require.NoError(t, err)
	require.True(t, a.Raw)
	require.Equal(t, atr.InverseConvention, a.Convention())
	require.Equal(t, unhex(t, "52 09 6A 90 00"), a.HistoricalBytes)
	require.Equal(t, raw, a.Bytes())

	cooked := parse(t, vitale)
	require.False(t, cooked.Raw)
	require.Equal(t, cooked.Interface, a.Interface)
	require.Equal(t, byte(0x03), raw[0], "Parse must not change its input")
}

func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct {
		name, in string
		offset   int
		msg      string
	}{
		{"empty", "", 0, "TS is missing: the answer to reset is empty"},
		{"TS", "3C 00", 0, "TS is 3C, which is neither 3B, direct convention, nor 3F, inverse convention"},
		{"TS is 00", "00", 0, "TS is 00, which is neither 3B, direct convention, nor 3F, inverse convention"},
		{"no T0", "3B", 1, "T0 is missing: the answer to reset ends after 1 byte"},
		{"no TA1", "3B FD", 2, "T0 announces TA1, but the answer to reset ends after 2 bytes"},
		{"no TC1", "3B FD 13 00", 4, "T0 announces TC1, but the answer to reset ends after 4 bytes"},
		{"no TD2", "3B 80 80", 3, "TD1 announces TD2, but the answer to reset ends after 3 bytes"},
		{"no TA3", "3B FD 13 00 00 81 31", 7, "TD2 announces TA3, but the answer to reset ends after 7 bytes"},
		{"no TB3", "3B FD 13 00 00 81 31 FE", 8, "TD2 announces TB3, but the answer to reset ends after 8 bytes"},
		{"no historical bytes", "3B 01", 2, "T0 announces 1 historical byte, but the answer to reset ends after 2 bytes, 0 of them"},
		{"few historical bytes", "3B 03 14 50", 4, "T0 announces 3 historical bytes, but the answer to reset ends after 4 bytes, 2 of them"},
		{"long", strings.Repeat("3B 00 ", 17), 33, "there are 34 bytes, but an answer to reset has at most 33"},
		{"long and endless", "3B 80" + strings.Repeat(" 80", 40), 33, "there are 42 bytes, but an answer to reset has at most 33"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := atr.Parse(unhex(t, c.in))
			var syntax *atr.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, atr.SyntaxError{Offset: c.offset, Msg: c.msg}, *syntax)
			require.NotNil(t, a)
			require.Equal(t, unhex(t, c.in), a.Bytes(), "what was read and what was not make the input again")
			require.Contains(t, a.Explain(), "Error: byte ")

			_, strict := atr.ParseStrict(unhex(t, c.in))
			require.EqualError(t, strict, err.Error())
		})
	}
}

// TestTruncated cuts real answers off at every byte. Whatever is left must say where it ends.
func TestTruncated(t *testing.T) {
	for _, s := range realATRs {
		whole := unhex(t, s)
		a := parse(t, s)
		needed := len(whole) - len(a.Rest)
		if a.TCK.Present {
			needed--
		}
		for n := range needed {
			cut, err := atr.Parse(whole[:n])
			var syntax *atr.SyntaxError
			require.ErrorAs(t, err, &syntax, "%s, %d bytes", s, n)
			require.Equal(t, n, syntax.Offset)
			require.Equal(t, whole[:n], cut.Bytes())
		}
	}
}

// TestPartial: what comes before an error is there.
func TestPartial(t *testing.T) {
	a, err := atr.Parse(unhex(t, "3B FD 13 00 00 81 31"))
	require.Error(t, err)
	require.Equal(t, atr.Rate{Fi: 372, Di: 4, FMax: 5 * atr.Megahertz}, a.Rate())
	require.Equal(t, []atr.Protocol{1}, a.Protocols())
	require.True(t, a.TCK.Required)
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"none", yubiKey5, nil},
		{"TCK missing", "3B 80 01", []string{"byte 3: TCK is missing: it is required as a protocol other than T=0 is announced"}},
		{"TCK missing for T=15", "3B 80 80 1F 42", []string{"byte 5: TCK is missing: it is required as a protocol other than T=0 is announced"}},
		{"TCK wrong", "3B 80 01 82", []string{"byte 3: TCK is 82, but the bytes before it give 81"}},
		{"TCK in vain", "3B 02 14 50 46", []string{"byte 4: there is a TCK, but none must be sent where T=0 is all that is announced"}},
		{"trailing byte", masterVisa, []string{"byte 4: there is 1 byte after the end"}},
		{"trailing bytes", "3B 80 01 81 90 00", []string{"byte 4: there are 2 bytes after the end"}},
		{"T=15 first", "3B 80 0F 8F", []string{"byte 2: TD1 has T=15, but the first protocol must be one that can be used"}},
		{"order", "3B 80 81 00 01", []string{"byte 3: TD2 has T=0 after T=1, but protocols must be in ascending order"}},
		{"reserved protocol", "3B 80 05 85", []string{"byte 2: TD1 has T=5, which is reserved"}},
		{"TA1", "3B 10 7A", []string{"byte 2: TA1 is 7A: Fi of 7 is reserved", "byte 2: TA1 is 7A: Di of A is reserved"}},
		{"TA2", "3B 80 10 61", []string{"byte 3: TA2 is 61: bits 7 and 6 are reserved", "byte 3: TA2 asks for T=1, which no TD byte offers"}},
		{"TC2", "3B 80 40 00", []string{"byte 3: TC2 is 00: a waiting time integer of 0 is reserved"}},
		{"T=1", "3B 80 81 71 FF A4 02 29", []string{
			"byte 4: TA for T=1 is FF: as IFSC it is reserved",
			"byte 5: TB for T=1 is A4: a BWI of 10 is reserved",
			"byte 6: TC for T=1 is 02: bits 8 to 2 are reserved",
		}},
		{"T=15", "3B 80 80 3F 05 06 3C", []string{
			"byte 4: TA for T=15 is 05: a class indicator of 05 is reserved",
			"byte 5: TB for T=15 is 06: standard uses of SPU are reserved",
		}},
		{"data object too long", "3B 04 80 31 C0 73", []string{"byte 5: data object 73 has a length of 3, but no byte follows"}},
		{"data object of a wrong length", "3B 03 80 32 C0", []string{"byte 3: data object 32 has a length of 2, but 1 byte follows"}},
		{"status", "3B 05 80 84 00 00 00", []string{"byte 3: data object 84 has a length of 4, but 3 bytes follow"}},
		{"status of four", "3B 06 80 84 00 00 90 00", []string{"byte 3: data object 84, status indicator, has a length of 4, but must have 1 to 3"}},
		{"status missing", "3B 03 00 90 00", []string{"byte 5: category indicator 00 asks for three bytes of status, but 2 bytes follow"}},
		{"category", "3B 01 81", []string{"byte 2: category indicator 81 is reserved"}},
		{"DIR reference missing", "3B 01 10", []string{"byte 3: category indicator 10 asks for a DIR data reference, but no byte follows"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := atr.Parse(unhex(t, c.in))
			require.NoError(t, err)
			var got, want []string
			for _, w := range a.Warnings {
				got = append(got, w.Error())
			}
			for _, w := range c.want {
				want = append(want, "atr: "+w)
			}
			require.Equal(t, want, got)

			_, err = atr.ParseStrict(unhex(t, c.in))
			if want == nil {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, strings.Join(want, "\n"))
			}
		})
	}
}

// TestWarningsOfRealCards: only these real cards have something that the standards don't allow.
func TestWarningsOfRealCards(t *testing.T) {
	got := map[string]int{}
	for _, s := range realATRs {
		if n := len(parse(t, s).Warnings); n > 0 {
			got[s] = n
		}
	}
	require.Equal(t, map[string]int{
		masterVisa: 1, // a byte too many
		athenaTest: 1, // card service data without a byte
		crcCard:    1, // category indicator 88
		italianCRS: 1, // category indicator 00, but what follows is not COMPACT-TLV
	}, got)
}
