package cstring

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestAppend(t *testing.T) {
	got, err := Append([]byte("x"), "Reader 0")
	require.NoError(t, err)
	require.Equal(t, "xReader 0\x00", string(got))

	got, err = Append([]byte("x"), "a\x00b")
	require.ErrorIs(t, err, ErrNUL)
	require.Equal(t, "x", string(got))

	got, err = Append(nil, "")
	require.NoError(t, err)
	require.Equal(t, "\x00", string(got))
}

func TestAppendMulti(t *testing.T) {
	for _, tt := range []struct {
		list []string
		want string
		err  error
	}{
		{nil, "x\x00\x00", nil},
		{[]string{"a"}, "xa\x00\x00", nil},
		{[]string{"a", "Léser"}, "xa\x00Léser\x00\x00", nil},
		{[]string{"a", ""}, "x", ErrEmpty},
		{[]string{"a", "b\x00"}, "x", ErrNUL},
	} {
		got, err := AppendMulti([]byte("x"), tt.list)
		require.ErrorIs(t, err, tt.err)
		require.Equal(t, tt.want, string(got))

		wide, err := AppendMultiUTF16([]uint16{'x'}, tt.list)
		require.ErrorIs(t, err, tt.err)
		require.Equal(t, tt.want, string(utf16.Decode(wide)))
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", []string{}},
		{"\x00", []string{}},
		{"\x00\x00", []string{}},
		{"a\x00\x00", []string{"a"}},
		{"a\x00b\x00\x00c\x00", []string{"a", "b"}},
		{"a\x00b\x00", []string{"a", "b"}}, // the last NUL is missing
		{"a\x00b", []string{"a", "b"}},     // both are
		{"\x00a\x00\x00", []string{}},
	} {
		require.Equal(t, tt.want, Split([]byte(tt.in)), "%q", tt.in)
		require.Equal(t, tt.want, SplitUTF16(utf16.Encode([]rune(tt.in))), "%q", tt.in)
	}
}

func TestString(t *testing.T) {
	require.Equal(t, "ab", String([]byte("ab\x00cd")))
	require.Equal(t, "ab", String([]byte("ab")))
	require.Equal(t, "", String(nil))
	require.Equal(t, "ab", StringUTF16([]uint16{'a', 'b', 0, 'c'}))
	require.Equal(t, "ab", StringUTF16([]uint16{'a', 'b'}))
	require.Equal(t, "", StringUTF16(nil))
}

func TestUTF16(t *testing.T) {
	got, err := AppendUTF16(nil, "Ж𝄞")
	require.NoError(t, err)
	require.Equal(t, []uint16{0x416, 0xD834, 0xDD1E, 0}, got)

	_, err = AppendUTF16(nil, "a\xffb")
	require.ErrorIs(t, err, ErrUTF8)
	_, err = AppendUTF16(nil, "\xed\xa0\xb4") // a surrogate in WTF-8
	require.ErrorIs(t, err, ErrUTF8)
	_, err = AppendUTF16(nil, "a\x00")
	require.ErrorIs(t, err, ErrNUL)

	for _, tt := range []struct {
		in   []uint16
		want string
	}{
		{[]uint16{0xD834, 0xDD1E}, "𝄞"},
		{[]uint16{0xD834}, "\uFFFD"},
		{[]uint16{0xDD1E, 'a'}, "\uFFFDa"},
		{[]uint16{0xD834, 'a'}, "\uFFFDa"},
		{[]uint16{0xD834, 0xD834, 0xDD1E}, "\uFFFD𝄞"},
		{[]uint16{0xFFFD, 'a', 0, 'b', 0, 0}, "\uFFFDa\x00b\x00\x00"},
	} {
		require.Equal(t, tt.want, string(AppendUTF8(nil, tt.in)))
		require.Equal(t, len(tt.want), UTF8Len(tt.in))
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	list := []string{"Reader 0", "Léser 𝄞"}
	b := make([]byte, 0, 64)
	u := make([]uint16, 0, 64)
	wide, err := AppendMultiUTF16(nil, list)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b, _ = Append(b[:0], list[1])
		b, _ = AppendMulti(b[:0], list)
		u, _ = AppendUTF16(u[:0], list[1])
		u, _ = AppendMultiUTF16(u[:0], list)
		b = AppendUTF8(b[:0], wide)
	}))
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("a\x00b\x00\x00"))
	f.Add([]byte("a\x00\x00\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		list := Split(b)
		require.NotNil(t, list)
		total := 0
		for _, s := range list {
			require.NotEmpty(t, s)
			require.False(t, strings.Contains(s, "\x00"))
			total += len(s)
		}
		require.LessOrEqual(t, total, len(b))
		again, err := AppendMulti(nil, list)
		require.NoError(t, err)
		require.Equal(t, list, Split(again))
		_ = String(b)
	})
}

func FuzzString(f *testing.F) {
	f.Add("Reader 0")
	f.Add("Ж𝄞")
	f.Add("a\xff")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Append(nil, s)
		require.Equal(t, strings.Contains(s, "\x00"), err != nil)
		if err == nil {
			require.Equal(t, s, String(b))
		}
		u, err := AppendUTF16(nil, s)
		require.Equal(t, strings.Contains(s, "\x00") || !utf8.ValidString(s), err != nil)
		if err == nil {
			require.Equal(t, s, StringUTF16(u))
			require.Equal(t, append(utf16.Encode([]rune(s)), 0), u)
		}
	})
}

func FuzzUTF16(f *testing.F) {
	f.Add([]byte{0x34, 0xD8, 0x1E, 0xDD, 0, 0, 'a', 0})
	f.Add([]byte{0x34, 0xD8})
	f.Fuzz(func(t *testing.T, b []byte) {
		u := make([]uint16, len(b)/2)
		for i := range u {
			u[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
		}
		got := AppendUTF8(nil, u)
		require.Equal(t, string(utf16.Decode(u)), string(got))
		require.True(t, utf8.Valid(got))
		require.Equal(t, len(got), UTF8Len(u))
		list := SplitUTF16(u)
		require.NotNil(t, list)
		again, err := AppendMultiUTF16(nil, list)
		require.NoError(t, err)
		require.Equal(t, list, SplitUTF16(again))
		_ = StringUTF16(u)
	})
}
