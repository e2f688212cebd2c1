package virtual_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// hearing is a card that answers everything with sw and remembers the last command.
type hearing struct {
	mu   sync.Mutex
	last []byte
	sw   []byte
}

func (c *hearing) Transmit(apdu []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = bytes.Clone(apdu)
	if c.sw == nil {
		return []byte{0x90, 0x00}, nil
	}
	return c.sw, nil
}

func (c *hearing) heard() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.last = nil }()
	return fmt.Sprintf("%X", c.last)
}

// padCard connects to card in a reader with a PIN pad, through package pcsc.
func padCard(t *testing.T, pad *virtual.PINPad, card virtual.Card) (*virtual.Service, *virtual.Reader, *pcsc.Card) {
	t.Helper()
	s, r := setup(t, card)
	r.SetPINPad(pad)
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(s))
	require.NoError(t, err)
	t.Cleanup(func() { pc.Close() })
	mode := pcsc.ShareShared
	if card == nil {
		mode = pcsc.ShareDirect
	}
	c, err := pc.Connect(t.Context(), r.Name(), mode, pcsc.ProtocolAny)
	require.NoError(t, err)
	return s, r, c
}

// spaced reads hexadecimal with spaces.
func spaced(t testing.TB, text string) []byte { return unhex(t, strings.ReplaceAll(text, " ", "")) }

