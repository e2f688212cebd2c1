package filesystem_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

// Each change makes one mistake.
func TestFaults(t *testing.T) {
	for message, change := range map[string]func(*filesystem.Config){
		"ATR: has 34 bytes, 2 to 33 are allowed":                                          func(c *filesystem.Config) { c.ATR = make([]byte, 34) },
		"ATR: has 1 bytes, 2 to 33 are allowed":                                           func(c *filesystem.Config) { c.ATR = []byte{0x3B} },
		"MF.ID: is 3F01, the master file is 3F00":                                         func(c *filesystem.Config) { c.MF.ID = 0x3F01 },
		"MF.DFs[0].Name: has 17 bytes, 1 to 16 are allowed":                               func(c *filesystem.Config) { c.MF.DFs[0].Name = make([]byte, 17) },
		"MF.DFs[2].Name: F0676F70637363 is also that of another DF":                       func(c *filesystem.Config) { c.MF.DFs[2].Name = []byte("\xF0gopcsc") },
		"MF.DFs[1].ID: is missing, and so is a name to select it by":                      func(c *filesystem.Config) { c.MF.DFs[1].Name = nil },
		"MF.DFs[1].ID: 5000 is also that of another file in the same DF":                  func(c *filesystem.Config) { c.MF.DFs[1].ID = 0x5000 },
		"MF.DFs[1].ID: 2F02 is also that of another file in the same DF":                  func(c *filesystem.Config) { c.MF.DFs[1].ID = 0x2F02 },
		"MF.EFs[1].ID: 2F02 is also that of another file in the same DF":                  func(c *filesystem.Config) { c.MF.EFs[1].ID = 0x2F02 },
		"MF.EFs[1].ID: is missing":                                                        func(c *filesystem.Config) { c.MF.EFs[1].ID = 0 },
		"MF.EFs[1].ID: 3FFF is reserved":                                                  func(c *filesystem.Config) { c.MF.EFs[1].ID = 0x3FFF },
		"MF.DFs[0].DFs[0].ID: 3F00 is reserved":                                           func(c *filesystem.Config) { c.MF.DFs[0].DFs[0].ID = 0x3F00 },
		"MF.EFs[1].SFI: is 31, 1 to 30 are allowed, and 0 is none":                        func(c *filesystem.Config) { c.MF.EFs[1].SFI = 31 },
		"MF.EFs[1].SFI: 2 is also that of another file in the same DF":                    func(c *filesystem.Config) { c.MF.EFs[1].SFI = 2 },
		"MF.EFs[1].Structure: there is no Structure(4)":                                   func(c *filesystem.Config) { c.MF.EFs[1].Structure = 4 },
		"MF.EFs[0].Size: is 12, 13 to 65535 are allowed":                                  func(c *filesystem.Config) { c.MF.EFs[0].Size = 12 },
		"MF.EFs[0].Size: is -1, 13 to 65535 are allowed":                                  func(c *filesystem.Config) { c.MF.EFs[0].Size = -1 },
		"MF.EFs[0].Size: is 65536, 13 to 65535 are allowed":                               func(c *filesystem.Config) { c.MF.EFs[0].Size = 65536 },
		"MF.EFs[0].Data: has 65536 bytes, 65535 are allowed":                              func(c *filesystem.Config) { c.MF.EFs[0].Data = make([]byte, 65536) },
		"MF.EFs[0].Records: a transparent file has no records":                            func(c *filesystem.Config) { c.MF.EFs[0].RecordSize = 1 },
		"MF.DFs[0].EFs[1].Data: a linear fixed file has records":                          func(c *filesystem.Config) { c.MF.DFs[0].EFs[1].Size = 1 },
		"MF.DFs[0].EFs[1].Records[2]: has 1 bytes, all records of the file have 2":        func(c *filesystem.Config) { c.MF.DFs[0].EFs[1].Records[2] = []byte{1} },
		"MF.DFs[0].EFs[1].RecordSize: is 1, 2 to 65535 are allowed":                       func(c *filesystem.Config) { c.MF.DFs[0].EFs[1].RecordSize = 1 },
		"MF.DFs[0].EFs[1].MaxRecords: is 2, 3 to 254 are allowed":                         func(c *filesystem.Config) { c.MF.DFs[0].EFs[1].MaxRecords = 2 },
		"MF.DFs[0].EFs[1].RecordSize: is missing, and there is no record to take it from": func(c *filesystem.Config) { c.MF.DFs[0].EFs[1].Records = nil },
		"MF.DFs[0].EFs[1].Records: there are 255 of up to 2 bytes, 254 of up to 65535 are allowed": func(c *filesystem.Config) {
			c.MF.DFs[0].EFs[1].MaxRecords = 0
			c.MF.DFs[0].EFs[1].Records = bytes.Split(bytes.Repeat([]byte("ab "), 255)[:255*3-1], []byte(" "))
		},
		"MF.DFs[0].EFs[3].MaxRecords: is missing, and there is no record to count": func(c *filesystem.Config) {
			c.MF.DFs[0].EFs[3].Records, c.MF.DFs[0].EFs[3].RecordSize = nil, 1
		},
		"MF.PINs[1].Reference: 01 is also that of another PIN in the same DF": func(c *filesystem.Config) { c.MF.PINs[1].Reference = 1; c.MF.PINs[1].Unblock = filesystem.Never },
		"MF.DFs[0].PINs[0].Reference: is 02; below 80 are those of the whole card, which only the master file has": func(c *filesystem.Config) {
			c.MF.DFs[0].PINs[0].Reference = 2
			c.MF.DFs[0].EFs[1].Read = filesystem.Always
			c.MF.DFs[0].EFs[4].Update = filesystem.Always
		},
		"MF.PINs[0].Value: has 0 bytes, 4 to 8 are allowed":                       func(c *filesystem.Config) { c.MF.PINs[0].Value = nil },
		"MF.PINs[1].Value: ends with the padding":                                 func(c *filesystem.Config) { c.MF.PINs[1].Value = []byte("s\xFF") },
		"MF.PINs[0].Tries: is 16, 1 to 15 are allowed":                            func(c *filesystem.Config) { c.MF.PINs[0].Tries = 16 },
		"MF.PINs[0].PUKTries: is -1, 1 to 15 are allowed":                         func(c *filesystem.Config) { c.MF.PINs[0].PUKTries = -1 },
		"MF.PINs[0].PUK: has 65 bytes, 64 are allowed":                            func(c *filesystem.Config) { c.MF.PINs[0].PUK = make([]byte, 65) },
		"MF.PINs[0].Length: is 65, 1 to 64 are allowed":                           func(c *filesystem.Config) { c.MF.PINs[0].Length = 65 },
		"MF.PINs[1].MaxLength: is 5, 1 to 4 are allowed":                          func(c *filesystem.Config) { c.MF.PINs[1].MaxLength = 5 },
		"MF.PINs[0].MinLength: is 9, 1 to 8 are allowed":                          func(c *filesystem.Config) { c.MF.PINs[0].MinLength = 9 },
		"MF.PINs[0].Unblock: there is no PIN 03 here":                             func(c *filesystem.Config) { c.MF.PINs[0].Unblock = filesystem.Verified(3) },
		"MF.EFs[0].Read: there is no PIN 81 here":                                 func(c *filesystem.Config) { c.MF.EFs[0].Read = filesystem.Verified(1, 0x81) },
		"MF.DFs[0].EFs[0].Update: there is no PIN 03 here":                        func(c *filesystem.Config) { c.MF.DFs[0].EFs[0].Update = filesystem.AnyVerified(3) },
		"MF.Data[0].Read: there is no PIN 03 here":                                func(c *filesystem.Config) { c.MF.Data[0].Read = filesystem.Verified(3) },
		"MF.Data[0].Tag: 00 is no tag":                                            func(c *filesystem.Config) { c.MF.Data[0].Tag = 0 },
		"MF.Data[1].Tag: 5F20 is also that of another data object in the same DF": func(c *filesystem.Config) { c.MF.Data[1].Tag = 0x5F20 },
	} {
		t.Run(message, func(t *testing.T) {
			c := config()
			change(&c)
			card, err := filesystem.New(c)
			require.EqualError(t, err, "filesystem: "+message)
			require.Nil(t, card)
			var f *filesystem.Fault
			require.ErrorAs(t, err, &f)
			require.Equal(t, message, f.Path+": "+f.Msg)
		})
	}
	c := config()
	c.MF.ID, c.MF.EFs[0].SFI = 1, 77
	_, err := filesystem.New(c)
	require.Len(t, errors.Unwrap(err).(interface{ Unwrap() []error }).Unwrap(), 2)
	require.Equal(t, 2, len(strings.Split(err.Error(), "\n")), "all of them")
	_, err = filesystem.New(filesystem.Config{})
	require.NoError(t, err, "an empty card")
}

