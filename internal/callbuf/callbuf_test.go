package callbuf

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestTextsAreTerminatedWherePointedTo(t *testing.T) {
	var b Buffer
	one, ok := b.Text("one")
	require.True(t, ok)
	none, ok := b.Texts(nil)
	require.True(t, ok)
	two, ok := b.Texts([]string{"a", "bc"})
	require.True(t, ok)
	require.Nil(t, b.TextPtr(none))
	require.Equal(t, "one\x00", string(unsafe.Slice((*byte)(b.TextPtr(one)), 4)))
	require.Equal(t, "a\x00bc\x00\x00", string(unsafe.Slice((*byte)(b.TextPtr(two)), 6)))
	_, ok = b.Text("a\x00b")
	require.False(t, ok)
}

func TestWideTexts(t *testing.T) {
	var b Buffer
	one, ok := b.WideText("é😀")
	require.True(t, ok)
	two, ok := b.WideTexts([]string{"a"})
	require.True(t, ok)
	none, ok := b.WideTexts(nil)
	require.True(t, ok)
	require.Nil(t, b.WidePtr(none))
	require.Equal(t, []uint16{0xE9, 0xD83D, 0xDE00, 0}, unsafe.Slice((*uint16)(b.WidePtr(one)), 4))
	require.Equal(t, []uint16{'a', 0, 0}, unsafe.Slice((*uint16)(b.WidePtr(two)), 3))
	_, ok = b.WideText("\xff")
	require.False(t, ok, "not UTF-8")
}

func TestNarrowFitsWhatItWasMadeFor(t *testing.T) {
	var b Buffer
	p, units := b.WideOut(10)
	require.Equal(t, 3, units)
	copy(unsafe.Slice((*uint16)(p), 3), []uint16{0x20AC, 0x20AC, 0})
	dst := make([]byte, 10)
	require.Equal(t, "€€\x00", string(dst[:b.Narrow(dst, 3)]))
	require.Equal(t, 30, b.Narrow(dst, 10), "more than there is room for: the need")
	p, units = b.WideOut(2)
	require.Nil(t, p)
	require.Zero(t, units)
}

func TestArenaIsClearAndAligned(t *testing.T) {
	var b Buffer
	for _, n := range []int{1, 61, 80, 1000} {
		a := b.Arena(n)
		require.Len(t, a, n)
		require.Zero(t, uintptr(unsafe.Pointer(&a[0]))%8)
		for i := range a {
			require.Zero(t, a[i])
			a[i] = 0xFF
		}
	}
	require.Nil(t, b.Arena(0))
}

func TestResetGivesBackWhatIsLarge(t *testing.T) {
	var b Buffer
	_, ok := b.Text(strings.Repeat("x", keep+1))
	require.True(t, ok)
	b.Reset()
	require.Zero(t, cap(b.text))
	_, _ = b.Text("small")
	b.Reset()
	require.NotZero(t, cap(b.text))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b.Reset()
		off, _ := b.Text("Reader")
		_ = b.TextPtr(off)
	}))
}
