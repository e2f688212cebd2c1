package atr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

func TestHistoricalFormats(t *testing.T) {
	for _, c := range []struct {
		in     string
		format atr.Format
		rest   string
	}{
		{"", atr.FormatNone, ""},
		{"00 90 00", atr.FormatStatus, "90 00"}, // a byte short
		{"00 07 90 00", atr.FormatStatus, ""},
		{"10 2A", atr.FormatDIR, "2A"},
		{"80", atr.FormatTLV, ""},
		{"80 51 AA", atr.FormatTLV, ""},
		{"80 51 AA 52 BB", atr.FormatTLV, "52 BB"},
		{"81 01", atr.FormatReserved, "01"},
		{"8F", atr.FormatReserved, ""},
		{"7F 01", atr.FormatProprietary, "01"},
		{"90 01", atr.FormatProprietary, "01"},
	} {
		h := atr.ParseHistorical(unhex(t, c.in))
		require.Equal(t, c.format, h.Format, c.in)
		require.Equal(t, unhex(t, c.rest), append([]byte{}, h.Rest...), c.in)
	}
	ref, ok := atr.ParseHistorical([]byte{0x10, 0x2A}).DIRReference()
	require.True(t, ok)
	require.Equal(t, byte(0x2A), ref)
	_, ok = atr.ParseHistorical([]byte{0x10}).DIRReference()
	require.False(t, ok)
	_, ok = atr.ParseHistorical([]byte{0x80, 0x00}).DIRReference()
	require.False(t, ok)
}

func TestObjects(t *testing.T) {
	h := parse(t, soneraUICC).Historical()
	require.Equal(t, []atr.Object{
		{Tag: atr.TagServiceData, Data: []byte{0xE0}, Offset: 1},
		{Tag: atr.TagCapabilities, Data: []byte{0xF6, 0x21, 0x13}, Offset: 3},
		{Tag: atr.TagIssuerData, Data: []byte("46CA20 "), Offset: 7},
	}, h.Objects)
	require.Empty(t, h.Problems)

	o, ok := h.Object(atr.TagIssuerData)
	require.True(t, ok)
	require.Equal(t, "46CA20 ", string(o.Data))
	_, ok = h.Object(atr.TagAID)
	require.False(t, ok)

	// The three bytes of status at the end of format 00 are no data object.
	h = parse(t, openPGP2).Historical()
	require.Equal(t, []atr.Object{
		{Tag: atr.TagServiceData, Data: []byte{0xC5}, Offset: 1},
		{Tag: atr.TagCapabilities, Data: []byte{0xC0, 0x01, 0x40}, Offset: 3},
	}, h.Objects)
}

func TestAID(t *testing.T) {
	aid, ok := atr.ParseHistorical(unhex(t, "80 F6 D2 76 00 01 24 01")).AID()
	require.True(t, ok)
	require.Equal(t, unhex(t, "D2 76 00 01 24 01"), aid)

	_, ok = parse(t, yubiKey5).Historical().AID()
	require.False(t, ok)

	// 4F not followed by a length that fits is initial access data with too few bytes.
	h := atr.ParseHistorical(unhex(t, "80 4F 0C A0"))
	require.Empty(t, h.Objects)
	require.Len(t, h.Problems, 1)

	// With 15 bytes after it, which only data from elsewhere can have, it is what it says.
	h = atr.ParseHistorical(append([]byte{0x80, 0x4F}, make([]byte, 15)...))
	require.Equal(t, atr.TagInitialAccess, h.Objects[0].Tag)
	require.Len(t, h.Objects[0].Data, 15)
}

func TestCountry(t *testing.T) {
	for in, want := range map[string]string{
		"80 12 27 60":    "276", // Germany
		"80 13 03 3F 01": "033",
		"80 12 0F FF":    "", // the Italian card: not digits
		"80 11 27":       "", // too short
		"80":             "",
	} {
		got, ok := atr.ParseHistorical(unhex(t, in)).Country()
		require.Equal(t, want, got, in)
		require.Equal(t, want != "", ok, in)
	}
}

func TestServiceData(t *testing.T) {
	// C5 is 11000101: names in full and in part, GET DATA, no MF.
	s, ok := parse(t, openPGP2).Historical().ServiceData()
	require.True(t, ok)
	require.True(t, s.SelectsByFullName())
	require.True(t, s.SelectsByPartialName())
	require.False(t, s.HasEFDIR())
	require.False(t, s.HasEFATR())
	require.Equal(t, "GET DATA", s.Access())
	require.False(t, s.HasMF())
	require.Equal(t, "selects applications by full and partial DF name, files read with GET DATA, no MF", s.String())

	// E0 is 11100000, of a UICC.
	s, _ = parse(t, soneraUICC).Historical().ServiceData()
	require.Equal(t, "selects applications by full and partial DF name, EF.DIR, files read with READ RECORD (S), MF", s.String())

	// B8 is 10111000.
	s = 0xB8
	require.Equal(t, "selects applications by full DF name, EF.DIR, EF.ATR, files read with READ BINARY, MF", s.String())
	require.Equal(t, "", atr.ServiceData(0x02).Access())
	require.Equal(t, "access to files reserved, MF", atr.ServiceData(0x02).String())

	for _, in := range []string{yubiKey5, athenaTest, multiflex} { // the second has the object, but with no byte
		_, ok = parse(t, in).Historical().ServiceData()
		require.False(t, ok)
	}
}