func asciiVerify() pcsc.PINVerify {
	return pcsc.PINVerify{
		Block: pcsc.PINBlockASCII(8), MinDigits: 4, MaxDigits: 8,
		APDU: []byte{0x00, 0x20, 0x00, 0x01, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
	}
}

func asciiModify() pcsc.PINModify {
	return pcsc.PINModify{
		Block: pcsc.PINBlockASCII(8), NewOffset: 8, MinDigits: 4, MaxDigits: 8, AskOld: true, ConfirmNew: true,
		APDU: append([]byte{0x00, 0x24, 0x00, 0x01, 0x10}, bytes.Repeat([]byte{0xFF}, 16)...),
	}
}

// The PIN gets into the command as the client's structure says.
func TestPINPadBlocks(t *testing.T) {
	for name, test := range map[string]struct {
		block pcsc.PINBlock
		apdu  string
		pin   string
		want  string
	}{
		"ASCII, padded":         {pcsc.PINBlockASCII(8), "00200001 08 FFFFFFFFFFFFFFFF", "12345", "00200001 08 3132333435FFFFFF"},
		"ASCII, full":           {pcsc.PINBlockASCII(8), "00200001 08 FFFFFFFFFFFFFFFF", "12345678", "00200001 08 3132333435363738"},
		"ASCII, no size":        {pcsc.PINBlockASCII(0), "00200001", "1234", "00200001 04 31323334"},
		"ASCII, no size, Lc 0":  {pcsc.PINBlockASCII(0), "00200001 00", "12345", "00200001 05 3132333435"},
		"ASCII, no size, data":  {pcsc.PINBlockASCII(0), "00200001 08 FFFFFFFFFFFFFFFF", "1234", "00200001 04 31323334"},
		"with Le":               {pcsc.PINBlockASCII(4), "00200001 04 00000000 00", "1234", "00200001 04 31323334 00"},
		"format 2":              {pcsc.PINBlockFormat2(), "00200082 08 20FFFFFFFFFFFFFF", "12345", "00200082 08 2512345FFFFFFFFF"},
		"format 2, even":        {pcsc.PINBlockFormat2(), "00200082 08 20FFFFFFFFFFFFFF", "123456789012", "00200082 08 2C123456789012FF"},
		"format 2, whole field": {pcsc.PINBlock{Encoding: pcsc.PINBCD, Offset: 1, Size: 8, LengthBits: 4, LengthOffset: 4, LengthUnit: pcsc.PINBits}, "00200082 08 20FFFFFFFFFFFFFF", "1234", "00200082 08 241234FFFFFFFFFF"},
		"binary":                {pcsc.PINBlock{Encoding: pcsc.PINBinary, Size: 6}, "00200001 06 AAAAAAAAAAAA", "0912", "00200001 06 00090102AAAA"},
		"right":                 {pcsc.PINBlock{Encoding: pcsc.PINASCII, Size: 6, AlignRight: true}, "00200001 06 000000000000", "1234", "00200001 06 000031323334"},
		"BCD, right":            {pcsc.PINBlock{Encoding: pcsc.PINBCD, Size: 4, AlignRight: true}, "00200001 04 FFFFFFFF", "12345", "00200001 04 FFF12345"},
		"right, whole field":    {pcsc.PINBlock{Encoding: pcsc.PINBCD, Offset: 1, Size: 4, AlignRight: true}, "00200001 04 FFFFFFFF", "1234", "00200001 04 FFFF1234"},
		"offset in bits":        {pcsc.PINBlock{Encoding: pcsc.PINBCD, Size: 4, Offset: 4, OffsetUnit: pcsc.PINBits}, "00200001 04 F0000000", "12345", "00200001 04 F1234500"},
		"length byte":           {pcsc.PINBlock{Encoding: pcsc.PINASCII, Size: 8, Offset: 1, LengthBits: 8}, "00200001 09 00FFFFFFFFFFFFFFFF", "1234", "00200001 09 0431323334FFFFFFFF"},
		"length after":          {pcsc.PINBlock{Encoding: pcsc.PINASCII, Size: 4, LengthBits: 8, LengthOffset: 4, LengthUnit: pcsc.PINBytes}, "00200001 05 0000000000", "1234", "00200001 05 3132333404"},
		"no size, offset":       {pcsc.PINBlock{Encoding: pcsc.PINASCII, Offset: 2}, "00200001 02 AABB", "1234", "00200001 06 AABB31323334"},
	} {
		t.Run(name, func(t *testing.T) {
			pad, card := &virtual.PINPad{}, &hearing{}
			_, _, c := padCard(t, pad, card)
			pad.Enter(test.pin)
			err := c.VerifyPINDirect(t.Context(), pcsc.PINVerify{Block: test.block, MinDigits: 4, MaxDigits: max(4, len(test.pin)),
				APDU: spaced(t, test.apdu)})
			require.NoError(t, err)
			require.Equal(t, strings.ReplaceAll(test.want, " ", ""), card.heard())
		})
	}
}

func TestPINPadModify(t *testing.T) {
	pad, card := &virtual.PINPad{}, &hearing{}
	_, _, c := padCard(t, pad, card)
	var asked []virtual.PINPrompt
	pins := map[virtual.PINPurpose]string{virtual.PINOld: "1234", virtual.PINNew: "567890", virtual.PINNewAgain: "567890"}
	pad.User = func(prompt virtual.PINPrompt) string {
		asked = append(asked, prompt)
		return pins[prompt.Purpose] + virtual.KeyOK
	}
	m := asciiModify()
	m.Messages, m.Language, m.MessageIndexes = 3, 0x0409, [3]byte{5, 6, 7}
	require.NoError(t, c.ModifyPINDirect(t.Context(), m))
	require.Equal(t, "0024000110"+"31323334FFFFFFFF"+"353637383930FFFF", card.heard())
	require.Equal(t, []virtual.PINPrompt{
		{Purpose: virtual.PINOld, Min: 4, Max: 8, Language: 0x0409, Message: 5},
		{Purpose: virtual.PINNew, Min: 4, Max: 8, Language: 0x0409, Message: 6},
		{Purpose: virtual.PINNewAgain, Min: 4, Max: 8, Language: 0x0409, Message: 7},
	}, asked)

	// Without the old one, and not again; the message is the first, then.
	asked = nil
	m.AskOld, m.ConfirmNew, m.NewOffset = false, false, 0
	m.APDU = spaced(t, "00240101 08 FFFFFFFFFFFFFFFF")
	require.NoError(t, c.ModifyPINDirect(t.Context(), m))
	require.Equal(t, "0024010108"+"353637383930FFFF", card.heard())
	require.Equal(t, []virtual.PINPrompt{{Purpose: virtual.PINNew, Min: 4, Max: 8, Language: 0x0409, Message: 5}}, asked)

	// Of unknown lengths, one after the other.
	m = pcsc.PINModify{Block: pcsc.PINBlockASCII(0), MinDigits: 4, MaxDigits: 8, ConfirmNew: true, APDU: unhex(t, "00240001")}
	require.NoError(t, c.ModifyPINDirect(t.Context(), m))
	require.Equal(t, "0024000106"+"353637383930", card.heard())

	m.AskOld = true
	require.NoError(t, c.ModifyPINDirect(t.Context(), m))
	require.Equal(t, "002400010A"+"31323334"+"353637383930", card.heard())

	// Different the second time: nothing is sent.
	pins[virtual.PINNewAgain] = "567891"
	err := c.ModifyPINDirect(t.Context(), asciiModify())
	require.ErrorIs(t, err, pcsc.ErrInvalidCHV)
	require.ErrorIs(t, err, pcsc.PINStatusMismatch)
	require.Empty(t, card.heard())
	for p, text := range map[virtual.PINPurpose]string{
		virtual.PINToVerify: "PIN", virtual.PINOld: "old PIN", virtual.PINNew: "new PIN", virtual.PINNewAgain: "new PIN again",
		9: "unknown PIN",
	} {
		require.Equal(t, text, p.String())
	}
}

func TestPINPadKeys(t *testing.T) {
	all := pcsc.PINEndMaxDigits | pcsc.PINEndKey | pcsc.PINEndTimeout
	for name, test := range map[string]struct {
		keys   string
		end    pcsc.PINEnd
		want   error
		status pcsc.PINStatus
		heard  string
		after  time.Duration
	}{
		"right":                 {"1234\r", 0, nil, 0, "31323334FFFFFFFF", 0},
		"erased":                {"129\b\b\b\b1234\r", 0, nil, 0, "31323334FFFFFFFF", 0},
		"other keys":            {"1x2 3\n4\r", 0, nil, 0, "31323334FFFFFFFF", 0},
		"full length":           {"12345678", all, nil, 0, "3132333435363738", 0},
		"full length, no OK":    {"12345678", 0, pcsc.ErrTimeout, pcsc.PINStatusTimeout, "", 30 * time.Second},
		"OK does not end":       {"1234\r", pcsc.PINEndMaxDigits, pcsc.ErrTimeout, pcsc.PINStatusTimeout, "", 30 * time.Second},
		"time ends":             {"1234", all, nil, 0, "31323334FFFFFFFF", 30 * time.Second},
		"time ends, no digit":   {"", all, pcsc.ErrTimeout, pcsc.PINStatusTimeout, "", 30 * time.Second},
		"time ends, too few":    {"123", all, pcsc.ErrInvalidCHV, pcsc.PINStatusLength, "", 30 * time.Second},
		"nobody":                {"", 0, pcsc.ErrTimeout, pcsc.PINStatusTimeout, "", 30 * time.Second},
		"nobody ends":           {"1234", 0, pcsc.ErrTimeout, pcsc.PINStatusTimeout, "", 30 * time.Second},
		"cancelled":             {"123\x1B", 0, pcsc.ErrCancelledByUser, pcsc.PINStatusCancelled, "", 0},
		"cancelled at once":     {"\x1B1234\r", 0, pcsc.ErrCancelledByUser, pcsc.PINStatusCancelled, "", 0},
		"too few":               {"123\r", 0, pcsc.ErrInvalidCHV, pcsc.PINStatusLength, "", 0},
		"too many":              {"123456789\r", 0, pcsc.ErrInvalidCHV, pcsc.PINStatusLength, "", 0},
		"too many, full length": {"123456789\r", all, nil, 0, "3132333435363738", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pad, card := &virtual.PINPad{}, &hearing{}
				_, _, c := padCard(t, pad, card)
				pad.Press(test.keys)
				v := asciiVerify()
				v.EndOn = test.end
				begin := time.Now()
				err := c.VerifyPINDirect(t.Context(), v)
				require.Equal(t, test.after, time.Since(begin))
				if test.want == nil {
					require.NoError(t, err)
					require.Equal(t, "0020000108"+test.heard, card.heard())
					return
				}
				require.ErrorIs(t, err, test.want)
				require.ErrorIs(t, err, test.status)
				require.Empty(t, card.heard())
			})
		})
	}
}

