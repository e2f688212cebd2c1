package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// withAttributes is a service with one reader, whose attributes are of many kinds.
func withAttributes() (*virtual.Service, *virtual.Reader) {
	service := virtual.New()
	reader := service.AddReader("Reader")
	reader.Insert(virtual.NewDemoCard())
	for id, value := range map[pcsc.Attribute][]byte{
		pcsc.AttrVendorName:           []byte("\x1b[2JEvil\x00"),
		pcsc.AttrVendorIFDSerialNo:    {0},
		pcsc.AttrMaxClk:               {0xA0, 0x0F, 0, 0},
		pcsc.AttrChannelID:            {0x04, 0x01, 0x20, 0},
		pcsc.AttrAsyncProtocolTypes:   {3},
		pcsc.AttrMaxIFSD:              {1, 2, 3},
		pcsc.AttrCurrentIOState:       {1, 2},
		pcsc.AttrICCTypePerATR:        nil,
		pcsc.AttrSuppressT1IFSRequest: {7},
		0x7A00A:                       {0xCA, 0xFE},
	} {
		reader.SetAttribute(uint32(id), value)
	}
	return service, reader
}

func TestAttr(t *testing.T) {
	service, reader := withAttributes()
	r := start(t.Context(), on(service), "", "attr")
	require.Equal(t, result{exitOK, `SCARD_ATTR_VENDOR_NAME           0x00010100  "\x1b[2JEvil"
SCARD_ATTR_VENDOR_IFD_VERSION    0x00010102  1.0.0
SCARD_ATTR_VENDOR_IFD_SERIAL_NO  0x00010103  (empty)
SCARD_ATTR_CHANNEL_ID            0x00020110  usb 260
SCARD_ATTR_ASYNC_PROTOCOL_TYPES  0x00030120  T0|T1
SCARD_ATTR_MAX_CLK               0x00030122  4000 kHz
SCARD_ATTR_MAX_IFSD              0x00030125  (failed: the driver's answer has 3 bytes, an integer 1, 2, 4 or 8; the answer is 01 02 03)
SCARD_ATTR_MAXINPUT              0x0007A007  65548 byte
SCARD_ATTR_ICC_PRESENCE          0x00090300  2
SCARD_ATTR_ICC_INTERFACE_STATUS  0x00090301  true
SCARD_ATTR_CURRENT_IO_STATE      0x00090302  01 02
SCARD_ATTR_ATR_STRING            0x00090303  3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22
SCARD_ATTR_DEVICE_FRIENDLY_NAME  0x7FFF0003  Reader 00 00
SCARD_ATTR_DEVICE_SYSTEM_NAME    0x7FFF0004  Reader 00 00
absent: 29 (--all shows them)
`, ""}, r)
	require.Equal(t, r, start(t.Context(), on(service), "", "attr", "reader"))

	var got attrReport
	r = start(t.Context(), on(service), "", "attr", "--json")
	require.Equal(t, exitOK, r.exit)
	r.decode(t, &got)
	require.Equal(t, reader.Name(), got.Reader)
	require.Equal(t, 29, got.Absent)
	require.Len(t, got.Attributes, 14)
	require.Equal(t, []jsonAttribute{
		{"0x00010100", "SCARD_ATTR_VENDOR_NAME", "ok", "\x1b[2JEvil", "", "1B5B324A4576696C00", ""},
		{"0x00010102", "SCARD_ATTR_VENDOR_IFD_VERSION", "ok", "1.0.0", "", "00000001", ""},
		{"0x00010103", "SCARD_ATTR_VENDOR_IFD_SERIAL_NO", "ok", "", "", "00", ""},
		{"0x00020110", "SCARD_ATTR_CHANNEL_ID", "ok", map[string]any{"type": "usb", "number": 260.0}, "", "04012000", ""},
		{"0x00030120", "SCARD_ATTR_ASYNC_PROTOCOL_TYPES", "ok", []any{"T0", "T1"}, "", "03", ""},
		{"0x00030122", "SCARD_ATTR_MAX_CLK", "ok", 4000.0, "kHz", "A00F0000", ""},
		{"0x00030125", "SCARD_ATTR_MAX_IFSD", "failed", nil, "byte", "010203", "the driver's answer has 3 bytes, an integer 1, 2, 4 or 8"},
	}, got.Attributes[:7])
	require.Equal(t, true, got.Attributes[9].Value)
	require.Equal(t, "0102", got.Attributes[10].Value)

	r = start(t.Context(), on(service), "", "attr", "--all")
	require.Equal(t, 29, strings.Count(r.stdout, "  (absent)\n"))
	require.NotContains(t, r.stdout, "--all")
	got = attrReport{}
	start(t.Context(), on(service), "", "attr", "--json", "--all", "0").decode(t, &got)
	require.Zero(t, got.Absent)
	require.Len(t, got.Attributes, 43)
	require.Equal(t, jsonAttribute{ID: "0x00010101", Name: "SCARD_ATTR_VENDOR_IFD_TYPE", Status: "absent"}, got.Attributes[1])
}

