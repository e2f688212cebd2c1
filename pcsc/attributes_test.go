package pcsc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// wide is v in the host's byte order, in any width that drivers use and that holds it.
func wide(v uint32) (all [][]byte) {
	if v <= math.MaxUint8 {
		all = append(all, []byte{byte(v)})
	}
	if v <= math.MaxUint16 {
		all = append(all, binary.NativeEndian.AppendUint16(nil, uint16(v)))
	}
	return append(all, binary.NativeEndian.AppendUint32(nil, v), binary.NativeEndian.AppendUint64(nil, uint64(v)))
}

func utf16Bytes(units ...uint16) (b []byte) {
	for _, u := range units {
		b = binary.NativeEndian.AppendUint16(b, u)
	}
	return b
}

func TestDecodeAttributes(t *testing.T) {
	type test struct {
		id   Attribute
		raw  []byte
		want any
	}
	tests := []test{
		{AttrVendorName, []byte("Acme\x00"), "Acme"},
		{AttrVendorName, []byte("Acme"), "Acme"},
		{AttrVendorName, []byte("Acme\x00\x00junk"), "Acme"},
		{AttrVendorName, []byte("\x00"), ""},
		{AttrVendorName, nil, ""},
		{AttrVendorName, []byte("Soci\xE9t\xE9"), "Soci\uFFFDt\uFFFD"},
		{AttrVendorIFDSerialNo, []byte("0042\x00"), "0042"},
		{AttrDeviceFriendlyNameW, utf16Bytes('L', 0xE9, 0xD83D, 0xDE00, 0, 'x'), "Lé😀"},
		{AttrDeviceFriendlyNameW, utf16Bytes('L', 0xD83D), "L\uFFFD"},
		{AttrDeviceFriendlyNameW, nil, ""},
		{AttrATRString, fakeATR, fakeATR},
		{AttrCurrentIOState, []byte{1, 2, 3}, []byte{1, 2, 3}},
		{Attribute(0x12345678), []byte{1, 2, 3}, []byte{1, 2, 3}},
	}
	number := func(id Attribute, v uint32, want any) {
		for _, raw := range wide(v) {
			tests = append(tests, test{id, raw, want})
		}
	}
	number(AttrMaxIFSD, 0, uint32(0))
	number(AttrMaxIFSD, 254, uint32(254))
	number(AttrMaxInput, 65548, uint32(65548))
	number(AttrMaxInput, math.MaxUint32, uint32(math.MaxUint32))
	number(AttrICCPresence, 2, uint8(2))
	number(AttrICCInterfaceStatus, 0, false)
	number(AttrICCInterfaceStatus, 1, true)
	number(AttrVendorIFDVersion, 0x01020003, Version{1, 2, 3})
	number(AttrVendorIFDVersion, 0xFFFEFDFC, Version{0xFF, 0xFE, 0xFDFC})
	number(AttrChannelID, 0x00200104, Channel{ReaderTypeUSB, 0x0104})
	number(AttrChannelID, 0x00010002, Channel{ReaderTypeSerial, 2})
	number(AttrAsyncProtocolTypes, 3, ProtocolT0|ProtocolT1)
	number(AttrCurrentProtocolType, 2, ProtocolT1)
	for _, test := range tests {
		got, err := decodeAttribute(test.id, test.raw)
		require.NoError(t, err, "%v % X", test.id, test.raw)
		require.Equal(t, test.want, got, "%v % X", test.id, test.raw)
	}
}

func TestDecodeAttributesFaults(t *testing.T) {
	for _, test := range []struct {
		id   Attribute
		raw  []byte
		want string
	}{
		{AttrMaxIFSD, make([]byte, 3), "the driver's answer has 3 bytes, an integer 1, 2, 4 or 8"},
		{AttrMaxIFSD, make([]byte, 264), "the driver's answer has 264 bytes, an integer 1, 2, 4 or 8"},
		{AttrMaxIFSD, nil, "the driver's answer is empty"},
		{AttrMaxIFSD, binary.NativeEndian.AppendUint64(nil, 1<<32), "the driver's answer, 0x100000000, has more than 32 bits"},
		{AttrVendorIFDVersion, make([]byte, 5), "the driver's answer has 5 bytes, an integer 1, 2, 4 or 8"},
		{AttrChannelID, make([]byte, 6), "the driver's answer has 6 bytes, an integer 1, 2, 4 or 8"},
		{AttrProtocolTypes, make([]byte, 7), "the driver's answer has 7 bytes, an integer 1, 2, 4 or 8"},
		{AttrICCInterfaceStatus, make([]byte, 9), "the driver's answer has 9 bytes, an integer 1, 2, 4 or 8"},
		{AttrICCPresence, binary.NativeEndian.AppendUint32(nil, 256), "the driver's answer, 0x100, has more than 8 bits"},
		{AttrATRString, make([]byte, 37), "the driver's answer has 37 bytes, an ATR at most 36"},
		{AttrDeviceSystemNameW, make([]byte, 3), "the driver's answer has 3 bytes, UTF-16 an even number"},
	} {
		_, err := decodeAttribute(test.id, test.raw)
		require.EqualError(t, err, test.want, "%v", test.id)
	}
}

