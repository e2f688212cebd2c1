package pcsc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/part10"
)

// native writes numbers of 2 and 4 bytes as the host has them, and the rest as it is.
func native(parts ...any) (b []byte) {
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			b = append(b, byte(v))
		case uint16:
			b = binary.NativeEndian.AppendUint16(b, v)
		case uint32:
			b = binary.NativeEndian.AppendUint32(b, v)
		case []byte:
			b = append(b, v...)
		default:
			panic(fmt.Sprintf("%T", p))
		}
	}
	return b
}

func goodVerify() PINVerify {
	return PINVerify{
		Block: PINBlockASCII(8), MinDigits: 4, MaxDigits: 8,
		APDU: []byte{0, 0x20, 0, 1, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
	}
}

func goodModify() PINModify {
	return PINModify{
		Block: PINBlockASCII(8), NewOffset: 8, MinDigits: 4, MaxDigits: 8, AskOld: true, ConfirmNew: true,
		APDU: append([]byte{0, 0x24, 0, 1, 16}, bytes.Repeat([]byte{0xFF}, 16)...),
	}
}

func TestPINVerifyBytes(t *testing.T) {
	v := goodVerify()
	v.Timeout, v.TimeoutAfterKey = 30*time.Second, 15*time.Second
	v.Messages, v.Language, v.MessageIndex = 1, 0x0409, 2
	v.Prologue = [3]byte{3, 4, 5}
	got, err := v.AppendBinary([]byte("head"))
	require.NoError(t, err)
	require.Equal(t, append([]byte("head"), native(30, 15, 0x82, 0x08, 0x00, uint16(0x0408), 2, 1, uint16(0x0409), 2,
		[]byte{3, 4, 5}, uint32(13), v.APDU)...), got)

	v = PINVerify{Block: PINBlockFormat2(), MinDigits: 4, MaxDigits: 12, EndOn: PINEndKey | PINEndMaxDigits,
		APDU: []byte{0, 0x20, 0, 0x82, 8, 0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}
	got, err = v.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, native(0, 0, 0x89, 0x47, 0x04, uint16(0x040C), 3, 0, uint16(0), 0, []byte{0, 0, 0}, uint32(13), v.APDU), got)
}

func TestPINModifyBytes(t *testing.T) {
	m := goodModify()
	m.Timeout = 60 * time.Second
	m.Messages, m.Language, m.MessageIndexes = PINDefaultMessages, 0x0407, [3]byte{7, 8, 9}
	got, err := m.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, native(60, 0, 0x82, 0x08, 0, 0, 8, uint16(0x0408), 3, 2, 0xFF, uint16(0x0407), 7, 8, 9,
		[]byte{0, 0, 0}, uint32(21), m.APDU), got)
	for _, test := range []struct {
		ask, confirm bool
		want         byte
	}{{false, false, 0}, {false, true, 1}, {true, false, 2}, {true, true, 3}} {
		m.AskOld, m.ConfirmNew = test.ask, test.confirm
		got, err = m.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, test.want, got[9])
	}
}

