package iso7816_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

func TestParseResponse(t *testing.T) {
	r, err := iso7816.ParseResponse([]byte{0x6A, 0x82})
	require.NoError(t, err)
	require.Equal(t, iso7816.Response{Data: []byte{}, SW: 0x6A82}, r)
	require.Equal(t, iso7816.ErrFileNotFound, r.Err())

	r, err = iso7816.ParseResponse([]byte{1, 2, 0x90, 0x00})
	require.NoError(t, err)
	require.Equal(t, iso7816.Response{Data: []byte{1, 2}, SW: 0x9000}, r)
	require.NoError(t, r.Err())

	for _, short := range [][]byte{nil, {0x90}} {
		_, err = iso7816.ParseResponse(short)
		require.ErrorIs(t, err, iso7816.ErrInvalidResponse)
	}
	require.EqualError(t, err, "iso7816: invalid response: 1 byte, the status word alone has 2")
}

func TestResponseErr(t *testing.T) {
	require.NoError(t, iso7816.Response{SW: 0x6110}.Err())
	require.Equal(t, iso7816.ErrEndOfFile, iso7816.Response{SW: 0x6282}.Err())
	require.Equal(t, iso7816.StatusWord(0x9100), iso7816.Response{SW: 0x9100}.Err())
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte{0x90, 0x00})
	f.Add([]byte{0x63, 0xC2})
	f.Fuzz(func(t *testing.T, apdu []byte) {
		r, err := iso7816.ParseResponse(apdu)
		if err != nil {
			require.ErrorIs(t, err, iso7816.ErrInvalidResponse)
			return
		}
		require.Equal(t, apdu, append(append([]byte{}, r.Data...), r.SW.SW1(), r.SW.SW2()))
		require.NotEmpty(t, r.SW.Error())
	})
}