func FuzzDecodeAttribute(f *testing.F) {
	f.Add(uint32(AttrVendorName), []byte("Acme\x00"))
	f.Add(uint32(AttrMaxIFSD), []byte{1, 2, 3, 4})
	f.Add(uint32(AttrDeviceFriendlyNameW), []byte{0, 0xD8})
	f.Fuzz(func(t *testing.T, id uint32, raw []byte) {
		before := bytes.Clone(raw)
		ids := []Attribute{Attribute(id)}
		for _, a := range readableAttributes {
			ids = append(ids, a.id)
		}
		for _, id := range ids {
			v, err := decodeAttribute(id, raw)
			require.Equal(t, before, raw)
			if err != nil {
				require.NotEmpty(t, err.Error())
				continue
			}
			require.NotNil(t, v)
			switch v := v.(type) {
			case string:
				require.True(t, utf8.ValidString(v))
				require.NotContains(t, v, "\x00")
			case []byte:
				require.True(t, bytes.Equal(raw, v))
				if len(v) > 0 {
					require.NotSame(t, &raw[0], &v[0])
				}
			case uint32:
				require.Contains(t, wide(v), raw)
			case Version:
				require.Contains(t, wide(uint32(v.Major)<<24|uint32(v.Minor)<<16|uint32(v.Build)), raw)
			case Channel:
				require.Contains(t, wide(uint32(v.Type)<<16|uint32(v.Number)), raw)
			}
			_ = AttributeValue{ID: id, Value: v, Raw: raw}.String()
		}
	})
}