func TestCapabilities(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     atr.Capabilities
		text     string
	}{
		{
			// C0: 11000000. 21: 0 01 0 0001. C0: 11000000.
			"YubiKey 5", yubiKey5,
			atr.Capabilities{
				SelectByFullName: true, SelectByPartialName: true,
				HasDataCoding: true, Write: atr.WriteProprietary, DataUnit: 2,
				HasChannels: true, CommandChaining: true, ExtendedLength: true, MaxChannels: 1,
			},
			"selects DFs by full name, partial name; proprietary write, data unit of 2 quartets; command chaining, extended Lc and Le, no logical channels",
		},
		{
			// C0. 01: 0 00 0 0001. 40: 01000000.
			"OpenPGP 2", openPGP2,
			atr.Capabilities{
				SelectByFullName: true, SelectByPartialName: true,
				HasDataCoding: true, DataUnit: 2,
				HasChannels: true, ExtendedLength: true, MaxChannels: 1,
			},
			"selects DFs by full name, partial name; one-time write, data unit of 2 quartets; extended Lc and Le, no logical channels",
		},
		{
			// F6: 11110110. 21. 13: 000 10 011, by the card, 2+1+1.
			"UICC", soneraUICC,
			atr.Capabilities{
				SelectByFullName: true, SelectByPartialName: true, SelectByPath: true, SelectByFileID: true,
				ShortFileID: true, RecordNumber: true,
				HasDataCoding: true, Write: atr.WriteProprietary, DataUnit: 2,
				HasChannels: true, ChannelsByCard: true, MaxChannels: 4,
			},
			"selects DFs by full name, partial name, path, file identifier, short file identifiers, record numbers; proprietary write, data unit of 2 quartets; 4 logical channels, assigned by card",
		},
		{
			// BE: 10111110. 21. 17: 000 10 111, more than 8 says ETSI.
			"ETSI example", etsiUICC,
			atr.Capabilities{
				SelectByFullName: true, SelectByPath: true, SelectByFileID: true, SelectImplicit: true,
				ShortFileID: true, RecordNumber: true,
				HasDataCoding: true, Write: atr.WriteProprietary, DataUnit: 2,
				HasChannels: true, ChannelsByCard: true, MaxChannels: 8,
			},
			"selects DFs by full name, path, file identifier, selects DFs implicitly, short file identifiers, record numbers; proprietary write, data unit of 2 quartets; 8 or more logical channels, assigned by card",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := parse(t, c.in).Historical().Capabilities()
			require.True(t, ok)
			require.Equal(t, c.want, got)
			require.Equal(t, c.text, got.String())
		})
	}

	got, ok := atr.ParseHistorical(unhex(t, "80 73 01 F3 3F")).Capabilities()
	require.True(t, ok)
	require.Equal(t, atr.Capabilities{
		RecordID:      true,
		HasDataCoding: true, TLVFiles: true, Write: atr.WriteAND, TagFF: true, DataUnit: 8,
		HasChannels: true, ExtendedLengthInfo: true, ChannelsByCard: true, ChannelsByReader: true, MaxChannels: 8,
	}, got)
	require.Equal(t, "record identifiers; EFs of TLV structure, write AND, FF valid in BER-TLV tags, data unit of 8 quartets; "+
		"limits of extended length in EF.ATR, 8 or more logical channels, assigned by card or interface device", got.String())

	got, _ = atr.ParseHistorical(unhex(t, "80 71 00")).Capabilities()
	require.Equal(t, atr.Capabilities{}, got)
	require.Equal(t, "no way to select", got.String())

	got, _ = atr.ParseHistorical(unhex(t, "80 72 08 40")).Capabilities()
	require.Equal(t, "selects DFs implicitly; write OR, data unit of 1 quartet", got.String())
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"end of format 00", "00 31 C5 05 90 00", "life cycle 05, operational (activated); SW 9000"},
		{"LCS", "80 81 03", "life cycle 03, initialisation"},
		{"SW", "80 82 90 00", "SW 9000"},
		{"both", "80 83 0F 90 00", "life cycle 0F, termination; SW 9000"},
		{"SW not reported", "80 83 07 00 00", "life cycle 07, operational (activated); SW not reported"},
		{"empty", "80 80", ""},
		{"too long", "80 84 01 02 03 04", ""},
		{"none", "80", ""},
		{"proprietary", "45 82 90 00", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ok := atr.ParseHistorical(unhex(t, c.in)).Status()
			require.Equal(t, c.want != "", ok)
			require.Equal(t, c.want, s.String())
		})
	}
	s, _ := atr.ParseHistorical(unhex(t, "80 83 05 63 C0")).Status()
	require.Equal(t, atr.Status{HasLCS: true, LCS: 5, HasSW: true, SW: 0x63C0}, s)
}

// TestLifeCycle goes through table 13 of ISO/IEC 7816-4:2005.
func TestLifeCycle(t *testing.T) {
	for lcs, want := range []string{
		"no information", "creation", "reserved", "initialisation",
		"operational (deactivated)", "operational (activated)", "operational (deactivated)", "operational (activated)",
		"reserved", "reserved", "reserved", "reserved",
		"termination", "termination", "termination", "termination",
		"proprietary",
	} {
		require.Equal(t, want, atr.LifeCycle(lcs).String(), "%02X", lcs)
	}
	require.Equal(t, "proprietary", atr.LifeCycle(0xFF).String())
}
