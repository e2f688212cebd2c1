package conformance

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/pcsc"
)

// Attributes on the readers of package ifdtest, which have some of every kind; vpcd has none.

// padValues are the attributes of these readers, as a program has to see them. The driver's answers to them are written
// with the types of C.
func padValues(s *padSuite) map[pcsc.Attribute]any {
	return map[pcsc.Attribute]any{
		pcsc.AttrVendorName:          "gopcsc",
		pcsc.AttrVendorIFDType:       "PIN Pad",
		pcsc.AttrVendorIFDSerialNo:   "S/N 0042",
		pcsc.AttrVendorIFDVersion:    pcsc.Version{Major: 1, Minor: 2, Build: 0x0304},
		pcsc.AttrChannelID:           pcsc.Channel{Type: pcsc.ReaderTypeUSB, Number: 0x0104},
		pcsc.AttrAsyncProtocolTypes:  pcsc.ProtocolT0 | pcsc.ProtocolT1,
		pcsc.AttrCurrentProtocolType: pcsc.ProtocolT1,
		pcsc.AttrDefaultClk:          uint32(4000),
		pcsc.AttrMaxClk:              uint32(20000),
		pcsc.AttrDefaultDataRate:     uint32(10753),
		pcsc.AttrMaxDataRate:         uint32(344086),
		pcsc.AttrMaxIFSD:             uint32(254),
		pcsc.AttrMaxInput:            uint32(65544),
		pcsc.AttrPowerMgmtSupport:    uint32(0),
		pcsc.AttrCharacteristics:     uint32(0),
		pcsc.AttrICCPresence:         uint8(2),
		pcsc.AttrICCInterfaceStatus:  true,
		pcsc.AttrCurrentIOState:      []byte{0xA5, 0x00, 0x5A},
		pcsc.AttrATRString:           s.atr(),
		pcsc.AttrDeviceFriendlyName:  s.readers[0], // of pcscd itself, as is the next
		pcsc.AttrDeviceSystemName:    s.readers[0],
	}
}

// atr is what the service says of the card.
func (s *padSuite) atr() []byte {
	st, err := s.card.Status(context.Background())
	if err != nil {
		return nil
	}
	return st.ATR
}

func (s *padSuite) real() bool { return len(s.options) == 0 }

// Every kind of value, each through the method that is generated for it.
func padAttributes(t *testing.T, s *padSuite) {
	ctx := t.Context()
	want := padValues(s)
	equal := func(id pcsc.Attribute, got any, err error) {
		t.Helper()
		require.NoError(t, err, "%v", id)
		require.Equal(t, want[id], got, "%v", id)
	}
	c := s.card
	text, err := c.VendorName(ctx) // with a NUL
	equal(pcsc.AttrVendorName, text, err)
	text, err = c.VendorIFDType(ctx) // without
	equal(pcsc.AttrVendorIFDType, text, err)
	text, err = c.VendorIFDSerialNo(ctx)
	equal(pcsc.AttrVendorIFDSerialNo, text, err)
	text, err = c.DeviceFriendlyName(ctx)
	equal(pcsc.AttrDeviceFriendlyName, text, err)
	version, err := c.VendorIFDVersion(ctx)
	equal(pcsc.AttrVendorIFDVersion, version, err)
	require.Equal(t, "1.2.772", version.String())
	channel, err := c.ChannelID(ctx)
	equal(pcsc.AttrChannelID, channel, err)
	protocols, err := c.AsyncProtocolTypes(ctx)
	equal(pcsc.AttrAsyncProtocolTypes, protocols, err)
	require.Equal(t, "T0|T1", protocols.String())
	protocols, err = c.CurrentProtocolType(ctx)
	equal(pcsc.AttrCurrentProtocolType, protocols, err)
	number, err := c.DefaultClk(ctx) // 32 bits
	equal(pcsc.AttrDefaultClk, number, err)
	number, err = c.MaxClk(ctx) // pcsc-lite's DWORD
	equal(pcsc.AttrMaxClk, number, err)
	small, err := c.ICCPresence(ctx)
	equal(pcsc.AttrICCPresence, small, err)
	active, err := c.ICCInterfaceStatus(ctx)
	equal(pcsc.AttrICCInterfaceStatus, active, err)
	bytes, err := c.CurrentIOState(ctx)
	equal(pcsc.AttrCurrentIOState, bytes, err)
	bytes, err = c.ATRString(ctx)
	equal(pcsc.AttrATRString, bytes, err)
	require.NotEmpty(t, bytes)

	_, err = c.CurrentBWT(ctx)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, c.Transact(ctx, func(tx *pcsc.Transaction) error {
		text, err := tx.VendorIFDSerialNo(ctx)
		equal(pcsc.AttrVendorIFDSerialNo, text, err)
		return nil
	}))
}

// All attributes in one call: those that the reader has, and the rest as absent.
func padAttributeTable(t *testing.T, s *padSuite) {
	for _, ctx := range []context.Context{context.Background(), t.Context()} {
		table, err := s.card.Attributes(ctx)
		require.NoError(t, err)
		want := padValues(s)
		for _, v := range table {
			value, has := want[v.ID]
			delete(want, v.ID)
			require.Equal(t, !has, v.Absent(), "%v: %v", v.ID, v.Err)
			if has {
				require.NoError(t, v.Err, "%v", v.ID)
				require.Equal(t, value, v.Value, "%v", v.ID)
				require.NotEmpty(t, v.Raw, "%v", v.ID)
			} else {
				require.Nil(t, v.Value)
				require.Nil(t, v.Raw)
				require.Equal(t, "absent", v.String())
			}
		}
		require.Empty(t, want)
	}
	// Without a card connection, too.
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
	require.NoError(t, err)
	defer c.Close()
	direct, err := c.Connect(t.Context(), s.readers[1], pcsc.ShareDirect, pcsc.ProtocolUndefined)
	require.NoError(t, err)
	table, err := direct.Attributes(t.Context())
	require.NoError(t, err)
	require.Equal(t, "gopcsc", table[0].Value)
	require.NoError(t, direct.Disconnect(pcsc.LeaveCard))
}

