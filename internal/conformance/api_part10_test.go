package conformance

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// PC/SC part 10 on readers with a PIN pad: the real service with a driver in C, reached through the backend that the
// build selects, and the virtual service with a controller in Go.

func TestPart10Real(t *testing.T) {
	driver := ifdtest.Build(t)
	svc := pcscdtest.Start(t, pcscdtest.WithReaders(0), pcscdtest.WithDriver(driver, "PIN Pad", "Other Pad"))
	testPart10(t, svc.Readers())
}

func TestPart10Virtual(t *testing.T) {
	service := virtual.New()
	var readers []string
	for _, name := range []string{"PIN Pad", "Other Pad"} {
		reader := service.AddReader(name)
		pad := ifdtest.NewEmulator(reader.SetAttribute)
		reader.SetController(pad)
		reader.Insert(pad.Card())
		readers = append(readers, reader.Name())
	}
	testPart10(t, readers, pcsc.WithBackend(service))
}

// padSuite is a reader with a PIN pad and connections to it.
type padSuite struct {
	readers []string
	options []pcsc.Option
	card    *pcsc.Card
	pad     *ifdtest.Pad
}

func testPart10(t *testing.T, readers []string, options ...pcsc.Option) {
	require.Len(t, readers, 2)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *padSuite)
	}{
		{"Features", padFeatures},
		{"NoFeatures", padNoFeatures},
		{"OddFeatures", padOddFeatures},
		{"FeaturesUnknown", padFeaturesUnknown},
		{"Properties", padProperties},
		{"Verify", padVerify},
		{"VerifyVariants", padVerifyVariants},
		{"Modify", padModify},
		{"Status", padStatus},
		{"DriverErrors", padDriverErrors},
		{"Transaction", padTransaction},
		{"Deadline", padDeadline},
		{"Bound", padBound},
		{"AbortDirect", padAbortDirect},
		{"Steps", padSteps},
		{"StepsAborted", padStepsAborted},
		{"StepsEnd", padStepsEnd},
		{"Keys", padKeys},
		{"Escape", padEscape},
		{"PACE", padPACE},
		{"TwoReaders", padTwoReaders},
		{"Attributes", padAttributes},
		{"AttributeTable", padAttributeTable},
		{"AttributeWidths", padAttributeWidths},
		{"BadAttributes", padBadAttributes},
		{"AttributeFailures", padAttributeFailures},
		{"SetAttribute", padSetAttribute},
		{"Unpowered", padUnpowered},
		{"TraceMasksPINEntry", padTrace},
	} {
		t.Run(test.name, func(t *testing.T) {
			watch(t)
			s := &padSuite{readers: readers, options: options}
			s.card, s.pad = s.connect(t, readers[0])
			s.pad.Reset()
			test.run(t, s)
			require.Empty(t, s.pad.Failures())
		})
	}
}

func (s *padSuite) connect(t *testing.T, reader string) (*pcsc.Card, *ifdtest.Pad) {
	t.Helper()
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	card, err := c.Connect(t.Context(), reader, pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, card.Close()) })
	return card, ifdtest.New(t, func(code uint32, in []byte) ([]byte, error) {
		return card.Control(context.Background(), code, in)
	})
}

// verified asks the card itself.
func verified(t *testing.T, card *pcsc.Card) bool {
	t.Helper()
	got, err := card.Transmit(t.Context(), []byte{0x80, 0x50, 0x00, 0x00})
	require.NoError(t, err)
	require.Len(t, got, 3)
	return got[0] == 1
}