// Each fault is named, and nothing is appended.
func TestPINFaults(t *testing.T) {
	verify := func(want string, change func(*PINVerify)) {
		t.Helper()
		v := goodVerify()
		change(&v)
		got, err := v.AppendBinary([]byte("x"))
		require.ErrorIs(t, err, ErrInvalidParameter, want)
		require.ErrorContains(t, err, "PINVerify."+want)
		require.Equal(t, "x", string(got))
	}
	modify := func(want string, change func(*PINModify)) {
		t.Helper()
		m := goodModify()
		change(&m)
		got, err := m.AppendBinary([]byte("x"))
		require.ErrorIs(t, err, ErrInvalidParameter, want)
		require.ErrorContains(t, err, "PINModify."+want)
		require.Equal(t, "x", string(got))
	}
	for _, d := range []time.Duration{-1, -time.Second, time.Millisecond, 1500 * time.Millisecond, 256 * time.Second} {
		verify("Timeout: ", func(v *PINVerify) { v.Timeout = d })
		verify("TimeoutAfterKey: ", func(v *PINVerify) { v.TimeoutAfterKey = d })
		modify("Timeout: ", func(m *PINModify) { m.Timeout = d })
		modify("TimeoutAfterKey: ", func(m *PINModify) { m.TimeoutAfterKey = d })
	}
	for _, n := range []int{-1, 16, 256, 1 << 30} {
		verify("Block.Offset: ", func(v *PINVerify) { v.Block.Offset = n })
		verify("Block.Size: ", func(v *PINVerify) { v.Block.Size = n })
		verify("Block.LengthBits: ", func(v *PINVerify) { v.Block.LengthBits = n })
		verify("Block.LengthOffset: ", func(v *PINVerify) { v.Block.LengthBits, v.Block.LengthOffset = 4, n })
		modify("Block.Size: ", func(m *PINModify) { m.Block.Size = n })
	}
	verify("Block.LengthOffset: ", func(v *PINVerify) { v.Block.LengthOffset = 1 })
	verify("Block.Encoding: ", func(v *PINVerify) { v.Block.Encoding = 0 })
	verify("Block.Encoding: ", func(v *PINVerify) { v.Block.Encoding = PINASCII + 1 })
	verify("Block.OffsetUnit: ", func(v *PINVerify) { v.Block.OffsetUnit = 2 })
	verify("Block.LengthUnit: ", func(v *PINVerify) { v.Block.LengthUnit = 2 })

	for _, n := range []int{-1, 256} {
		verify("MinDigits: ", func(v *PINVerify) { v.MinDigits = n })
		verify("MaxDigits: ", func(v *PINVerify) { v.MaxDigits = n })
		modify("OldOffset: ", func(m *PINModify) { m.OldOffset = n })
		modify("NewOffset: ", func(m *PINModify) { m.NewOffset = n })
	}
	verify("MaxDigits: ", func(v *PINVerify) { v.MinDigits, v.MaxDigits = 0, 0 })
	verify("MinDigits: ", func(v *PINVerify) { v.MinDigits, v.MaxDigits = 8, 7 })
	verify("MaxDigits: ", func(v *PINVerify) { v.MaxDigits = 9 })
	verify("MaxDigits: ", func(v *PINVerify) { v.Block = PINBlockFormat2(); v.MaxDigits = 15 })
	verify("MaxDigits: ", func(v *PINVerify) { v.Block.LengthBits = 3 })
	verify("EndOn: ", func(v *PINVerify) { v.EndOn = 8 })
	for _, n := range []int{-1, 2, 254, 256} {
		verify("Messages: ", func(v *PINVerify) { v.Messages, v.Language = n, 0x0409 })
	}
	for _, n := range []int{-1, 4, 254, 256} {
		modify("Messages: ", func(m *PINModify) { m.Messages, m.Language = n, 0x0409 })
	}
	verify("Language: ", func(v *PINVerify) { v.Messages = 1 })
	modify("Language: ", func(m *PINModify) { m.Messages = PINDefaultMessages })

	for _, apdu := range [][]byte{
		nil, {0}, {0, 0x20, 0}, // no command
		{0, 0x20, 0, 1, 8},                      // Lc without data
		append(goodVerify().APDU, 0, 0),         // too much
		goodVerify().APDU[:12],                  // too little
		{0, 0x20, 0, 1, 0, 0, 2, 0xFF, 0xFF},    // extended
		{0, 0x20, 0, 1, 4, 0xFF, 0xFF, 0xFF, 1}, // the block does not fit
	} {
		verify("APDU: ", func(v *PINVerify) { v.APDU = apdu })
		modify("APDU: ", func(m *PINModify) { m.APDU = apdu })
	}
	modify("APDU: ", func(m *PINModify) { m.NewOffset = 9 })
	modify("APDU: ", func(m *PINModify) { m.OldOffset, m.NewOffset = 9, 0 })
	modify("NewOffset: ", func(m *PINModify) { m.NewOffset = 7 })
	modify("NewOffset: ", func(m *PINModify) { m.OldOffset, m.NewOffset = 8, 1 })

	// What is at the bounds is right.
	for _, change := range []func(*PINVerify){
		func(v *PINVerify) { v.Timeout, v.TimeoutAfterKey = 255*time.Second, 255*time.Second },
		func(v *PINVerify) { v.MinDigits = 8 },
		func(v *PINVerify) { v.Block.Size, v.MinDigits, v.MaxDigits = 0, 255, 255 },
		func(v *PINVerify) { v.Block.LengthBits = 4 },
		func(v *PINVerify) { v.EndOn = 7 },
		func(v *PINVerify) { v.Messages, v.Language = 1, 1 },
		func(v *PINVerify) { v.APDU = append(v.APDU, 0) },
		func(v *PINVerify) { v.APDU = v.APDU[:4] },
		func(v *PINVerify) { v.APDU = []byte{0, 0x20, 0, 1, 0} },
	} {
		v := goodVerify()
		change(&v)
		_, err := v.AppendBinary(nil)
		require.NoError(t, err)
	}
	m := goodModify()
	m.AskOld, m.NewOffset = false, 7 // nothing there to overlap
	_, err := m.AppendBinary(nil)
	require.NoError(t, err)
}

