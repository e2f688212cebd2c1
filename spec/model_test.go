package spec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLookup(t *testing.T) {
	s, err := LoadDir("testdata/good")
	require.NoError(t, err)
	require.Equal(t, "windows", s.Platform("two").GOOS[0])
	require.Equal(t, "A manual", s.Source("manual").Title)
	require.Equal(t, "Context", s.Scalar("SCARDCONTEXT").Go)
	require.Equal(t, "ReaderState", s.Struct("SCARD_READERSTATE").Go)
	require.Equal(t, "Control", s.Function("SCardControl").Go)
	require.Equal(t, "flags", s.Group("Protocol").Kind)
	require.Equal(t, "ErrTimeout", s.Code("SCARD_E_TIMEOUT").Go)
	require.Equal(t, "ClassVendorInfo", s.AttributeClass("SCARD_CLASS_VENDOR_INFO").Go)
	require.Nil(t, s.Function("SCardNothing"))
}

func TestPlatformsOfAnEntry(t *testing.T) {
	s, err := LoadDir("testdata/good")
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, s.PlatformNames())
	require.Equal(t, []string{"one", "two"}, s.On(nil))
	require.Equal(t, []string{"two"}, s.On([]string{"two"}))
	require.Equal(t, []string{"two"}, s.Covers([]string{"manual", "two-1.0", "unknown"}))
	require.Equal(t, []string{"one", "two"}, s.DefinedOn(nil, []string{"two-1.0", "one-1.0"}))
	require.Equal(t, []string{"one"}, s.DefinedOn([]string{"one"}, []string{"two-1.0", "one-1.0"}))
	require.Empty(t, s.DefinedOn(nil, []string{"manual"}))
}