// The times are the client's, or the pad's.
func TestPINPadTimes(t *testing.T) {
	for name, test := range map[string]struct {
		first, further, pads time.Duration
		keyAfter             time.Duration // the one key
		want                 time.Duration
	}{
		"none":           {0, 0, 0, 0, 30 * time.Second},
		"pad's":          {0, 0, time.Minute, 0, time.Minute},
		"client's":       {10 * time.Second, 0, time.Minute, 0, 10 * time.Second},
		"after the key":  {10 * time.Second, 20 * time.Second, time.Minute, 5 * time.Second, 25 * time.Second},
		"shorter then":   {10 * time.Second, 2 * time.Second, time.Minute, 5 * time.Second, 7 * time.Second},
		"pad's, and key": {0, 0, time.Minute, 5 * time.Second, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pad := &virtual.PINPad{Timeout: test.pads}
				_, _, c := padCard(t, pad, &hearing{})
				if test.keyAfter > 0 {
					go func() {
						time.Sleep(test.keyAfter)
						pad.Press("1")
						time.Sleep(time.Second) // changes nothing
						pad.Press("2")
					}()
				}
				v := asciiVerify()
				v.Timeout, v.TimeoutAfterKey = test.first, test.further
				begin := time.Now()
				require.ErrorIs(t, c.VerifyPINDirect(t.Context(), v), pcsc.ErrTimeout)
				require.Equal(t, test.want, time.Since(begin))
			})
		})
	}
}