// What the encoder makes the decoder reads, for every structure of part 10.
func FuzzPINStructures(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1, 2, 3}, 20))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []interface {
			AppendTo([]byte) []byte
			Decode([]byte) bool
		}{&part10.PINVerify{}, &part10.PINModify{}, &part10.PINProperties{}, &part10.FeatureTLV{}} {
			if !s.Decode(b) {
				require.True(t, reflect.ValueOf(s).Elem().IsZero())
				continue
			}
			again := s.AppendTo([]byte("head"))
			require.Equal(t, "head", string(again[:4]))
			require.Equal(t, b[:len(again)-4], again[4:])
		}
	})
}

func FuzzParseFeatures(f *testing.F) {
	f.Add([]byte{6, 4, 0x42, 0, 1, 2, 7, 4, 0x42, 0, 1, 3})
	f.Add([]byte{6, 0, 6, 5, 1, 2, 3, 4, 5, 6, 4, 1, 2, 3, 4, 7, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		features := parseFeatures(b)
		require.LessOrEqual(t, features.Len(), len(b)/part10.FeatureTLVSize)
		n := 0
		for feature, code := range features.All() {
			n++
			tlv := (&part10.FeatureTLV{Tag: byte(feature), Length: 4, Value: code}).AppendTo(nil)
			require.True(t, bytes.Contains(b, tlv))
			got, ok := features.Code(feature)
			require.True(t, ok)
			require.Equal(t, code, got)
		}
		require.Equal(t, features.Len(), n)
	})
}

func FuzzParseProperties(f *testing.F) {
	f.Add([]byte{1, 2, 0x10, 2, 8, 3, 'a', 'b', 0, 10, 4, 0, 0, 1, 0, 0x7F, 1, 9})
	f.Add([]byte{6, 2, 0, 1, 6, 0, 11, 3, 1, 2, 0, 12, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := parseProperties(b)
		seen := map[Property]bool{}
		for _, tag := range p.Tags() {
			require.False(t, seen[tag])
			seen[tag] = true
			raw, ok := p.Raw(tag)
			require.True(t, ok)
			require.LessOrEqual(t, len(raw), 255)
		}
	})
}