// Integers in all widths, UTF-16, and answers that are just as long as an attribute can be.
func padAttributeWidths(t *testing.T, s *padSuite) {
	ctx := t.Context()
	id := pcsc.AttrMaxIFSD
	native := binary.NativeEndian
	for _, raw := range [][]byte{
		{0xFE}, native.AppendUint16(nil, 0xFE), native.AppendUint32(nil, 0xFE), native.AppendUint64(nil, 0xFE),
	} {
		s.pad.Attribute(uint32(id), ifdtest.OK, raw...)
		got, err := s.card.MaxIFSD(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 0xFE, got, "%d bytes", len(raw))
	}
	var utf16 []byte
	for _, unit := range []uint16{'L', 0x00E9, 0xD83D, 0xDCB3, 0, 'x'} {
		utf16 = native.AppendUint16(utf16, unit)
	}
	s.pad.Attribute(uint32(pcsc.AttrDeviceSystemNameW), ifdtest.OK, utf16...)
	name, err := s.card.DeviceSystemNameW(ctx)
	require.NoError(t, err)
	require.Equal(t, "Lé\U0001F4B3", name)

	most := make([]byte, pcsc.MaxBufferSize)
	for i := range most {
		most[i] = byte(i)
	}
	s.pad.Attribute(uint32(pcsc.AttrCurrentIOState), ifdtest.OK, most...)
	got, err := s.card.CurrentIOState(ctx)
	require.NoError(t, err)
	require.Equal(t, most, got)
}

// What a driver should not say is a failure, and not an attribute that is absent. An empty number is how some say that
// they have none.
func padBadAttributes(t *testing.T, s *padSuite) {
	ctx := t.Context()
	for _, test := range []struct {
		id  pcsc.Attribute
		raw []byte
	}{
		{pcsc.AttrMaxIFSD, []byte{1, 2, 3}},
		{pcsc.AttrMaxIFSD, binary.NativeEndian.AppendUint64(nil, 1<<32)},
		{pcsc.AttrICCPresence, binary.NativeEndian.AppendUint16(nil, 256)},
		{pcsc.AttrVendorIFDVersion, make([]byte, 5)},
		{pcsc.AttrDeviceSystemNameW, []byte{'a'}},
		{pcsc.AttrATRString, make([]byte, 37)},
	} {
		s.pad.Attribute(uint32(test.id), ifdtest.OK, test.raw...)
		v := find(t, s.card, test.id)
		require.ErrorIs(t, v.Err, pcsc.ErrInternalError, "%v", test.id)
		require.False(t, v.Absent())
		require.Equal(t, test.raw, v.Raw)
		require.Nil(t, v.Value)
		s.pad.Reset()
	}
	_, err := s.card.MaxIFSD(ctx)
	require.NoError(t, err)
	s.pad.Attribute(uint32(pcsc.AttrMaxIFSD), ifdtest.OK)
	require.True(t, find(t, s.card, pcsc.AttrMaxIFSD).Absent())
	s.pad.Attribute(uint32(pcsc.AttrVendorName), ifdtest.NoAttribute)
	require.True(t, find(t, s.card, pcsc.AttrVendorName).Absent())
	_, err = s.card.VendorName(ctx)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// A driver that fails with one attribute fails with that one alone.
func padAttributeFailures(t *testing.T, s *padSuite) {
	if !s.real() {
		return // the virtual service has attributes or has not
	}
	s.pad.Attribute(uint32(pcsc.AttrVendorName), ifdtest.CommError)
	s.pad.Attribute(uint32(pcsc.AttrVendorIFDType), ifdtest.NoAttribute)
	table, err := s.card.Attributes(t.Context())
	require.NoError(t, err)
	for _, v := range table {
		switch v.ID {
		case pcsc.AttrVendorName:
			require.ErrorIs(t, v.Err, pcsc.ErrNotTransacted)
			require.False(t, v.Absent())
			require.Contains(t, v.String(), "SCardGetAttrib")
		case pcsc.AttrVendorIFDType:
			require.True(t, v.Absent())
		case pcsc.AttrVendorIFDSerialNo:
			require.NoError(t, v.Err)
		}
	}
	_, err = s.card.VendorName(t.Context())
	require.ErrorIs(t, err, pcsc.ErrNotTransacted)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
}

func find(t *testing.T, card *pcsc.Card, id pcsc.Attribute) pcsc.AttributeValue {
	t.Helper()
	table, err := card.Attributes(t.Context())
	require.NoError(t, err)
	for _, v := range table {
		if v.ID == id {
			return v
		}
	}
	t.Fatalf("no %v in the table", id)
	panic("unreachable")
}

func padSetAttribute(t *testing.T, s *padSuite) {
	ctx := t.Context()
	id := pcsc.AttrCurrentIOState
	for _, value := range [][]byte{{7}, {0, 0xFF}, make([]byte, pcsc.MaxBufferSize)} {
		require.NoError(t, s.card.SetAttrib(ctx, id, value))
		got, err := s.card.CurrentIOState(ctx)
		require.NoError(t, err)
		require.Equal(t, value, got)
	}
	require.Error(t, s.card.SetAttrib(ctx, id, make([]byte, pcsc.MaxBufferSize+1)))
	require.Error(t, s.card.SetAttrib(ctx, id, nil))
}
