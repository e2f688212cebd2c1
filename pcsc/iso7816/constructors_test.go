package iso7816_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

func TestConstructors(t *testing.T) {
	aid := []byte{0xA0, 0, 0, 3, 8}
	for _, c := range []struct {
		want string
		cmd  iso7816.Command
	}{
		{"00 A4 04 00 05 A0 00 00 03 08 00", must(iso7816.SelectAID(aid))},
		{"00 A4 04 02 05 A0 00 00 03 08 00", must(iso7816.SelectAID(aid, iso7816.Next))},
		{"00 A4 04 07 05 A0 00 00 03 08 00", must(iso7816.SelectAID(aid, iso7816.Previous, iso7816.ReturnFCP, nil))},
		{"00 A4 04 0C 05 A0 00 00 03 08", must(iso7816.SelectAID(aid, iso7816.ReturnFMD, iso7816.ReturnNothing))},
		{"00 A4 00 00 02 3F 00 00", must(iso7816.SelectFile(iso7816.FileMF))},
		{"00 A4 01 00 02 50 15 00", must(iso7816.SelectDF(0x5015))},
		{"00 A4 02 0C 02 2F 00", must(iso7816.SelectEF(0x2F00, iso7816.ReturnNothing))},
		{"00 A4 03 00 00", must(iso7816.SelectParent())},
		{"00 A4 08 04 04 50 15 44 01 00", must(iso7816.SelectPath([]uint16{0x5015, 0x4401}, iso7816.ReturnFCP))},
		{"00 A4 09 00 02 44 01 00", must(iso7816.SelectRelativePath([]uint16{0x4401}))},
		{"00 B0 00 00 00", must(iso7816.ReadBinary(0, 256))},
		{"00 B0 7F FF 01", must(iso7816.ReadBinary(iso7816.MaxOffset, 1))},
		{"00 B0 9E FF 10", must(iso7816.ReadBinarySFI(30, 255, 16))},
		{"00 D6 01 02 02 AA BB", must(iso7816.UpdateBinary(0x102, []byte{0xAA, 0xBB}))},
		{"00 D6 81 00 01 AA", must(iso7816.UpdateBinarySFI(1, 0, []byte{0xAA}))},
		{"00 B2 01 0C 00", must(iso7816.ReadRecord(1, 1, 256))},
		{"00 B2 00 04 20", must(iso7816.ReadRecord(0, 0, 32))},
		{"00 B2 FE F4 00", must(iso7816.ReadRecord(254, 30, 256))},
		{"00 CA 5F 20 00", must(iso7816.GetData(0x5F20, 256))},
		{"00 20 00 81 04 31 32 33 34", must(iso7816.Verify(iso7816.Specific|1, []byte("1234")))},
		{"00 20 00 01", iso7816.VerifyStatus(1)},
		{"00 24 00 01 04 31 32 33 34", must(iso7816.ChangeReferenceData(1, []byte("12"), []byte("34")))},
		{"00 24 01 01 02 33 34", must(iso7816.ChangeReferenceData(1, nil, []byte("34")))},
		{"00 2C 00 01 04 31 32 33 34", iso7816.ResetRetryCounter(1, []byte("12"), []byte("34"))},
		{"00 2C 01 01 02 31 32", iso7816.ResetRetryCounter(1, []byte("12"), nil)},
		{"00 2C 02 01 02 33 34", iso7816.ResetRetryCounter(1, nil, []byte("34"))},
		{"00 2C 03 01", iso7816.ResetRetryCounter(1, nil, nil)},
		{"00 84 00 00 08", must(iso7816.GetChallenge(8))},
		{"00 84 00 00 00", must(iso7816.GetChallenge(256))},
		{"00 84 00 00 00 01 01", must(iso7816.GetChallenge(257))},
		{"00 88 01 02 02 AA BB 00", must(iso7816.InternalAuthenticate(1, 2, []byte{0xAA, 0xBB}, 256))},
		{"00 82 01 02 02 AA BB", must(iso7816.ExternalAuthenticate(1, 2, []byte{0xAA, 0xBB}))},
	} {
		got, err := c.cmd.Bytes()
		require.NoError(t, err)
		require.Equal(t, unhex(t, c.want), got, "%v", c.cmd)
	}
}