// What the card says is what the client gets.
func TestPINPadCardAnswers(t *testing.T) {
	pad, card := &virtual.PINPad{User: func(virtual.PINPrompt) string { return "9999\r" }}, &hearing{sw: []byte{0x63, 0xC2}}
	_, r, c := padCard(t, pad, card)
	err := c.VerifyPINDirect(t.Context(), asciiVerify())
	require.ErrorIs(t, err, pcsc.ErrWrongCHV)
	var status pcsc.PINStatus
	require.ErrorAs(t, err, &status)
	tries, ok := status.TriesLeft()
	require.True(t, ok)
	require.Equal(t, 2, tries)

	// The demo card, with its PIN.
	demo := virtual.NewDemoCard()
	r.Insert(demo)
	require.NoError(t, c.Reconnect(t.Context(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
	_, err = c.Transmit(t.Context(), unhex(t, selectDemo))
	require.NoError(t, err)
	v := pcsc.PINVerify{Block: pcsc.PINBlockASCII(0), MinDigits: 4, MaxDigits: 4, APDU: []byte{0x00, 0x20, 0x00, 0x01}}
	require.ErrorIs(t, c.VerifyPINDirect(t.Context(), v), pcsc.ErrWrongCHV)
	require.Equal(t, virtual.DemoTries-1, demo.Tries())
	pad.User = func(virtual.PINPrompt) string { return virtual.DemoPIN + virtual.KeyOK }
	require.NoError(t, c.VerifyPINDirect(t.Context(), v))
	require.Equal(t, virtual.DemoTries, demo.Tries())
	response, err := c.Transmit(t.Context(), unhex(t, "00CA5F4200"))
	require.NoError(t, err)
	require.Equal(t, []byte{0x90, 0x00}, response[len(response)-2:])
}

// A structure that makes no sense is refused. Package pcsc makes none, so these are made by hand.
func TestPINPadStructures(t *testing.T) {
	pad := &virtual.PINPad{InSteps: true, User: func(virtual.PINPrompt) string { return "1234\r" }}
	card := &hearing{}
	_, _, c := padCard(t, pad, card)
	good := func() []byte {
		b, err := asciiVerify().AppendBinary(nil)
		require.NoError(t, err)
		return b
	}
	modify, err := asciiModify().AppendBinary(nil)
	require.NoError(t, err)
	for name, in := range map[string][]byte{
		"none":              nil,
		"short":             good()[:18],
		"no command":        append(good()[:15], 0, 0, 0, 0),
		"Lc 0":              slices.Concat(good()[:15], binary.NativeEndian.AppendUint32(nil, 6), []byte{0x00, 0x20, 0x00, 0x01, 0x00, 0xFF}),
		"command torn":      good()[:31],
		"length wrong":      append(good(), 0),
		"encoding":          edit(good(), 2, 0x83),
		"no digits":         edit(good(), 5, 0, 0),
		"ends on nothing":   edit(good(), 7, 0),
		"block too small":   edit(good(), 3, 0x03),
		"offset beyond":     edit(good(), 2, 0xCA),
		"length beyond":     edit(edit(good(), 3, 0x88), 4, 0x1F),
		"length too small":  edit(good(), 3, 0x28),
		"modify, new place": edit(modify, 6, 13),
	} {
		feature := pcsc.FeatureVerifyPINDirect
		if strings.HasPrefix(name, "modify") {
			feature = pcsc.FeatureModifyPINDirect
		}
		answer, err := c.ControlFeature(t.Context(), feature, in)
		require.NoError(t, err, name)
		require.Equal(t, []byte{0x6B, 0x80}, answer, name)
		require.Empty(t, card.heard(), name)
	}
	answer, err := c.ControlFeature(t.Context(), pcsc.FeatureVerifyPINDirect, edit(good(), 5, 9, 9))
	require.NoError(t, err)
	require.Equal(t, []byte{0x64, 0x03}, answer, "9 digits, at least and at most")
	// The pad is as good as before.
	require.NoError(t, c.VerifyPINDirect(t.Context(), asciiVerify()))
	require.NotEmpty(t, card.heard())
	// Nothing was started.
	_, err = c.ControlFeature(t.Context(), pcsc.FeatureVerifyPINFinish, nil)
	require.ErrorIs(t, err, pcsc.ErrNotTransacted)
	require.NoError(t, c.AbortPIN(t.Context()))
	key, err := c.KeyPressed(t.Context())
	require.NoError(t, err)
	require.Equal(t, pcsc.PINKeyNone, key)
}

func edit(b []byte, at int, values ...byte) []byte {
	copy(b[at:], values)
	return b
}

func TestPINPadFeatures(t *testing.T) {
	for name, test := range map[string]struct {
		pad  *virtual.PINPad
		want []pcsc.Feature
	}{
		"plain": {&virtual.PINPad{}, []pcsc.Feature{pcsc.FeatureVerifyPINDirect, pcsc.FeatureModifyPINDirect,
			pcsc.FeatureIFDPINProperties, pcsc.FeatureGetTLVProperties}},
		"all": {&virtual.PINPad{InSteps: true, Escape: func([]byte) ([]byte, error) { return nil, nil },
			PACE: func(byte, []byte) ([]byte, uint32, error) { return nil, 0, nil }},
			[]pcsc.Feature{pcsc.FeatureVerifyPINDirect, pcsc.FeatureModifyPINDirect,
				pcsc.FeatureIFDPINProperties, pcsc.FeatureGetTLVProperties,
				pcsc.FeatureVerifyPINStart, pcsc.FeatureVerifyPINFinish, pcsc.FeatureModifyPINStart,
				pcsc.FeatureModifyPINFinish, pcsc.FeatureGetKeyPressed, pcsc.FeatureAbort,
				pcsc.FeatureCCIDEscCommand, pcsc.FeatureExecutePACE}},
	} {
		t.Run(name, func(t *testing.T) {
			_, r, c := padCard(t, test.pad, nil) // without a card
			features, err := c.Features(t.Context())
			require.NoError(t, err)
			var got []pcsc.Feature
			for f := range features.All() {
				got = append(got, f)
			}
			require.Equal(t, test.want, got)
			r.SetPINPad(nil)
			features, err = c.Features(t.Context())
			require.NoError(t, err)
			require.Zero(t, features.Len())
		})
	}
}

func TestPINPadProperties(t *testing.T) {
	_, _, c := padCard(t, &virtual.PINPad{}, nil)
	p, err := c.Properties(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint16(0x0210), p.LCDLayout)
	require.Equal(t, byte(7), p.EntryValidationCondition)
	require.Equal(t, uint16(16), p.LCDMaxCharacters)
	require.Equal(t, uint16(2), p.LCDMaxLines)
	require.Equal(t, []byte{4, 12}, []byte{p.MinPINSize, p.MaxPINSize})
	require.Equal(t, uint32(65548), p.MaxAPDUDataSize)
	require.False(t, p.Has(pcsc.PropertyFirmwareID))
	require.False(t, p.Has(pcsc.PropertyVendorID))
	pin, err := c.PINProperties(t.Context())
	require.NoError(t, err)
	require.Equal(t, pcsc.PINProperties{LCDLayout: 0x0210, EndOn: 7, TimeOut2: 1}, pin)

	_, _, c = padCard(t, &virtual.PINPad{MinPIN: 1, MaxPIN: 15, Lines: -1, VendorID: 0x1234, ProductID: 0x5678,
		Firmware: strings.Repeat("x", 300)}, nil)
	p, err = c.Properties(t.Context())
	require.NoError(t, err)
	for tag := range map[pcsc.Property]bool{pcsc.PropertyVendorID: true, pcsc.PropertyFirmwareID: true} {
		require.True(t, p.Has(tag))
	}
	require.Equal(t, []uint16{0, 0, 0, 0x1234, 0x5678}, []uint16{p.LCDLayout, p.LCDMaxCharacters, p.LCDMaxLines, p.VendorID, p.ProductID})
	require.Len(t, p.FirmwareID, 255)
	require.Equal(t, []byte{1, 15}, []byte{p.MinPINSize, p.MaxPINSize})
	_, _, c = padCard(t, &virtual.PINPad{Lines: 4, Columns: 20}, nil)
	pin, err = c.PINProperties(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint16(0x0414), pin.LCDLayout)
}

func TestPINPadEscapeAndPACE(t *testing.T) {
	pad := &virtual.PINPad{
		Escape: func(command []byte) ([]byte, error) { return append([]byte{0xEE}, command...), nil },
		PACE: func(function byte, input []byte) ([]byte, uint32, error) {
			switch function {
			case 1:
				return []byte{0x40}, 0, nil
			case 2:
				return append([]byte("got "), input...), 0, nil
			case 3:
				return nil, 0xF0100002, nil
			case 4:
				return nil, 0, winscard.ErrReaderUnavailable
			}
			return make([]byte, 0x10000), 0, nil
		},
		Controller: &driver{},
	}
	_, r, c := padCard(t, pad, nil)
	answer, err := c.Escape(t.Context(), []byte{1, 2})
	require.NoError(t, err)
	require.Equal(t, []byte{0xEE, 1, 2}, answer)
	answer, err = c.ExecutePACE(t.Context(), pcsc.PACECapabilities, nil)
	require.NoError(t, err)
	require.Equal(t, []byte{0x40}, answer)
	answer, err = c.ExecutePACE(t.Context(), pcsc.PACEEstablish, []byte{2, 0, 0})
	require.NoError(t, err)
	require.Equal(t, "got \x02\x00\x00", string(answer))
	_, err = c.ExecutePACE(t.Context(), pcsc.PACEDestroy, nil)
	require.ErrorIs(t, err, pcsc.PACEResult(0xF0100002))
	_, err = c.ExecutePACE(t.Context(), 4, nil)
	require.ErrorIs(t, err, pcsc.ErrReaderUnavailable)
	_, err = c.ExecutePACE(t.Context(), 5, nil)
	require.ErrorIs(t, err, pcsc.ErrNotTransacted)
	for _, in := range [][]byte{nil, {1}, {1, 0}, {1, 1, 0}, {1, 0, 0, 9}} {
		_, err = c.ControlFeature(t.Context(), pcsc.FeatureExecutePACE, in)
		require.ErrorIs(t, err, pcsc.ErrNotTransacted, in)
	}

	// What is not the pad's goes to the other controller.
	answer, err = c.Control(t.Context(), 1, []byte("x"))
	require.NoError(t, err)
	require.Equal(t, "got x", string(answer))
	require.NoError(t, c.SetAttrib(t.Context(), 7, []byte{1}))
	r.SetPINPad(&virtual.PINPad{})
	_, err = c.Control(t.Context(), 1, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorIs(t, c.SetAttrib(t.Context(), 7, []byte{1}), pcsc.ErrNotTransacted)
}

// An entry in steps, as package pcsc makes it when it can.
func TestPINPadInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pad, card := &virtual.PINPad{InSteps: true}, &hearing{}
		_, _, c := padCard(t, pad, card)
		go func() {
			for _, key := range []string{"1", "2", "9", virtual.KeyErase, "3", "4", virtual.KeyOK} {
				time.Sleep(time.Second)
				pad.Press(key)
			}
		}()
		var keys []pcsc.PINKey
		note := func(k pcsc.PINKey) { keys = append(keys, k) }
		require.NoError(t, c.VerifyPIN(t.Context(), asciiVerify(), note))
		require.Equal(t, "002000010831323334FFFFFFFF", card.heard())
		digit := pcsc.PINKeyDigit
		require.Equal(t, []pcsc.PINKey{digit, digit, digit, pcsc.PINKeyErase, digit, digit, pcsc.PINKeyEnter}, keys)

		keys = nil
		pad.Enter("1234")
		pad.Enter("5678")
		pad.Enter("5678")
		require.NoError(t, c.ModifyPIN(t.Context(), asciiModify(), note))
		require.Equal(t, "002400011031323334FFFFFFFF35363738FFFFFFFF", card.heard())
		require.Len(t, keys, 13)

		// The user cancels, nobody comes, the program gives up.
		pad.Press("1" + virtual.KeyCancel)
		require.ErrorIs(t, c.VerifyPIN(t.Context(), asciiVerify(), nil), pcsc.ErrCancelledByUser)
		begin := time.Now()
		keys = nil
		require.ErrorIs(t, c.VerifyPIN(t.Context(), asciiVerify(), note), pcsc.ErrTimeout)
		require.GreaterOrEqual(t, time.Since(begin), 30*time.Second)
		require.Less(t, time.Since(begin), 31*time.Second)
		require.Equal(t, []pcsc.PINKey{pcsc.PINKeyAbort}, keys)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Second)
			cancel()
		}()
		begin = time.Now()
		require.ErrorIs(t, c.VerifyPIN(ctx, asciiVerify(), nil), context.Canceled)
		require.Less(t, time.Since(begin), 2*time.Second)
		require.Empty(t, card.heard())

		// Finishing waits for the user.
		v, err := asciiVerify().AppendBinary(nil)
		require.NoError(t, err)
		_, err = c.ControlFeature(t.Context(), pcsc.FeatureVerifyPINStart, v)
		require.NoError(t, err)
		go func() {
			time.Sleep(time.Second)
			pad.Enter("1234")
		}()
		answer, err := c.ControlFeature(t.Context(), pcsc.FeatureVerifyPINFinish, nil)
		require.NoError(t, err)
		require.Equal(t, []byte{0x90, 0x00}, answer)
	})
}