func TestAttrOne(t *testing.T) {
	service, reader := withAttributes()
	for _, test := range []struct{ name, want string }{
		{"SCARD_ATTR_MAX_CLK", "4000 kHz"},
		{"AttrMaxClk", "4000 kHz"},
		{"max-clk", "4000 kHz"},
		{"MAX_CLK", "4000 kHz"},
		{"0x30122", "4000 kHz"},
		{"0X00030122", "4000 kHz"},
		{"0x7A00A", "CA FE"},
		{"SCARD_ATTR_SUPRESS_T1_IFS_REQUEST", "07"}, // which Attributes does not ask for
	} {
		for _, args := range [][]string{{"attr", test.name}, {"attr", "0", test.name}, {"attr", reader.Name(), test.name}} {
			r := start(t.Context(), on(service), "", args...)
			require.Equal(t, result{exitOK, test.want + "\n", ""}, r)
		}
	}
	var got attrReport
	start(t.Context(), on(service), "", "attr", "--json", "0x7A00A").decode(t, &got)
	require.Equal(t, []jsonAttribute{{"0x0007A00A", "", "ok", "CAFE", "", "CAFE", ""}}, got.Attributes)
	got = attrReport{}
	start(t.Context(), on(service), "", "attr", "--json", "MaxClk").decode(t, &got)
	require.Equal(t, []jsonAttribute{{"0x00030122", "SCARD_ATTR_MAX_CLK", "ok", 4000.0, "kHz", "A00F0000", ""}}, got.Attributes)

	for _, test := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"vendor-ifd-type"}, exitError, `the reader "Reader 00 00" does not have the attribute SCARD_ATTR_VENDOR_IFD_TYPE`},
		{[]string{"0x7FFFFFFF"}, exitError, `does not have the attribute Attribute(0x7fffffff)`},
		{[]string{"0", "maxifsd"}, exitError, "SCARD_ATTR_MAX_IFSD of the reader \"Reader 00 00\": the driver's answer has 3 bytes, an integer 1, 2, 4 or 8\n  the driver's answer: 01 02 03\n"},
		{[]string{"0", "nonsense"}, exitUsage, `"nonsense" is not an attribute`},
		{[]string{"0", ""}, exitUsage, `"" is not an attribute`},
		{[]string{"0x"}, exitUsage, `"0x" is not an attribute`},
		{[]string{"0x0"}, exitUsage, `"0x0" is not an attribute`},
		{[]string{"0x123456789"}, exitUsage, `is not an attribute`},
		{[]string{"nonsense"}, exitNoReader, `no reader's name is or contains "nonsense"`},
	} {
		r := start(t.Context(), on(service), "", append([]string{"attr"}, test.args...)...)
		require.Equal(t, test.exit, r.exit, r.stderr)
		require.Empty(t, r.stdout)
		require.Contains(t, r.stderr, test.want)
		got = attrReport{}
		start(t.Context(), on(service), "", append([]string{"attr", "--json"}, test.args...)...).decode(t, &got)
		require.Equal(t, test.exit, got.Error.Exit)
		if test.exit == exitError {
			require.Len(t, got.Attributes, 1)
			require.Nil(t, got.Attributes[0].Value)
		}
	}
	service.AddReader("Second")
	r := start(t.Context(), on(service), "", "attr", "max-clk")
	require.Equal(t, exitNoReader, r.exit)
	require.Contains(t, r.stderr, `there are 2 readers: "Reader 00 00", "Second 01 00"`)
	require.Equal(t, exitOK, start(t.Context(), on(service), "", "attr", "Second").exit, "without a card")
}

// failing is a service whose drivers fail at one attribute.
type failing struct {
	winscard.Backend
	rc winscard.Code
}

func (f *failing) GetAttrib(card winscard.Card, id uint32, attr []byte) (int, winscard.Code) {
	if pcsc.Attribute(id) == pcsc.AttrVendorName {
		return 0, f.rc
	}
	return f.Backend.GetAttrib(card, id, attr)
}

func TestAttrFails(t *testing.T) {
	service, _ := withAttributes()
	env := env{options: []pcsc.Option{pcsc.WithBackend(&failing{service, winscard.ErrNotTransacted})}}
	r := start(t.Context(), env, "", "attr")
	require.Equal(t, exitOK, r.exit)
	require.Contains(t, r.stdout, "(failed: "+pcsc.ErrNotTransacted.Error()+" (SCARD_E_NOT_TRANSACTED))\n")
	r = start(t.Context(), env, "", "attr", "vendor-name")
	require.Equal(t, exitError, r.exit)
	require.Contains(t, r.stderr, "reading the attribute SCARD_ATTR_VENDOR_NAME of the reader")

	env.options[0] = pcsc.WithBackend(&failing{service, winscard.ErrCommError})
	require.Equal(t, exitNoService, start(t.Context(), env, "", "attr").exit)
	require.Equal(t, exitNoService, start(t.Context(), env, "", "attr", "vendor-name").exit)
}

// The list of attributes with a name is complete, as far as they can be read.
func TestAttributeNames(t *testing.T) {
	service, reader := withAttributes()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	require.NoError(t, err)
	defer pc.Close()
	card, err := pc.Connect(t.Context(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	defer card.Close()
	all, err := card.Attributes(t.Context())
	require.NoError(t, err)
	for _, v := range all {
		require.Contains(t, attributes, v.ID)
	}
	keys := map[string]bool{}
	for _, id := range attributes {
		require.NotContains(t, id.String(), "(")
		keys[attributeKey(id.String())] = true
	}
	require.Len(t, keys, len(attributes))
}
