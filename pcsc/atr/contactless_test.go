package atr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

func TestStorageCard(t *testing.T) {
	for _, c := range []struct {
		in   string
		want atr.StorageCard
		text string
	}{
		{classic1K, atr.StorageCard{Standard: 3, Name: atr.CardClassic1K}, "MIFARE Classic 1K, ISO/IEC 14443 A, part 3"},
		{classic4K, atr.StorageCard{Standard: 3, Name: atr.CardClassic4K}, "MIFARE Classic 4K, ISO/IEC 14443 A, part 3"},
		{ultralight, atr.StorageCard{Standard: 3, Name: atr.CardUltralight}, "MIFARE Ultralight, ISO/IEC 14443 A, part 3"},
		{feliCa, atr.StorageCard{Standard: 0x11, Name: atr.CardFeliCa}, "FeliCa, FeliCa"},
		{"3B 8F 80 01 80 4F 0C A0 00 00 03 06 07 00 07 00 00 00 00 68", atr.StorageCard{Standard: 7, Name: 7}, "SRI X4K, ISO/IEC 14443 B, part 3"},
		{"3B 8F 80 01 80 4F 0C A0 00 00 03 06 0B 00 14 00 00 00 00 77", atr.StorageCard{Standard: 0x0B, Name: atr.CardICODESLI}, "ICODE SLI, ISO/IEC 15693, part 3"},
		{"3B 8F 80 01 80 4F 0C A0 00 00 03 06 00 12 34 00 00 00 00 4E", atr.StorageCard{Name: 0x1234}, "unknown card 1234, no standard given"},
	} {
		a := parse(t, c.in)
		require.Empty(t, a.Warnings, c.in)
		require.Equal(t, atr.ContactlessStorage, a.Contactless())
		got, ok := a.StorageCard()
		require.True(t, ok)
		require.Equal(t, c.want, got)
		require.Equal(t, c.text, got.String())
		_, ok = a.ATQB()
		require.False(t, ok)
	}
}

func TestStorageStandard(t *testing.T) {
	for s, want := range map[atr.StorageStandard]string{
		0x01: "ISO/IEC 14443 A, part 1",
		0x04: "reserved standard 04",
		0x05: "ISO/IEC 14443 B, part 1",
		0x0C: "ISO/IEC 15693, part 4",
		0x0D: "ISO/IEC 7816-10 I2C",
		0x0E: "ISO/IEC 7816-10 extended I2C",
		0x0F: "ISO/IEC 7816-10 2WBP",
		0x10: "ISO/IEC 7816-10 3WBP",
		0x40: "low frequency contactless card",
		0xFF: "reserved standard FF",
	} {
		require.Equal(t, want, s.String())
	}
}

func TestContactless(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     atr.Contactless
	}{
		{"DESFire", desfire, atr.ContactlessSmart},
		{"German eID", germanEID, atr.ContactlessSmart},
		{"YubiKey", yubiKey5NFC, atr.ContactlessSmart},
		{"type B", ezLink, atr.ContactlessSmart},
		{"contacts", yubiKey5, atr.NotContactless},
		{"contacts, inverse", athenaTest, atr.NotContactless},
		{"RID of another", "3B 8B 80 01 80 4F 08 A0 00 00 03 07 03 00 01 43", atr.ContactlessSmart},
		{"AID too short", "3B 8A 80 01 80 4F 07 A0 00 00 03 06 03 00 4D", atr.ContactlessSmart},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, parse(t, c.in).Contactless())
		})
	}
}

func TestATQB(t *testing.T) {
	got, ok := parse(t, ezLink).ATQB()
	require.True(t, ok)
	require.Equal(t, atr.ATQB{
		ApplicationData: [4]byte{0x1C, 0x2D, 0x94, 0x11},
		ProtocolInfo:    [3]byte{0xF7, 0x71, 0x85},
	}, got)

	got, ok = parse(t, "3B 88 80 01 1C 2D 94 11 F7 71 85 20 9E").ATQB()
	require.True(t, ok)
	require.Equal(t, byte(2), got.MBLI)

	for _, in := range []string{
		germanEID,                                // four bytes
		"3B 88 80 01 1C 2D 94 11 F7 71 85 01 BF", // the lower half of the last byte is not 0
		"3B 88 80 01 1C 2D 94 11 F7 70 85 00 BF", // no ISO/IEC 14443-4
		"3B 08 1C 2D 94 11 F7 71 85 00",          // contacts
	} {
		_, ok := parse(t, in).ATQB()
		require.False(t, ok, in)
	}
}