func asciiVerify() pcsc.PINVerify {
	return pcsc.PINVerify{
		Block:     pcsc.PINBlockASCII(8),
		MinDigits: 4,
		MaxDigits: 8,
		APDU:      []byte{0x00, 0x20, 0x00, 0x01, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
	}
}

func asciiModify() pcsc.PINModify {
	return pcsc.PINModify{
		Block:      pcsc.PINBlockASCII(8),
		NewOffset:  8,
		MinDigits:  4,
		MaxDigits:  8,
		AskOld:     true,
		ConfirmNew: true,
		APDU:       append([]byte{0x00, 0x24, 0x00, 0x01, 0x10}, bytes.Repeat([]byte{0xFF}, 16)...),
	}
}

func padFeatures(t *testing.T, s *padSuite) {
	f, err := s.card.Features(t.Context())
	require.NoError(t, err)
	require.NoError(t, f.Err())
	require.Equal(t, 8, f.Len())
	for feature, code := range f.All() {
		require.Equal(t, ifdtest.FeatureCode(byte(feature)), code, feature)
		require.True(t, f.Has(feature))
		got, ok := f.Code(feature)
		require.True(t, ok)
		require.Equal(t, code, got)
	}
	require.True(t, f.Has(pcsc.FeatureVerifyPINDirect))
	require.False(t, f.Has(pcsc.FeatureVerifyPINStart))
	require.Equal(t, []byte{ifdtest.QueryFeatures}, s.pad.Calls(), "asked once")
}

// A reader without features is no error, whichever way it says so; using one is.
func padNoFeatures(t *testing.T, s *padSuite) {
	for _, test := range []struct {
		name string
		rc   int
		want error
	}{
		{"empty", ifdtest.OK, nil},
		{"unsupported", ifdtest.NotSupported, errors.ErrUnsupported},
		{"failure", ifdtest.CommError, pcsc.ErrNotTransacted},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.pad.Answer(ifdtest.QueryFeatures, test.rc, 0)
			f, err := s.card.Features(t.Context())
			require.NoError(t, err)
			require.Zero(t, f.Len())
			require.False(t, f.Has(pcsc.FeatureVerifyPINDirect))
			require.ErrorIs(t, f.Err(), test.want)
			ctx := t.Context()
			for name, use := range map[string]func() error{
				"VerifyPINDirect": func() error { return s.card.VerifyPINDirect(ctx, asciiVerify()) },
				"ModifyPINDirect": func() error { return s.card.ModifyPINDirect(ctx, asciiModify()) },
				"VerifyPIN":       func() error { return s.card.VerifyPIN(ctx, asciiVerify(), nil) },
				"ModifyPIN":       func() error { return s.card.ModifyPIN(ctx, asciiModify(), nil) },
				"AbortPIN":        func() error { return s.card.AbortPIN(ctx) },
				"KeyPressed":      func() error { _, err := s.card.KeyPressed(ctx); return err },
				"Properties":      func() error { _, err := s.card.Properties(ctx); return err },
				"PINProperties":   func() error { _, err := s.card.PINProperties(ctx); return err },
				"Escape":          func() error { _, err := s.card.Escape(ctx, []byte{1}); return err },
				"ExecutePACE":     func() error { _, err := s.card.ExecutePACE(ctx, pcsc.PACECapabilities, nil); return err },
				"ControlFeature":  func() error { _, err := s.card.ControlFeature(ctx, pcsc.FeatureWriteDisplay, nil); return err },
				"f.Properties":    func() error { _, err := f.Properties(ctx, s.card); return err },
			} {
				err := use()
				require.ErrorIs(t, err, errors.ErrUnsupported, name)
				require.ErrorContains(t, err, "FEATURE_", name)
				require.ErrorContains(t, err, s.readers[0], name)
			}
			for _, tag := range s.pad.Calls() {
				require.EqualValues(t, ifdtest.QueryFeatures, tag)
			}
		})
	}
}

func padOddFeatures(t *testing.T, s *padSuite) {
	verify := ifdtest.FeatureList(ifdtest.VerifyPINDirect)
	odd := bytes.Join([][]byte{
		{ifdtest.Abort, 0},                       // without a value
		{ifdtest.Escape, 2, 0x12, 0x34},          // with too short a one
		{ifdtest.PACE, 5, 0x42, 0, 0, 0, 1},      // with too long a one
		verify,                                   // good
		{ifdtest.VerifyPINDirect, 4, 0, 0, 0, 1}, // again
		{0x80, 4, 0x42, 0x00, 0x12, 0x34},        // of the vendor
		{ifdtest.ModifyPINDirect, 4, 0x42, 0x00}, // torn
	}, nil)
	s.pad.Answer(ifdtest.QueryFeatures, ifdtest.OK, 0, odd...)
	f, err := s.card.Features(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, f.Len())
	code, ok := f.Code(pcsc.FeatureVerifyPINDirect)
	require.True(t, ok)
	require.Equal(t, ifdtest.FeatureCode(ifdtest.VerifyPINDirect), code)
	code, ok = f.Code(0x80)
	require.True(t, ok)
	require.EqualValues(t, 0x42001234, code)
	require.NoError(t, s.card.VerifyPINDirect(t.Context(), asciiVerify()))
}

// That the reader can't be asked does not mean that it has no features.
func padFeaturesUnknown(t *testing.T, s *padSuite) {
	other, _ := s.connect(t, s.readers[0])
	tx, err := other.BeginTransaction(t.Context())
	require.NoError(t, err)
	_, err = s.card.Features(t.Context())
	require.ErrorIs(t, err, pcsc.ErrSharingViolation)
	require.NoError(t, tx.Close())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.card.Features(ctx)
	require.ErrorIs(t, err, context.Canceled)
	var none context.Context
	_, err = s.card.Features(none)
	require.ErrorIs(t, err, pcsc.ErrInvalidParameter)

	require.NoError(t, other.Close())
	_, err = other.Features(t.Context())
	require.ErrorIs(t, err, pcsc.ErrInvalidHandle)
	require.ErrorIs(t, other.VerifyPINDirect(t.Context(), asciiVerify()), pcsc.ErrInvalidHandle)
}