// On the virtual service: what a reader has, does not have, and has in a form that is none.
func TestAttributes(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		service := virtual.New()
		reader := service.AddReader("Test")
		reader.Insert(virtual.NewDemoCard())
		reader.SetAttribute(uint32(AttrVendorName), []byte("Acme"))
		reader.SetAttribute(uint32(AttrVendorIFDVersion), wide(0x01020003)[0])
		reader.SetAttribute(uint32(AttrVendorIFDSerialNo), []byte("0042\x00"))
		reader.SetAttribute(uint32(AttrChannelID), wide(0x00200104)[1])
		reader.SetAttribute(uint32(AttrAsyncProtocolTypes), wide(3)[0])
		reader.SetAttribute(uint32(AttrDefaultClk), wide(4000)[0])
		reader.SetAttribute(uint32(AttrMaxClk), []byte{1, 2, 3})
		reader.SetAttribute(uint32(AttrMaxIFSD), []byte{})
		reader.SetAttribute(uint32(AttrICCPresence), nil)
		c, err := EstablishContext(ScopeSystem, WithBackend(service))
		require.NoError(t, err)
		defer c.Close()
		card, err := c.Connect(ctx, reader.Name(), ShareShared, ProtocolAny)
		require.NoError(t, err)
		tx, err := card.BeginTransaction(ctx)
		require.NoError(t, err)
		defer tx.Close()
		status, err := card.Status(ctx)
		require.NoError(t, err)

		for _, on := range []interface {
			Attributes(context.Context) ([]AttributeValue, error)
			VendorName(context.Context) (string, error)
			VendorIFDVersion(context.Context) (Version, error)
			VendorIFDSerialNo(context.Context) (string, error)
			ChannelID(context.Context) (Channel, error)
			AsyncProtocolTypes(context.Context) (Protocol, error)
			DefaultClk(context.Context) (uint32, error)
			MaxClk(context.Context) (uint32, error)
			MaxIFSD(context.Context) (uint32, error)
			ICCPresence(context.Context) (uint8, error)
			ICCInterfaceStatus(context.Context) (bool, error)
			ATRString(context.Context) ([]byte, error)
		}{card, tx} {
			table, err := on.Attributes(ctx)
			require.NoError(t, err)
			require.Len(t, table, len(readableAttributes))
			by := map[Attribute]AttributeValue{}
			for i, v := range table {
				require.Equal(t, v.Value == nil, v.Err != nil, "%v", v.ID)
				require.True(t, i == 0 || table[i-1].ID < v.ID, "in the order of numbers, none twice")
				by[v.ID] = v
			}
			same := func(id Attribute, text string, got any, err error) {
				t.Helper()
				require.NoError(t, err)
				require.NoError(t, by[id].Err)
				require.Equal(t, got, by[id].Value)
				require.Equal(t, text, by[id].String())
				require.False(t, by[id].Absent())
			}
			name, err := on.VendorName(ctx)
			same(AttrVendorName, "Acme", name, err)
			version, err := on.VendorIFDVersion(ctx)
			same(AttrVendorIFDVersion, "1.2.3", version, err)
			serial, err := on.VendorIFDSerialNo(ctx)
			same(AttrVendorIFDSerialNo, "0042", serial, err)
			channel, err := on.ChannelID(ctx)
			same(AttrChannelID, fmt.Sprintf("%v 260", ReaderTypeUSB), channel, err)
			protocols, err := on.AsyncProtocolTypes(ctx)
			same(AttrAsyncProtocolTypes, (ProtocolT0 | ProtocolT1).String(), protocols, err)
			clock, err := on.DefaultClk(ctx)
			same(AttrDefaultClk, "4000 kHz", clock, err)
			require.Equal(t, uint32(4000), clock)
			active, err := on.ICCInterfaceStatus(ctx)
			same(AttrICCInterfaceStatus, "true", active, err)
			atr, err := on.ATRString(ctx)
			same(AttrATRString, fmt.Sprintf("% X", status.ATR), atr, err)

			// A failure, with what the driver answered.
			_, err = on.MaxClk(ctx)
			for _, err := range []error{err, by[AttrMaxClk].Err} {
				e := requireCode(t, err, opGetAttrib, ErrInternalError)
				require.Equal(t, reader.Name(), e.Reader)
				require.ErrorContains(t, err, "SCARD_ATTR_MAX_CLK: the driver's answer has 3 bytes, an integer 1, 2, 4 or 8")
				require.NotErrorIs(t, err, errors.ErrUnsupported)
			}
			require.False(t, by[AttrMaxClk].Absent())
			require.Equal(t, []byte{1, 2, 3}, by[AttrMaxClk].Raw)
			require.Contains(t, by[AttrMaxClk].String(), "3 bytes")

			// Absent: refused, or a number without a byte.
			_, err = on.ICCPresence(ctx)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			_, err = on.MaxIFSD(ctx)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			for _, id := range []Attribute{AttrICCPresence, AttrMaxIFSD, AttrCurrentBWT} {
				require.True(t, by[id].Absent(), "%v", id)
				require.Equal(t, "absent", by[id].String())
			}
		}
	})
}

// What a driver answers about one attribute is its own affair; what ends the connection ends the table.
func TestAttributesFail(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		var rc winscard.Code
		f.getAttrib = func(id uint32, attr []byte) (int, winscard.Code) {
			if Attribute(id) == AttrMaxClk {
				return 0, rc
			}
			return 0, winscard.ErrUnsupportedFeature
		}
		for _, rc = range []Code{ErrNotTransacted, ErrInsufficientBuffer, ErrInvalidParameter, ErrInternalError} {
			table, err := card.Attributes(ctx)
			require.NoError(t, err)
			failed := 0
			for _, v := range table {
				if v.ID == AttrMaxClk {
					requireCode(t, v.Err, opGetAttrib, rc)
					require.False(t, v.Absent())
					failed++
				} else {
					require.True(t, v.Absent())
				}
			}
			require.Equal(t, 1, failed)
		}
		for _, rc = range []Code{
			ErrResetCard, ErrRemovedCard, ErrInvalidHandle, ErrNoService, ErrSharingViolation, ErrReaderUnavailable,
		} {
			table, err := card.Attributes(ctx)
			requireCode(t, err, opGetAttrib, rc)
			require.Nil(t, table)
		}
		_, err := card.Attributes(endedContext())
		require.ErrorIs(t, err, context.Canceled)
	})
	for _, card := range []*Card{nil, {}} {
		_, err := card.Attributes(bg)
		require.ErrorIs(t, err, ErrInvalidHandle)
		_, err = card.VendorName(bg)
		require.ErrorIs(t, err, ErrInvalidHandle)
	}
	_, err := (*Transaction)(nil).MaxIFSD(bg)
	require.ErrorIs(t, err, ErrInvalidHandle)
}
