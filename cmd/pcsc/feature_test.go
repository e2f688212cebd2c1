package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const (
	tlvCode = 0x42000DBA
	pinCode = 0x42000DB2
)

// pinPad makes a reader one with PIN entry, whose driver answers with tlv and pin or, if one is nil, fails.
func pinPad(reader *virtual.Reader, tlv, pin []byte) {
	reader.SetController(virtual.ControlFunc(func(code uint32, _ []byte) ([]byte, error) {
		answer := map[uint32][]byte{
			pcsc.CtlGetFeatureRequest: {
				byte(pcsc.FeatureVerifyPINDirect), 4, 0x42, 0x00, 0x0D, 0xB1,
				byte(pcsc.FeatureIFDPINProperties), 4, 0x42, 0x00, 0x0D, 0xB2,
				byte(pcsc.FeatureGetTLVProperties), 4, 0x42, 0x00, 0x0D, 0xBA,
				0xC0, 4, 0x42, 0x00, 0x0D, 0xBB,
			},
			tlvCode: tlv,
			pinCode: pin,
		}[code]
		if answer == nil {
			return nil, winscard.ErrNotTransacted
		}
		return answer, nil
	}))
}

func TestFeature(t *testing.T) {
	service, reader, _ := withDemoCard()
	pinPad(reader, []byte{1, 2, 0x10, 2, 2, 1, 7, 6, 1, 4, 7, 2, 1, 1, 8, 2, 'v', 0x1B, 11, 2, 0xE6, 0x08, 0x40, 1, 9},
		[]byte{0x10, 2, 3, 1})
	r := start(t.Context(), on(service), "", "feature", "demo")
	require.Equal(t, result{exitOK, `FEATURE_VERIFY_PIN_DIRECT   0x42000DB1
FEATURE_IFD_PIN_PROPERTIES  0x42000DB2
FEATURE_GET_TLV_PROPERTIES  0x42000DBA
Feature(0xc0)               0x42000DBB
Properties:
  wLcdLayout                 2 lines of 16 characters
  bEntryValidationCondition  max_digits, key, timeout
  bMinPINSize                4
  bMaxPINSize                0101 (bytes)
  sFirmwareID                "v\x1b"
  wIdVendor                  0x08E6
  Property(0x40)             09 (bytes)
PIN properties:
  display           2 lines of 16 characters
  an entry ends on  max_digits, key
  bTimeOut2         1
`, ""}, r)

	var got featureReport
	r = start(t.Context(), on(service), "", "feature", "--json", "1")
	require.Equal(t, exitOK, r.exit)
	r.decode(t, &got)
	require.Equal(t, featureReport{
		Reader: reader.Name(),
		Features: []jsonFeature{
			{6, "FEATURE_VERIFY_PIN_DIRECT", "0x42000DB1"},
			{10, "FEATURE_IFD_PIN_PROPERTIES", "0x42000DB2"},
			{18, "FEATURE_GET_TLV_PROPERTIES", "0x42000DBA"},
			{192, "Feature(0xc0)", "0x42000DBB"},
		},
		Properties: []jsonProperty{
			{1, "PCSCv2_PART10_PROPERTY_wLcdLayout", 528.0, "1002"},
			{2, "PCSCv2_PART10_PROPERTY_bEntryValidationCondition", 7.0, "07"},
			{6, "PCSCv2_PART10_PROPERTY_bMinPINSize", 4.0, "04"},
			{7, "PCSCv2_PART10_PROPERTY_bMaxPINSize", nil, "0101"},
			{8, "PCSCv2_PART10_PROPERTY_sFirmwareID", "v\x1b", "761B"},
			{11, "PCSCv2_PART10_PROPERTY_wIdVendor", 2278.0, "E608"},
			{64, "Property(0x40)", nil, "09"},
		},
		PINProperties: &jsonPINProperties{528, 2, 16, []string{"max_digits", "key"}, 1},
		Problems:      []string{},
	}, got)
}

func TestFeatureNone(t *testing.T) {
	service, reader, _ := withDemoCard()
	const none = "The reader Demo Reader 01 00 has no PC/SC part 10 features.\n"
	refused := "The driver's answer to the question for features: " + answered(&pcsc.Error{Code: pcsc.ErrUnsupportedFeature}) + "\n"
	require.Equal(t, result{exitOK, none + refused, ""}, start(t.Context(), on(service), "", "feature", "1"))
	var got featureReport
	start(t.Context(), on(service), "", "feature", "--json", "0").decode(t, &got) // without a card
	require.Equal(t, []jsonFeature{}, got.Features)
	require.Equal(t, []jsonProperty{}, got.Properties)
	require.Len(t, got.Problems, 1)
	require.Nil(t, got.PINProperties)

	reader.SetController(virtual.ControlFunc(func(uint32, []byte) ([]byte, error) { return nil, nil }))
	require.Equal(t, result{exitOK, none, ""}, start(t.Context(), on(service), "", "feature", "1"))
}

// A driver that has a feature and fails at it does not keep the rest from being shown.
func TestFeatureProblems(t *testing.T) {
	service, reader, _ := withDemoCard()
	pinPad(reader, nil, []byte{1})
	r := start(t.Context(), on(service), "", "feature", "1")
	require.Equal(t, exitOK, r.exit)
	require.Contains(t, r.stdout, "FEATURE_VERIFY_PIN_DIRECT")
	require.Contains(t, r.stdout, "The driver's answer to the question for properties: "+pcsc.ErrNotTransacted.Error())
	require.Contains(t, r.stdout, "PIN properties: FEATURE_IFD_PIN_PROPERTIES: the driver's answer is too short\n")
	var got featureReport
	start(t.Context(), on(service), "", "feature", "--json", "1").decode(t, &got)
	require.Len(t, got.Problems, 2)
}

func TestPropertyValue(t *testing.T) {
	p := pcsc.Properties{}
	require.Nil(t, propertyValue(&p, pcsc.PropertyLCDLayout))
	service, reader, _ := withDemoCard()
	var tlv []byte
	for tag := pcsc.PropertyLCDLayout; tag <= pcsc.PropertyProductID; tag++ {
		tlv = append(tlv, byte(tag), 1, byte(tag))
	}
	pinPad(reader, tlv, []byte{0, 0, 0, 0})
	var got featureReport
	start(t.Context(), on(service), "", "feature", "--json", "1").decode(t, &got)
	require.Len(t, got.Properties, 12)
	for _, p := range got.Properties {
		if pcsc.Property(p.Tag) == pcsc.PropertyFirmwareID {
			require.Equal(t, "\b", p.Value)
		} else {
			require.EqualValues(t, p.Tag, p.Value, p.Name)
		}
	}
	r := start(t.Context(), on(service), "", "feature", "1")
	require.Contains(t, r.stdout, "  display           none\n  an entry ends on  nothing\n")
}