func TestConstructorErrors(t *testing.T) {
	failure := func(_ iso7816.Command, err error) error { return err }
	long := bytes.Repeat([]byte{1}, 17)
	for want, err := range map[string]error{
		"SELECT: the name has 0 bytes, 1 to 16 are allowed":                            failure(iso7816.SelectAID(nil)),
		"SELECT: the name has 17 bytes, 1 to 16 are allowed":                           failure(iso7816.SelectAID(long)),
		"SELECT: no such option: 04":                                                   failure(iso7816.SelectFile(1, iso7816.Occurrence(4))),
		"SELECT: no such option: 10":                                                   failure(iso7816.SelectFile(1, iso7816.ControlInformation(0x10))),
		"SELECT: the path has 0 elements, 1 to 127 are allowed":                        failure(iso7816.SelectPath(nil)),
		"SELECT: the path has 128 elements, 1 to 127 are allowed":                      failure(iso7816.SelectRelativePath(make([]uint16, 128))),
		"READ BINARY: the offset is -1, 0 to 32767 are allowed":                        failure(iso7816.ReadBinary(-1, 1)),
		"READ BINARY: the offset is 32768, 0 to 32767 are allowed":                     failure(iso7816.ReadBinary(32768, 1)),
		"READ BINARY: 0 bytes are asked for, 1 to 65536 can be":                        failure(iso7816.ReadBinary(0, 0)),
		"READ BINARY: 65537 bytes are asked for, 1 to 65536 can be":                    failure(iso7816.ReadBinarySFI(1, 0, 65537)),
		"READ BINARY: the short file identifier is 0, 1 to 30 are allowed":             failure(iso7816.ReadBinarySFI(0, 0, 1)),
		"READ BINARY: the offset is 256, with a short identifier 0 to 255 are allowed": failure(iso7816.ReadBinarySFI(1, 256, 1)),
		"UPDATE BINARY: no data":                                                       failure(iso7816.UpdateBinary(0, nil)),
		"UPDATE BINARY: the short file identifier is 31, 1 to 30 are allowed":          failure(iso7816.UpdateBinarySFI(31, 0, long)),
		"READ RECORD: record number 255 is reserved":                                   failure(iso7816.ReadRecord(255, 0, 1)),
		"READ RECORD: the short file identifier is 31, 0 to 30 are allowed":            failure(iso7816.ReadRecord(1, 31, 1)),
		"READ RECORD: 0 bytes are asked for, 1 to 65536 can be":                        failure(iso7816.ReadRecord(1, 0, 0)),
		"GET DATA: -1 bytes are asked for, 1 to 65536 can be":                          failure(iso7816.GetData(0x5F20, -1)),
		"VERIFY: no data; VerifyStatus asks for the state of the verification":         failure(iso7816.Verify(1, nil)),
		"CHANGE REFERENCE DATA: no new data":                                           failure(iso7816.ChangeReferenceData(1, long, nil)),
		"GET CHALLENGE: 0 bytes are asked for, 1 to 65536 can be":                      failure(iso7816.GetChallenge(0)),
		"INTERNAL AUTHENTICATE: no challenge":                                          failure(iso7816.InternalAuthenticate(0, 0, nil, 1)),
		"INTERNAL AUTHENTICATE: 0 bytes are asked for, 1 to 65536 can be":              failure(iso7816.InternalAuthenticate(0, 0, long, 0)),
		"EXTERNAL AUTHENTICATE: no data":                                               failure(iso7816.ExternalAuthenticate(0, 0, nil)),
	} {
		require.EqualError(t, err, "iso7816: invalid command: "+want)
		require.ErrorIs(t, err, iso7816.ErrInvalidCommand)
	}
	require.ErrorContains(t, failure(iso7816.UpdateBinarySFI(1, 0, nil)), "no data")
	require.ErrorContains(t, failure(iso7816.ReadBinarySFI(1, -1, 1)), "offset is -1")
}

// A PIN is in the caller's hands, who can clear it.
func TestVerifyDoesNotCopy(t *testing.T) {
	pin := []byte("1234")
	c, err := iso7816.Verify(1, pin)
	require.NoError(t, err)
	clear(pin)
	require.Equal(t, make([]byte, 4), c.Data)
}

func TestChannelClass(t *testing.T) {
	for channel, want := range map[int]byte{0: 0x00, 1: 0x01, 3: 0x03, 4: 0x40, 5: 0x41, 19: 0x4F} {
		cla, err := iso7816.ChannelClass(channel)
		require.NoError(t, err)
		require.Equal(t, want, cla)
	}
	for _, channel := range []int{-1, 20} {
		_, err := iso7816.ChannelClass(channel)
		require.ErrorIs(t, err, iso7816.ErrInvalidCommand)
	}
}
