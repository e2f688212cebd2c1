package pcsc

import (
	"encoding/json"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var someGUID = GUID{
	Data1: 0x6F5A3F9B, Data2: 0x0C1D, Data3: 0x4E2A,
	Data4: [8]byte{0x8B, 0x7C, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66},
}

func TestGUIDText(t *testing.T) {
	const text = "{6F5A3F9B-0C1D-4E2A-8B7C-112233445566}"
	require.Equal(t, text, someGUID.String())
	for _, in := range []string{text, text[1:37], "6f5a3f9b-0c1d-4e2a-8b7c-112233445566"} {
		got, err := ParseGUID(in)
		require.NoError(t, err)
		require.Equal(t, someGUID, got, in)
	}
	require.Equal(t, "{00000000-0000-0000-0000-000000000000}", GUID{}.String())

	in := map[string]GUID{"provider": someGUID}
	b, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, `{"provider":"`+text+`"}`, string(b))
	var out map[string]GUID
	require.NoError(t, json.Unmarshal(b, &out))
	require.Equal(t, in, out)
	require.Error(t, json.Unmarshal([]byte(`{"provider":"x"}`), &out))
}

func TestGUIDRefusesOtherTexts(t *testing.T) {
	for _, in := range []string{
		"", "{}", "x", "{6F5A3F9B-0C1D-4E2A-8B7C-112233445566", "6F5A3F9B-0C1D-4E2A-8B7C-112233445566}",
		"6F5A3F9B-0C1D-4E2A-8B7C-11223344556", "6F5A3F9B-0C1D-4E2A-8B7C-1122334455667", "6F5A3F9B0C1D4E2A8B7C112233445566",
		"6F5A3F9B-0C1D-4E2A-8B7C11-2233445566", "G F5A3F9B-0C1D-4E2A-8B7C-112233445566", "{{6F5A3F9B-0C1D-4E2A-8B7C-112233445566}}",
		"6F5A3F9B-0C1D-4E2A-8B7C-1122334455\x00\x00",
	} {
		_, err := ParseGUID(in)
		require.ErrorContains(t, err, "is not a GUID: write it as {", "%q", in)
	}
}

func TestGUIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := GUID{
			Data1: rapid.Uint32().Draw(t, "Data1"),
			Data2: rapid.Uint16().Draw(t, "Data2"),
			Data3: rapid.Uint16().Draw(t, "Data3"),
			Data4: [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "Data4")),
		}
		got, err := ParseGUID(g.String())
		require.NoError(t, err)
		require.Equal(t, g, got)
	})
}

// FuzzParseGUID looks for texts that are read as a GUID and are none.
func FuzzParseGUID(f *testing.F) {
	f.Add(someGUID.String())
	f.Add("6f5a3f9b-0c1d-4e2a-8b7c-112233445566")
	f.Add("{-----}")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGUID(text)
		if err != nil {
			return
		}
		again, err := ParseGUID(g.String())
		require.NoError(t, err)
		require.Equal(t, g, again)
		require.Contains(t, []int{36, 38}, len(text))
	})
}

// The layout is that of the C structure, in which arrays are handed over.
func TestGUIDLayout(t *testing.T) {
	require.Equal(t, uintptr(16), unsafe.Sizeof(GUID{}))
	require.Equal(t, uintptr(4), unsafe.Offsetof(GUID{}.Data2))
	require.Equal(t, uintptr(6), unsafe.Offsetof(GUID{}.Data3))
	require.Equal(t, uintptr(8), unsafe.Offsetof(GUID{}.Data4))
}