func padProperties(t *testing.T, s *padSuite) {
	p, err := s.card.Properties(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 0x0210, p.LCDLayout)
	require.EqualValues(t, 7, p.EntryValidationCondition)
	require.EqualValues(t, 1, p.TimeOut2)
	require.EqualValues(t, 16, p.LCDMaxCharacters)
	require.EqualValues(t, 2, p.LCDMaxLines)
	require.EqualValues(t, 4, p.MinPINSize)
	require.EqualValues(t, 12, p.MaxPINSize)
	require.Equal(t, "Pinpad 1", p.FirmwareID)
	require.EqualValues(t, 0x10100, p.MaxAPDUDataSize)
	require.EqualValues(t, 0x1234, p.VendorID)
	require.EqualValues(t, 0x5678, p.ProductID)
	require.True(t, p.Has(pcsc.PropertyPPDUSupport))
	require.Len(t, p.Tags(), 12)

	f, err := s.card.Features(t.Context())
	require.NoError(t, err)
	again, err := f.Properties(t.Context(), s.card)
	require.NoError(t, err)
	require.Equal(t, p, again)

	pin, err := s.card.PINProperties(t.Context())
	require.NoError(t, err)
	require.Equal(t, pcsc.PINProperties{
		LCDLayout: 0x0210, EndOn: pcsc.PINEndMaxDigits | pcsc.PINEndKey | pcsc.PINEndTimeout, TimeOut2: 1,
	}, pin)
	s.pad.Answer(ifdtest.PINProperties, ifdtest.OK, 0, 1, 2, 3)
	_, err = s.card.PINProperties(t.Context())
	require.ErrorIs(t, err, pcsc.ErrInternalError)
}

func padVerify(t *testing.T, s *padSuite) {
	s.pad.ExpectVerify(`bTimerOut=30 bTimerOut2=15 bmFormatString=0x82 bmPINBlockString=0x08 bmPINLengthFormat=0
		wPINMaxExtraDigit=0x0408 bEntryValidationCondition=0x02 bNumberMessage=1 wLangId=0x0409 bMsgIndex=0
		bTeoPrologue=000000 ulDataLength=13 abData=0020000108FFFFFFFFFFFFFFFF`)
	v := asciiVerify()
	v.Timeout, v.TimeoutAfterKey = 30*time.Second, 15*time.Second
	v.Messages, v.Language = 1, 0x0409
	require.False(t, verified(t, s.card))
	require.NoError(t, s.card.VerifyPINDirect(context.Background(), v))
	require.True(t, verified(t, s.card))
	require.NoError(t, s.card.VerifyPINDirect(t.Context(), v), "in the background")
	require.Equal(t, []byte{0, ifdtest.VerifyPINDirect, 0, ifdtest.VerifyPINDirect}, s.pad.Calls(), "asked once each")
	require.Empty(t, s.pad.Failures())

	// The test sees what is wrong.
	v.Timeout++
	require.ErrorIs(t, s.card.VerifyPINDirect(t.Context(), v), pcsc.ErrInvalidParameter)
	require.Empty(t, s.pad.Calls(), "nothing is sent that has a fault")
	v.Timeout = 31 * time.Second
	v.APDU[12] = 0
	require.NoError(t, s.card.VerifyPINDirect(t.Context(), v))
	failures := s.pad.Failures()
	require.Contains(t, failures, "bTimerOut: ")
	require.Contains(t, failures, "abData: ")
	require.NotContains(t, failures, "bTimerOut2: ")
}