// The card does not share memory with what it was made of.
func TestConfigIsCopied(t *testing.T) {
	c := config()
	card, err := filesystem.New(c)
	require.NoError(t, err)
	run(t, card, "00A4080C 02 5000: 9000\n00200001 04 31323334: 9000\n00D68100 01 00: 9000\n00DC0114 02 0000: 9000")
	require.Equal(t, []byte("hello"), c.MF.DFs[0].EFs[0].Data)
	require.Equal(t, []byte{1, 0xAA}, c.MF.DFs[0].EFs[1].Records[0])
	c.MF.PINs[0].Value[0], c.MF.Data[0].Value[0], c.MF.DFs[0].Name[0] = 0, 0, 0
	run(t, card, "reset\n00200001 04 31323334: 9000\n00CA5F20 00: 416461 9000\n00A4040C 01 F0: 9000")
}

func TestStrings(t *testing.T) {
	for want, c := range map[string]filesystem.Condition{
		"always": {}, "never": filesystem.Never, "01": filesystem.Verified(1), "01 and 82": filesystem.Verified(1, 0x82),
		"01 or 82": filesystem.AnyVerified(1, 0x82),
	} {
		require.Equal(t, want, c.String())
	}
	require.Equal(t, "always", filesystem.Verified().String())
	require.Equal(t, "never", filesystem.AnyVerified().String())
	require.Equal(t, "transparent", filesystem.Transparent.String())
	require.Equal(t, "linear variable", filesystem.LinearVariable.String())
}