// During an entry the card is the reader's alone; without one the driver fails at once.
func TestPINPadAndTheCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pad, card := &virtual.PINPad{}, &hearing{}
		s, r, c := padCard(t, pad, card)
		verify := func() <-chan error {
			done := make(chan error, 1)
			go func() { done <- c.VerifyPINDirect(context.Background(), asciiVerify()) }()
			synctest.Wait()
			return done
		}
		_, other := connect(t, s, r, shared)
		done := verify()
		sent := async(func() winscard.Code { return transmit(s, other) })
		synctest.Wait()
		pending(t, sent)
		pad.Enter("1234")
		require.NoError(t, <-done)
		ok(t, <-sent)

		// Pulled, unplugged and stopped in the middle, which ends the entry at once.
		begin := time.Now()
		done = verify()
		r.Remove()
		require.ErrorIs(t, <-done, pcsc.ErrNotTransacted)
		require.ErrorIs(t, c.VerifyPINDirect(t.Context(), asciiVerify()), pcsc.ErrNotTransacted)
		r.Insert(card)
		require.NoError(t, c.Reconnect(t.Context(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
		done = verify()
		r.Remove()
		r.Insert(&hearing{})
		require.ErrorIs(t, <-done, pcsc.ErrNotTransacted, "another card by now")
		require.NoError(t, c.Reconnect(t.Context(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
		done = verify()
		s.RemoveReader(r)
		require.ErrorIs(t, <-done, pcsc.ErrNotTransacted)
		require.Equal(t, begin, time.Now())
	})
	synctest.Test(t, func(t *testing.T) {
		s, _, c := padCard(t, &virtual.PINPad{}, &hearing{})
		done := make(chan error, 1)
		go func() { done <- c.VerifyPINDirect(context.Background(), asciiVerify()) }()
		synctest.Wait()
		s.Stop()
		require.ErrorIs(t, <-done, pcsc.ErrCommError)
	})
	// A mute card.
	s := virtual.New()
	r := s.AddReader("Test Reader")
	r.SetPINPad(&virtual.PINPad{})
	r.Insert(virtual.NewCard(nil, nil))
	_, card := connect(t, s, r, direct)
	_, rc := s.Control(card, winscard.CtlCode(0x806), nil, make([]byte, 10))
	want(t, winscard.ErrNotTransacted, rc)
}

// Faults for Transmit strike what the pad sends.
func TestPINPadFaults(t *testing.T) {
	for text, test := range map[string]struct {
		want  error
		heard bool
	}{
		"pull-card apdu 0020":                {pcsc.ErrNotTransacted, true},
		"pull-card before apdu 0020":         {pcsc.ErrNotTransacted, false},
		"unplug-reader":                      {pcsc.ErrNotTransacted, true},
		"stop-service":                       {pcsc.ErrCommError, true},
		"restart-service":                    {pcsc.ErrCommError, true},
		"restart-service before":             {pcsc.ErrCommError, false},
		"mute-card":                          {pcsc.ErrNotTransacted, true},
		"mute-card before":                   {pcsc.ErrNotTransacted, false},
		"answer 63C1":                        {pcsc.ErrWrongCHV, true},
		"fail SCARD_E_READER_UNAVAILABLE":    {pcsc.ErrReaderUnavailable, false},
		"lose SCARD_E_TIMEOUT":               {pcsc.ErrTimeout, true},
		"reset-card":                         {nil, true}, // before; the driver does not mind
		"comm-error on Control":              {pcsc.ErrCommError, true},
		"comm-error before on Control nth 2": {pcsc.ErrCommError, false}, // after the question for features
	} {
		t.Run(text, func(t *testing.T) {
			pad, card := &virtual.PINPad{User: func(virtual.PINPrompt) string { return "1234\r" }}, &hearing{}
			_, r, c := padCard(t, pad, card)
			fault, err := virtual.ParseFault(text)
			require.NoError(t, err)
			if text == "comm-error on Control" {
				fault = fault.When(virtual.Nth(2))
			}
			injection := r.Inject(fault)
			err = c.VerifyPINDirect(t.Context(), asciiVerify())
			require.Equal(t, 1, injection.Struck())
			if test.want == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, test.want)
			}
			require.Equal(t, test.heard, card.heard() != "")
		})
	}
}

// A card that has fallen silent does not hear the pad either.
func TestPINPadSilentCard(t *testing.T) {
	pad, card := &virtual.PINPad{}, &hearing{}
	_, r, c := padCard(t, pad, card)
	r.Inject(virtual.MuteCard(), virtual.Before())
	for range 2 {
		pad.Enter("1234")
		require.ErrorIs(t, c.VerifyPINDirect(t.Context(), asciiVerify()), pcsc.ErrNotTransacted)
		require.Empty(t, card.heard())
	}
}

// A card that panics under the pad leaves the reader usable.
func TestPINPadCardPanics(t *testing.T) {
	s, r := setup(t, virtual.CardFunc(func(apdu []byte) ([]byte, error) {
		if apdu[1] == 0x20 {
			panic("card")
		}
		return []byte{0x90, 0x00}, nil
	}))
	pad := &virtual.PINPad{}
	r.SetPINPad(pad)
	pad.Enter("1234")
	_, card := connect(t, s, r, shared)
	in, err := asciiVerify().AppendBinary(nil)
	require.NoError(t, err)
	require.Panics(t, func() { s.Control(card, winscard.CtlCode(0x806), in, make([]byte, 10)) })
	ok(t, transmit(s, card))
}

func ExamplePINPad() {
	service := virtual.New()
	reader := service.AddReader("PIN Pad")
	reader.Insert(virtual.NewDemoCard())
	pad := &virtual.PINPad{}
	reader.SetPINPad(pad)

	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	ctx := context.Background()
	card, err := pc.Connect(ctx, reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	send(card, selectApp)
	verify := pcsc.PINVerify{Block: pcsc.PINBlockASCII(0), MinDigits: 4, MaxDigits: 8, APDU: []byte{0x00, 0x20, 0x00, 0x01}}

	pad.Enter("9999")
	fmt.Println(errors.Is(card.VerifyPINDirect(ctx, verify), pcsc.ErrWrongCHV))
	pad.Press("12" + virtual.KeyCancel)
	fmt.Println(errors.Is(card.VerifyPINDirect(ctx, verify), pcsc.ErrCancelledByUser))
	pad.Enter(virtual.DemoPIN)
	fmt.Println(card.VerifyPINDirect(ctx, verify))
	// Output:
	// 90 00
	// true
	// true
	// <nil>
}

func FuzzPINPad(f *testing.F) {
	v, _ := asciiVerify().AppendBinary(nil)
	m, _ := asciiModify().AppendBinary(nil)
	f.Add(false, v, "1234\r")
	f.Add(true, m, "1234\r5678\r5678\r")
	f.Fuzz(func(t *testing.T, modify bool, in []byte, keys string) {
		card := &hearing{}
		s, r := setup(t, card)
		pad := &virtual.PINPad{Timeout: 1, InSteps: true}
		r.SetPINPad(pad)
		_, h := connect(t, s, r, shared)
		if len(in) > 1 { // no waiting
			in = bytes.Clone(in)
			in[0], in[1] = 0, 0
		}
		pad.Press(keys)
		code := winscard.CtlCode(0x806)
		if modify {
			code = winscard.CtlCode(0x807)
		}
		buf := make([]byte, 300)
		n, rc := s.Control(h, code, in, buf)
		ok(t, rc)
		require.Len(t, buf[:n], 2)
		if heard := card.heard(); heard != "" {
			require.Equal(t, "9000", fmt.Sprintf("%X", buf[:n]))
		}
	})
}