// Every field in every place, so that none can be taken for another.
func padVerifyVariants(t *testing.T, s *padSuite) {
	s.pad.ExpectVerify(`bTimerOut=255 bTimerOut2=1 bmFormatString=0x89 bmPINBlockString=0x47 bmPINLengthFormat=0x04
		wPINMaxExtraDigit=0x060C bEntryValidationCondition=0x05 bNumberMessage=0xFF wLangId=0x1234 bMsgIndex=0x5A
		bTeoPrologue=010203 ulDataLength=14 abData=002000820820FFFFFFFFFFFFFF00`)
	require.NoError(t, s.card.VerifyPINDirect(t.Context(), pcsc.PINVerify{
		Timeout: 255 * time.Second, TimeoutAfterKey: time.Second,
		Block:     pcsc.PINBlockFormat2(),
		MinDigits: 6, MaxDigits: 12,
		EndOn:    pcsc.PINEndMaxDigits | pcsc.PINEndTimeout,
		Messages: pcsc.PINDefaultMessages, Language: 0x1234, MessageIndex: 0x5A,
		Prologue: [3]byte{1, 2, 3},
		APDU:     []byte{0x00, 0x20, 0x00, 0x82, 0x08, 0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00},
	}))
	require.Empty(t, s.pad.Failures())

	s.pad.ExpectVerify(`bTimerOut=0 bTimerOut2=0 bmFormatString=0x3C bmPINBlockString=0x8F bmPINLengthFormat=0x13
		wPINMaxExtraDigit=0x0001 bEntryValidationCondition=0x02 bNumberMessage=0 wLangId=0 bMsgIndex=0
		bTeoPrologue=000000 ulDataLength=4 abData=00200001`)
	require.NoError(t, s.card.VerifyPINDirect(t.Context(), pcsc.PINVerify{
		Block: pcsc.PINBlock{
			Encoding: pcsc.PINBinary, AlignRight: true, Offset: 7, OffsetUnit: pcsc.PINBits, Size: 15,
			LengthBits: 8, LengthOffset: 3,
		},
		MaxDigits: 1,
		APDU:      []byte{0x00, 0x20, 0x00, 0x01},
	}))
	require.Empty(t, s.pad.Failures())

	// The longest command.
	long := append([]byte{0x00, 0x20, 0x00, 0x01, 0xFF}, bytes.Repeat([]byte{0xA5}, 256)...)
	v := asciiVerify()
	v.APDU = long
	s.pad.ExpectVerify("")
	require.NoError(t, s.card.VerifyPINDirect(t.Context(), v))
}

func padModify(t *testing.T, s *padSuite) {
	s.pad.ExpectModify(`bTimerOut=60 bTimerOut2=20 bmFormatString=0x82 bmPINBlockString=0x08 bmPINLengthFormat=0
		bInsertionOffsetOld=0 bInsertionOffsetNew=8 wPINMaxExtraDigit=0x0408 bConfirmPIN=0x03
		bEntryValidationCondition=0x02 bNumberMessage=3 wLangId=0x0407 bMsgIndex1=0 bMsgIndex2=1 bMsgIndex3=2
		bTeoPrologue=000000 ulDataLength=21 abData=0024000110FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF`)
	m := asciiModify()
	m.Timeout, m.TimeoutAfterKey = time.Minute, 20*time.Second
	m.Messages, m.Language, m.MessageIndexes = 3, 0x0407, [3]byte{0, 1, 2}
	require.NoError(t, s.card.ModifyPINDirect(context.Background(), m))
	require.Empty(t, s.pad.Failures())
	require.NoError(t, s.card.ModifyPIN(t.Context(), m, nil), "in one call, as the reader has no other way")
	require.Equal(t, []byte{0, ifdtest.ModifyPINDirect, 0, ifdtest.ModifyPINDirect}, s.pad.Calls())
	require.Empty(t, s.pad.Failures())

	s.pad.ExpectModify(`bTimerOut=1 bTimerOut2=2 bmFormatString=0x11 bmPINBlockString=0x43 bmPINLengthFormat=0x15
		bInsertionOffsetOld=6 bInsertionOffsetNew=9 wPINMaxExtraDigit=0x0305 bConfirmPIN=0x01
		bEntryValidationCondition=0x01 bNumberMessage=0xFF wLangId=0xABCD bMsgIndex1=7 bMsgIndex2=8 bMsgIndex3=9
		bTeoPrologue=0A0B0C ulDataLength=5 abData=0024000100`)
	require.NoError(t, s.card.ModifyPINDirect(t.Context(), pcsc.PINModify{
		Timeout: time.Second, TimeoutAfterKey: 2 * time.Second,
		Block: pcsc.PINBlock{
			Encoding: pcsc.PINBCD, Offset: 2, OffsetUnit: pcsc.PINBits, Size: 3, LengthBits: 4, LengthOffset: 5,
		},
		OldOffset: 6, NewOffset: 9,
		MinDigits: 3, MaxDigits: 5,
		ConfirmNew: true,
		EndOn:      pcsc.PINEndMaxDigits,
		Messages:   pcsc.PINDefaultMessages, Language: 0xABCD, MessageIndexes: [3]byte{7, 8, 9},
		Prologue: [3]byte{0x0A, 0x0B, 0x0C},
		APDU:     []byte{0x00, 0x24, 0x00, 0x01, 0x00},
	}))
	require.Empty(t, s.pad.Failures())

	s.pad.Answer(ifdtest.ModifyPINDirect, ifdtest.OK, 0, 0x64, 0x02)
	err := s.card.ModifyPINDirect(t.Context(), m)
	require.ErrorIs(t, err, pcsc.ErrInvalidCHV)
	require.ErrorIs(t, err, pcsc.PINStatusMismatch)
	s.pad.Failures()
}