func TestParseProperties(t *testing.T) {
	p := parseProperties([]byte{
		6, 1, 4, 6, 1, 5, // twice
		7, 2, 12, 0, // wider than it is
		1, 1, 0x10, // narrower
		4, 3, 0, 0, 1, // too large
		5, 0, // nothing
		8, 4, 'v', 0xFF, '1', 0, // not UTF-8
		0x90, 2, 0xAA, 0xBB, // a vendor's
		11, 2, 0x34, // torn
	})
	require.EqualValues(t, 4, p.MinPINSize)
	require.EqualValues(t, 12, p.MaxPINSize)
	require.EqualValues(t, 0x10, p.LCDLayout)
	require.Zero(t, p.LCDMaxCharacters)
	require.Equal(t, "v�1", p.FirmwareID)
	require.Equal(t, []Property{
		PropertyMinPINSize, PropertyMaxPINSize, PropertyLCDLayout, PropertyLCDMaxCharacters, PropertyLCDMaxLines,
		PropertyFirmwareID, 0x90,
	}, p.Tags())
	for tag, want := range map[Property]bool{
		PropertyMinPINSize: true, PropertyLCDLayout: true, PropertyLCDMaxCharacters: false, PropertyLCDMaxLines: false,
		0x90: false, PropertyVendorID: false,
	} {
		require.Equal(t, want, p.Has(tag), tag)
	}
	raw, ok := p.Raw(0x90)
	require.True(t, ok)
	require.Equal(t, []byte{0xAA, 0xBB}, raw)
	raw[0] = 0
	raw, _ = p.Raw(0x90)
	require.Equal(t, []byte{0xAA, 0xBB}, raw, "a copy")
	_, ok = p.Raw(PropertyVendorID)
	require.False(t, ok)
}

func TestZeroFeatures(t *testing.T) {
	var f Features
	require.Zero(t, f.Len())
	require.False(t, f.Has(FeatureAbort))
	require.NoError(t, f.Err())
	for range f.All() {
		t.Error("a feature")
	}
	_, err := f.Properties(bg, nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	f = parseFeatures([]byte{6, 4, 0, 0, 0, 1, 7, 4, 0, 0, 0, 2})
	for feature := range f.All() {
		require.Equal(t, FeatureVerifyPINDirect, feature)
		break
	}
}

// Which answers to the question for the features mean that there are none, and which that nobody knows.
func TestFeatureErrors(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	for code, fatal := range map[Code]bool{
		ErrNotTransacted: false, ErrUnsupportedFeature: false, ErrInvalidParameter: false, ErrInvalidValue: false,
		ErrInsufficientBuffer: false, ErrUnsupportedFunction: false, 0x0000001F: false,
		ErrSharingViolation: true, ErrReaderUnavailable: true, ErrNoService: true, ErrRemovedCard: true,
		ErrResetCard: true, ErrInvalidHandle: true, ErrCommError: true, ErrServiceStopped: true,
	} {
		f.control = func(uint32, []byte, []byte) (int, winscard.Code) { return 0, code }
		features, err := card.Features(bg)
		if fatal {
			requireCode(t, err, opControl, code)
			require.NoError(t, features.Err())
			require.ErrorIs(t, card.VerifyPINDirect(bg, goodVerify()), code)
			continue
		}
		require.NoError(t, err)
		require.ErrorIs(t, features.Err(), code)
		require.ErrorIs(t, card.VerifyPINDirect(bg, goodVerify()), errors.ErrUnsupported)
	}
}

// pad makes a backend that is a reader with a PIN pad and these features. Codes are 0x42000000 plus the tag.
func pad(f *fake, answer func(tag Feature, in, out []byte) (int, winscard.Code), tags ...Feature) {
	f.control = func(code uint32, in, out []byte) (int, winscard.Code) {
		if code != CtlGetFeatureRequest {
			return answer(Feature(code-0x42000000), in, out)
		}
		var list []byte
		for _, tag := range tags {
			list = (&part10.FeatureTLV{Tag: byte(tag), Length: 4, Value: 0x42000000 + uint32(tag)}).AppendTo(list)
		}
		return copy(out, list), winscard.Success
	}
}

// What was sent is not left in memory, whatever the caller's template had in it.
func TestPINCleared(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		var sent [][]byte
		status := []byte{0x90, 0x00}
		pad(f, func(tag Feature, in, out []byte) (int, winscard.Code) {
			if tag == FeatureExecutePACE {
				status = make([]byte, 6)
			}
			require.True(t, bytes.Contains(in, []byte("4711")), tag)
			sent = append(sent, in)
			return copy(out, status), winscard.Success
		}, FeatureVerifyPINDirect, FeatureModifyPINDirect, FeatureExecutePACE)
		v, m := goodVerify(), goodModify()
		copy(v.APDU[5:], "4711")
		copy(m.APDU[5:], "4711")
		require.NoError(t, card.VerifyPINDirect(ctx, v))
		require.NoError(t, card.ModifyPINDirect(ctx, m))
		_, err := card.ExecutePACE(ctx, PACEEstablish, []byte("4711"))
		require.NoError(t, err)
		require.Len(t, sent, 3)
		for _, b := range sent {
			require.Equal(t, make([]byte, len(b)), b)
		}
		require.Equal(t, "4711", string(v.APDU[5:9]), "the caller's own")
	})
}