func padStatus(t *testing.T, s *padSuite) {
	for _, test := range []struct {
		status pcsc.PINStatus
		is     []error
		tries  int
	}{
		{0x6400, []error{pcsc.ErrTimeout, context.DeadlineExceeded, pcsc.PINStatusTimeout}, -1},
		{0x6401, []error{pcsc.ErrCancelledByUser, pcsc.PINStatusCancelled}, -1},
		{0x6403, []error{pcsc.ErrInvalidCHV, pcsc.PINStatusLength}, -1},
		{0x6B80, []error{pcsc.ErrInvalidParameter, pcsc.PINStatusStructure}, -1},
		{0x63C2, []error{pcsc.ErrWrongCHV}, 2},
		{0x63C1, []error{pcsc.ErrWrongCHV}, 1},
		{0x63C0, []error{pcsc.ErrWrongCHV, pcsc.ErrCHVBlocked}, 0},
		{0x6300, []error{pcsc.ErrWrongCHV}, -1},
		{0x6983, []error{pcsc.ErrCHVBlocked}, 0},
		{0x6982, []error{pcsc.ErrSecurityViolation}, -1},
		{0x6A88, []error{pcsc.ErrNotTransacted}, -1},
	} {
		s.pad.Answer(ifdtest.VerifyPINDirect, ifdtest.OK, 0, byte(test.status>>8), byte(test.status))
		err := s.card.VerifyPINDirect(t.Context(), asciiVerify())
		for _, is := range test.is {
			require.ErrorIs(t, err, is, "%04X", test.status)
		}
		var status pcsc.PINStatus
		require.ErrorAs(t, err, &status)
		require.Equal(t, test.status, status)
		n, ok := status.TriesLeft()
		require.Equal(t, test.tries >= 0, ok)
		if ok {
			require.Equal(t, test.tries, n)
		}
		var e *pcsc.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "SCardControl", e.Op)
		require.Equal(t, s.readers[0], e.Reader)
		require.NotErrorIs(t, err, errors.ErrUnsupported)
		require.False(t, verified(t, s.card))
	}
	for _, short := range [][]byte{nil, {0x90}} {
		s.pad.Answer(ifdtest.VerifyPINDirect, ifdtest.OK, 0, short...)
		require.ErrorIs(t, s.card.VerifyPINDirect(t.Context(), asciiVerify()), pcsc.ErrInternalError)
	}
}