// No text of an error has bytes of the structure.
func TestPINErrorText(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	pad(f, func(_ Feature, _, out []byte) (int, winscard.Code) {
		return copy(out, []byte{0x63, 0xC2}), winscard.Success
	}, FeatureVerifyPINDirect)
	err := card.VerifyPINDirect(bg, goodVerify())
	require.EqualError(t, err,
		`pcsc: SCardControl "Reader 0": the PIN is wrong (SCARD_W_WRONG_CHV 0x8010006B): status 63C2, wrong PIN, 2 tries left`)
	err = card.ModifyPINDirect(bg, goodModify())
	require.ErrorContains(t, err, `"Reader 0"`)
	require.ErrorContains(t, err, "the reader has no FEATURE_MODIFY_PIN_DIRECT")
	v := goodVerify()
	v.MaxDigits = 0
	err = card.VerifyPINDirect(bg, v)
	require.ErrorContains(t, err, `"Reader 0"`)
	require.ErrorContains(t, err, "PINVerify.MaxDigits: 0 is not in 1 to 255")
}

func TestPINStatus(t *testing.T) {
	require.Equal(t, "status 9000, success", PINStatusOK.Error())
	require.Equal(t, "status 63C1, wrong PIN, 1 try left", PINStatus(0x63C1).Error())
	for i := range 1 << 16 {
		s := PINStatus(i)
		code, text := s.pinMeaning()
		require.Equal(t, s == PINStatusOK, code == Success)
		require.NotEmpty(t, text)
		n, ok := s.TriesLeft()
		require.Equal(t, ok, i>>4 == 0x63C || i == 0x6983)
		require.Equal(t, i>>4 == 0x63C && n == 0, errors.Is(s, ErrWrongCHV))
	}
}

func TestPart10OfNothing(t *testing.T) {
	for _, x := range []struct {
		card *Card
		tx   *Transaction
	}{{nil, nil}, {&Card{}, &Transaction{}}} {
		for name, err := range map[string]error{
			"VerifyPINDirect":    x.card.VerifyPINDirect(bg, goodVerify()),
			"ModifyPIN":          x.card.ModifyPIN(bg, goodModify(), nil),
			"AbortPIN":           x.card.AbortPIN(bg),
			"tx.VerifyPIN":       x.tx.VerifyPIN(bg, goodVerify(), nil),
			"tx.ModifyPINDirect": x.tx.ModifyPINDirect(bg, goodModify()),
		} {
			require.ErrorIs(t, err, ErrInvalidHandle, name)
		}
		_, err := x.card.Features(bg)
		require.ErrorIs(t, err, ErrInvalidHandle)
		_, err = x.card.ExecutePACE(bg, PACEEstablish, make([]byte, 1<<16))
		require.ErrorIs(t, err, ErrInvalidParameter)
		v := goodVerify()
		v.APDU = nil
		require.ErrorIs(t, x.card.VerifyPINDirect(bg, v), ErrInvalidParameter)
	}
	f := newFake(t)
	_, card := f.card()
	var none context.Context
	require.ErrorIs(t, card.VerifyPINDirect(none, goodVerify()), ErrInvalidParameter)
	require.ErrorIs(t, card.VerifyPIN(none, goodVerify(), nil), ErrInvalidParameter)
	require.Zero(t, f.count("Control"))
}