// A driver's error is the caller's, and nothing is tried again.
func padDriverErrors(t *testing.T, s *padSuite) {
	s.pad.Answer(ifdtest.VerifyPINDirect, ifdtest.CommError, 0)
	s.pad.Calls()
	require.ErrorIs(t, s.card.VerifyPINDirect(t.Context(), asciiVerify()), pcsc.ErrNotTransacted)
	require.Equal(t, []byte{0, ifdtest.VerifyPINDirect}, s.pad.Calls())
	s.pad.Answer(ifdtest.TLVProperties, ifdtest.CommError, 0)
	_, err := s.card.Properties(t.Context())
	require.ErrorIs(t, err, pcsc.ErrNotTransacted)
	s.pad.Answer(ifdtest.Escape, ifdtest.NotSupported, 0)
	_, err = s.card.Escape(t.Context(), []byte{1})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func padTransaction(t *testing.T, s *padSuite) {
	ctx := t.Context()
	require.NoError(t, s.card.Transact(ctx, func(tx *pcsc.Transaction) error {
		f, err := tx.Features(ctx)
		require.NoError(t, err)
		require.True(t, f.Has(pcsc.FeatureAbort))
		require.NoError(t, tx.VerifyPINDirect(ctx, asciiVerify()))
		require.NoError(t, tx.VerifyPIN(ctx, asciiVerify(), nil))
		require.NoError(t, tx.ModifyPINDirect(ctx, asciiModify()))
		require.NoError(t, tx.ModifyPIN(ctx, asciiModify(), nil))
		p, err := tx.Properties(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 12, p.MaxPINSize)
		_, err = tx.PINProperties(ctx)
		require.NoError(t, err)
		_, err = tx.KeyPressed(ctx)
		require.NoError(t, err)
		require.NoError(t, tx.AbortPIN(ctx))
		got, err := tx.Escape(ctx, []byte("abc"))
		require.NoError(t, err)
		require.Equal(t, "cba", string(got))
		got, err = tx.ExecutePACE(ctx, pcsc.PACEDestroy, nil)
		require.NoError(t, err)
		require.Empty(t, got)
		_, err = tx.ControlFeature(ctx, pcsc.FeatureAbort, nil)
		require.NoError(t, err)
		require.NoError(t, tx.Close())
		_, err = tx.Features(ctx)
		require.ErrorIs(t, err, pcsc.ErrInvalidHandle)
		return nil
	}))
}

// padTime is how long the reader takes where something is to happen meanwhile, and padLeft how long until it does. They are
// far apart, for machines on which either is late.
const (
	padTime = time.Second
	padLeft = padTime / 4
)

// A deadline reaches the reader as its timeout; the method does not wait for the reader.
func padDeadline(t *testing.T, s *padSuite) {
	for _, test := range []struct{ left, given, want string }{
		{"20s", "0s", "20"},
		{"20s", "15s", "15"},
		{"20s", "200s", "20"},
		{"19.5s", "0s", "20"},
		{"10ms", "30s", "1"},
		{"1h", "0s", "0"},
		{"1h", "30s", "30"},
	} {
		left, err := time.ParseDuration(test.left)
		require.NoError(t, err)
		v := asciiVerify()
		v.Timeout, err = time.ParseDuration(test.given)
		require.NoError(t, err)
		s.pad.ExpectVerify(`bTimerOut=` + test.want + ` bTimerOut2=0 bmFormatString=0x82 bmPINBlockString=0x08
			bmPINLengthFormat=0 wPINMaxExtraDigit=0x0408 bEntryValidationCondition=0x02 bNumberMessage=0 wLangId=0
			bMsgIndex=0 bTeoPrologue=000000 ulDataLength=13 abData=0020000108FFFFFFFFFFFFFFFF`)
		ctx, cancel := context.WithTimeout(t.Context(), left)
		err = s.card.VerifyPINDirect(ctx, v)
		cancel()
		if left > time.Second {
			require.NoError(t, err)
		}
		_, err = s.card.Features(t.Context()) // after what was given up
		require.NoError(t, err)
		require.Empty(t, s.pad.Failures(), "%s left of %s", test.left, test.given)
	}

	s.pad.ExpectVerify("")
	s.pad.Answer(ifdtest.VerifyPINDirect, ifdtest.OK, padTime, 0x64, 0x00)
	ctx, cancel := context.WithTimeout(t.Context(), padLeft)
	defer cancel()
	begin := time.Now()
	err := s.card.VerifyPINDirect(ctx, asciiVerify())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var status pcsc.PINStatus
	require.False(t, errors.As(err, &status), "it is the context's end, not the reader's answer")
	require.Less(t, time.Since(begin), padTime)
	_, err = s.card.Features(t.Context())
	require.NoError(t, err, "after the reader is done")
	require.GreaterOrEqual(t, time.Since(begin), padTime-100*time.Millisecond)
}

// An abort does not reach a reader that is at it: pcscd gives a driver one call at a time for each reader. That is why
// the end of a context sends none: it would hit whatever comes next.
func padAbortDirect(t *testing.T, s *padSuite) {
	other, _ := s.connect(t, s.readers[0])
	s.pad.Answer(ifdtest.VerifyPINDirect, ifdtest.OK, padTime, 0x90, 0x00)
	s.pad.Calls()
	for try := 1; ; try++ {
		begin := time.Now()
		done := start(func() error { return s.card.VerifyPINDirect(context.Background(), asciiVerify()) })
		time.Sleep(100 * time.Millisecond) // the reader itself can't be asked whether it is at it
		require.NoError(t, other.AbortPIN(t.Context()))
		took := time.Since(begin)
		require.NoError(t, requireSoon(t, done, "VerifyPINDirect"))
		calls := s.pad.Calls()
		if bytes.IndexByte(calls, ifdtest.VerifyPINDirect) < bytes.IndexByte(calls, ifdtest.Abort) {
			require.GreaterOrEqual(t, took, padTime-100*time.Millisecond)
			break
		}
		require.Less(t, try, boundTries, "the entry never comes before the abort: % X", calls)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := start(func() error { return s.card.VerifyPINDirect(ctx, asciiVerify()) })
	time.Sleep(padLeft)
	cancel()
	require.ErrorIs(t, requireSoon(t, done, "VerifyPINDirect"), context.Canceled)
	require.NotContains(t, s.pad.Calls(), byte(ifdtest.Abort))
	require.True(t, verified(t, s.card), "the entry went on")
}

// allSteps are the features of an entry in steps, and the other way.
func (s *padSuite) allSteps() {
	s.pad.AnswerFeatures(ifdtest.VerifyPINStart, ifdtest.VerifyPINFinish, ifdtest.ModifyPINStart, ifdtest.ModifyPINFinish,
		ifdtest.KeyPressed, ifdtest.Abort, ifdtest.VerifyPINDirect, ifdtest.ModifyPINDirect)
}

func padSteps(t *testing.T, s *padSuite) {
	s.allSteps()
	keys := []pcsc.PINKey{pcsc.PINKeyDigit, pcsc.PINKeyDigit, pcsc.PINKeyErase, pcsc.PINKeyDigit, pcsc.PINKeyEnter}
	type entry func(ctx context.Context, key func(pcsc.PINKey)) error
	for _, test := range []struct {
		enter         entry
		start, finish byte
	}{
		{func(ctx context.Context, key func(pcsc.PINKey)) error {
			return s.card.VerifyPIN(ctx, asciiVerify(), key)
		},
			ifdtest.VerifyPINStart, ifdtest.VerifyPINFinish},
		{func(ctx context.Context, key func(pcsc.PINKey)) error {
			return s.card.ModifyPIN(ctx, asciiModify(), key)
		},
			ifdtest.ModifyPINStart, ifdtest.ModifyPINFinish},
	} {
		s.pad.Answer(ifdtest.KeyPressed, ifdtest.OK, 0, byte(pcsc.PINKeyNone))
		want := []byte{ifdtest.QueryFeatures, test.start, ifdtest.KeyPressed}
		for _, k := range keys {
			s.pad.Then(ifdtest.KeyPressed, ifdtest.OK, 0, byte(k))
			want = append(want, ifdtest.KeyPressed)
		}
		want = append(want, test.finish)
		s.pad.Calls()
		var got []pcsc.PINKey
		require.NoError(t, test.enter(t.Context(), func(k pcsc.PINKey) { got = append(got, k) }))
		require.Equal(t, keys, got)
		require.Equal(t, want, s.pad.Calls())
	}
	require.True(t, verified(t, s.card))
	s.pad.Answer(ifdtest.KeyPressed, ifdtest.OK, 0, byte(pcsc.PINKeyEnter))
	s.pad.Answer(ifdtest.VerifyPINFinish, ifdtest.OK, 0, 0x63, 0xC1)
	require.ErrorIs(t, s.card.VerifyPIN(context.Background(), asciiVerify(), nil), pcsc.ErrWrongCHV)
	require.False(t, verified(t, s.card))
}

// The end of the context, a callback that panics, and a driver that fails between the steps end the entry at the
// reader.
func padStepsAborted(t *testing.T, s *padSuite) {
	s.allSteps()
	aborted := []byte{ifdtest.Abort, ifdtest.VerifyPINFinish}

	ctx, cancel := context.WithCancel(t.Context())
	s.pad.Answer(ifdtest.KeyPressed, ifdtest.OK, 0, byte(pcsc.PINKeyDigit))
	s.pad.Then(ifdtest.KeyPressed, ifdtest.OK, 0, byte(pcsc.PINKeyNone))
	digits := make(chan struct{}, 1)
	done := start(func() error {
		return s.card.VerifyPIN(ctx, asciiVerify(), func(pcsc.PINKey) { digits <- struct{}{} })
	})
	await(t, digits, "the digit")
	cancel()
	require.ErrorIs(t, requireSoon(t, done, "VerifyPIN"), context.Canceled)
	calls := s.pad.Calls()
	require.Equal(t, aborted, calls[len(calls)-2:])

	s.pad.Answer(ifdtest.KeyPressed, ifdtest.OK, 0, byte(pcsc.PINKeyDigit))
	require.PanicsWithValue(t, "on purpose", func() {
		_ = s.card.VerifyPIN(t.Context(), asciiVerify(), func(pcsc.PINKey) { panic("on purpose") })
	})
	calls = s.pad.Calls()
	require.Equal(t, aborted, calls[len(calls)-2:])

	s.pad.Answer(ifdtest.KeyPressed, ifdtest.CommError, 0)
	require.ErrorIs(t, s.card.VerifyPIN(t.Context(), asciiVerify(), nil), pcsc.ErrNotTransacted)
	calls = s.pad.Calls()
	require.Equal(t, aborted, calls[len(calls)-2:])

	// Given up while it starts: the abort comes after the start.
	s.pad.Answer(ifdtest.VerifyPINStart, ifdtest.OK, padTime)
	ctx, cancel = context.WithTimeout(t.Context(), padLeft)
	defer cancel()
	require.ErrorIs(t, s.card.VerifyPIN(ctx, asciiVerify(), nil), context.DeadlineExceeded)
	require.Equal(t, append([]byte{ifdtest.QueryFeatures, ifdtest.VerifyPINStart}, aborted...), s.pad.Calls())

	// A start that fails has started nothing.
	s.pad.Answer(ifdtest.VerifyPINStart, ifdtest.CommError, 0)
	require.ErrorIs(t, s.card.VerifyPIN(t.Context(), asciiVerify(), nil), pcsc.ErrNotTransacted)
	require.Equal(t, []byte{ifdtest.QueryFeatures, ifdtest.VerifyPINStart}, s.pad.Calls())
}

func padStepsEnd(t *testing.T, s *padSuite) {
	s.allSteps()
	for _, test := range []struct {
		key  pcsc.PINKey
		rc   int
		want error
	}{
		{pcsc.PINKeyCancel, ifdtest.OK, pcsc.PINStatusLength}, // the driver knows better
		{pcsc.PINKeyCancel, ifdtest.CommError, pcsc.ErrCancelledByUser},
		{pcsc.PINKeyAbort, ifdtest.CommError, pcsc.ErrTimeout},
		{pcsc.PINKeyEnter, ifdtest.CommError, pcsc.ErrNotTransacted},
	} {
		s.pad.Answer(ifdtest.KeyPressed, ifdtest.OK, 0, byte(test.key))
		s.pad.Answer(ifdtest.VerifyPINFinish, test.rc, 0, 0x64, 0x03)
		require.ErrorIs(t, s.card.VerifyPIN(t.Context(), asciiVerify(), nil), test.want)
	}
}

func padKeys(t *testing.T, s *padSuite) {
	k, err := s.card.KeyPressed(t.Context())
	require.NoError(t, err)
	require.Equal(t, pcsc.PINKeyNone, k)
	s.pad.Answer(ifdtest.KeyPressed, ifdtest.OK, 0, 0x2B)
	k, err = s.card.KeyPressed(t.Context())
	require.NoError(t, err)
	require.Equal(t, pcsc.PINKeyDigit, k)
	s.pad.Answer(ifdtest.KeyPressed, ifdtest.OK, 0)
	k, err = s.card.KeyPressed(t.Context())
	require.NoError(t, err)
	require.Equal(t, pcsc.PINKeyNone, k)
	s.pad.Calls()
	require.NoError(t, s.card.AbortPIN(t.Context()))
	require.Equal(t, []byte{ifdtest.QueryFeatures, ifdtest.Abort}, s.pad.Calls())
	_, err = s.card.ControlFeature(t.Context(), pcsc.FeatureAbort, nil)
	require.NoError(t, err)
}

func padEscape(t *testing.T, s *padSuite) {
	for _, n := range []int{0, 1, 255, 512} {
		command := make([]byte, n)
		for i := range command {
			command[i] = byte(i)
		}
		got, err := s.card.Escape(t.Context(), command)
		require.NoError(t, err)
		for i := range command {
			require.Equal(t, command[i], got[n-1-i])
		}
	}
}

func padPACE(t *testing.T, s *padSuite) {
	input := []byte{3, 0, 6, '1', '2', '3', '4', '5', '6', 0, 0}
	sent := bytes.Clone(input)
	got, err := s.card.ExecutePACE(t.Context(), pcsc.PACEEstablish, sent)
	require.NoError(t, err)
	require.Equal(t, input, got)
	require.Equal(t, input, sent, "the caller's")
	got, err = s.card.ExecutePACE(t.Context(), pcsc.PACEEstablish, make([]byte, 300)) // both bytes of the length
	require.NoError(t, err)
	require.Len(t, got, 300)

	s.pad.Answer(ifdtest.PACE, ifdtest.OK, 0, 0x06, 0x00, 0x00, 0xE0, 0, 0)
	_, err = s.card.ExecutePACE(t.Context(), pcsc.PACEEstablish, input)
	require.ErrorIs(t, err, pcsc.ErrNotTransacted)
	require.ErrorIs(t, err, pcsc.PACEResult(0xE0000006))
	for _, bad := range [][]byte{nil, {0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0, 0}, {0, 0, 0, 0, 1, 0}, {0, 0, 0, 0, 0, 1, 2}} {
		s.pad.Answer(ifdtest.PACE, ifdtest.OK, 0, bad...)
		_, err = s.card.ExecutePACE(t.Context(), pcsc.PACECapabilities, nil)
		require.ErrorIs(t, err, pcsc.ErrInternalError, "%X", bad)
	}
	s.pad.Calls()
	_, err = s.card.ExecutePACE(t.Context(), pcsc.PACEEstablish, make([]byte, 1<<16))
	require.ErrorIs(t, err, pcsc.ErrInvalidParameter)
	require.Empty(t, s.pad.Calls())
}

// Two readers of one driver are two readers.
func padTwoReaders(t *testing.T, s *padSuite) {
	card, pad := s.connect(t, s.readers[1])
	pad.Reset()
	s.pad.Answer(ifdtest.VerifyPINDirect, ifdtest.OK, padTime, 0x90, 0x00)
	pad.Answer(ifdtest.VerifyPINDirect, ifdtest.OK, 0, 0x63, 0xC3)
	done := start(func() error { return s.card.VerifyPINDirect(t.Context(), asciiVerify()) })
	time.Sleep(50 * time.Millisecond)
	require.ErrorIs(t, card.VerifyPINDirect(t.Context(), asciiVerify()), pcsc.ErrWrongCHV)
	require.Empty(t, done, "it did not wait for the other reader, which is still at it")
	require.NoError(t, requireSoon(t, done, "VerifyPINDirect"))
	require.True(t, verified(t, s.card))
	require.False(t, verified(t, card))
}