// A deadline lowers what the reader is given, and never raises it.
func TestPINTimeouts(t *testing.T) {
	const s = time.Second
	for _, test := range []struct{ deadline, first, afterKey, wantFirst, wantAfterKey time.Duration }{
		{0, 30 * s, 15 * s, 30 * s, 15 * s},
		{20 * s, 30 * s, 15 * s, 20 * s, 15 * s},
		{10 * s, 30 * s, 15 * s, 10 * s, 10 * s},
		{9*s + 1, 30 * s, 15 * s, 10 * s, 10 * s},
		{time.Millisecond, 30 * s, 15 * s, s, s},
		{10 * s, 0, 0, 10 * s, 0},
		{time.Hour, 0, 0, 0, 0},
		{time.Hour, 30 * s, 15 * s, 30 * s, 15 * s},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			_, card := f.card()
			var got []byte
			pad(f, func(_ Feature, in, out []byte) (int, winscard.Code) {
				got = slices.Clone(in[:2])
				return copy(out, []byte{0x90, 0x00}), winscard.Success
			}, FeatureVerifyPINDirect, FeatureModifyPINDirect)
			ctx := bg
			if test.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(bg, test.deadline)
				defer cancel()
			}
			want := []byte{byte(test.wantFirst / s), byte(test.wantAfterKey / s)}
			v := goodVerify()
			v.Timeout, v.TimeoutAfterKey = test.first, test.afterKey
			require.NoError(t, card.VerifyPINDirect(ctx, v))
			require.Equal(t, want, got, "%+v", test)
			m := goodModify()
			m.Timeout, m.TimeoutAfterKey = test.first, test.afterKey
			require.NoError(t, card.ModifyPINDirect(ctx, m))
			require.Equal(t, want, got, "%+v", test)
			if test.deadline > 0 {
				v.Timeout = -s
				requireCode(t, card.VerifyPINDirect(ctx, v), opControl, ErrInvalidParameter)
			}
		})
	}
}

// The pace at which keys are asked for, and the end at a deadline.
func TestStepsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		_, card := f.card()
		var log []string
		pad(f, func(tag Feature, in, out []byte) (int, winscard.Code) {
			log = append(log, strings.TrimPrefix(tag.String(), "FEATURE_"))
			switch tag {
			case FeatureVerifyPINStart:
				require.EqualValues(t, 1, in[0], "seconds")
			case FeatureVerifyPINFinish:
				return copy(out, []byte{0x64, 0x00}), winscard.Success
			}
			return 0, winscard.Success
		}, FeatureVerifyPINStart, FeatureVerifyPINFinish, FeatureGetKeyPressed, FeatureAbort)
		ctx, cancel := context.WithTimeout(bg, time.Second-time.Millisecond)
		defer cancel()
		begin := time.Now()
		err := card.VerifyPIN(ctx, goodVerify(), func(PINKey) { t.Error("a key") })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second-time.Millisecond, time.Since(begin))
		require.Equal(t, "VERIFY_PIN_START"+strings.Repeat(" GET_KEY_PRESSED", 10)+" ABORT VERIFY_PIN_FINISH",
			strings.Join(log, " "))
	})
}
