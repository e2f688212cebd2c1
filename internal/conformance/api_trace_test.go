package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

// traceRecorder is a Tracer that keeps what it is told.
type traceRecorder struct {
	mu    sync.Mutex
	calls []pcsc.TraceCall
}

func (r *traceRecorder) Trace(c pcsc.TraceCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

func (r *traceRecorder) take() []pcsc.TraceCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// tracePIN is the PIN that must not be seen. Its bytes are found nowhere else.
const tracePIN = "Zq7#Xw"

// requireNoPIN requires that a text has the PIN in no form in which bytes are printed.
func requireNoPIN(t *testing.T, text, pin string) {
	t.Helper()
	text = strings.ToUpper(text)
	for _, form := range []string{
		strings.ToUpper(pin), fmt.Sprintf("%X", pin), fmt.Sprintf("% X", pin), strings.Trim(fmt.Sprint([]byte(pin)), "[]"),
	} {
		require.NotContains(t, text, form)
	}
}

// Every call of a session on the real service, with what each is told of it.
func TestTraceReal(t *testing.T) {
	svc := pcscdtest.Start(t)
	echo := pcscdtest.NewEchoCard(nil)
	svc.Insert(0, echo)
	reader := svc.Readers()[0]
	for _, ctx := range []context.Context{context.Background(), t.Context()} { // can't end, can end
		var r traceRecorder
		c, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithTracer(&r))
		require.NoError(t, err)
		requireOps(t, r.take(), "SCardEstablishContext")
		_, err = c.ListReaders(ctx)
		require.NoError(t, err)
		list := r.take()
		requireOps(t, list, "SCardListReaders")
		require.Equal(t, len(reader)+2, list[len(list)-1].Received)
		require.NoError(t, c.GetStatusChange(ctx, []pcsc.ReaderState{pcsc.NewReaderState(reader)}))
		require.Equal(t, reader, requireOps(t, r.take(), "SCardGetStatusChange").Reader)

		card, err := c.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
		require.NoError(t, err)
		connect := requireOps(t, r.take(), "SCardConnect")
		require.Equal(t, reader, connect.Reader)
		require.Contains(t, connect.Args, pcsc.TraceArg{Name: "shareMode", Value: uint32(pcsc.ShareShared)})

		tx, err := card.BeginTransaction(ctx)
		require.NoError(t, err)
		sleep := []byte{0x80, 0x30, 0x00, 100} // 100 ms
		_, err = tx.Transmit(ctx, sleep)
		require.NoError(t, err)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		calls := r.take()
		requireOps(t, calls[:1], "SCardBeginTransaction")
		transmit := requireOps(t, calls[1:2], "SCardTransmit")
		requireOps(t, calls[2:], "SCardEndTransaction")
		require.Equal(t, reader, transmit.Reader)
		require.Equal(t, len(sleep), transmit.Sent)
		require.Equal(t, 2, transmit.Received)
		require.Equal(t, pcsc.Code(0), transmit.Code)
		require.GreaterOrEqual(t, transmit.Duration, 90*time.Millisecond)
		require.Less(t, transmit.Duration, 20*time.Second)

		_, err = card.GetAttrib(ctx, pcsc.AttrVendorName)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		for _, call := range r.take() {
			require.Equal(t, "SCardGetAttrib", call.Op)
			require.Equal(t, pcsc.ErrUnsupportedFeature, call.Code)
			require.Zero(t, call.Received)
		}
		_, err = card.Control(ctx, unknownControl, []byte{1, 2, 3})
		require.Error(t, err)
		require.Equal(t, 3, requireOps(t, r.take(), "SCardControl").Sent)
		require.NoError(t, card.Close())
		disconnect := requireOps(t, r.take(), "SCardDisconnect")
		require.Equal(t, reader, disconnect.Reader)
		require.Contains(t, disconnect.Args, pcsc.TraceArg{Name: "disposition", Value: uint32(pcsc.ResetCard)})
		require.NoError(t, c.Close())
		for _, call := range r.take() {
			require.Equal(t, "SCardReleaseContext", call.Op)
		}
	}
}

// requireOps requires that all calls are of one function, but for the contexts that it takes, that they have no bytes
// of an APDU, and returns the last.
func requireOps(t *testing.T, calls []pcsc.TraceCall, op string) pcsc.TraceCall {
	t.Helper()
	calls = slices.DeleteFunc(slices.Clone(calls), func(c pcsc.TraceCall) bool {
		return op != "SCardEstablishContext" && c.Op == "SCardEstablishContext"
	})
	require.NotEmpty(t, calls)
	for _, c := range calls {
		require.Equal(t, op, c.Op)
		require.Positive(t, c.Duration)
		require.Nil(t, c.Command)
		require.Nil(t, c.Response)
	}
	return calls[len(calls)-1]
}

// A PIN on its way to a card of the real service is in no trace: neither by default, nor where the bytes of APDUs are
// asked for, which shows all the rest.
func TestTraceMasksPINReal(t *testing.T) {
	svc := pcscdtest.Start(t)
	var mu sync.Mutex
	var arrived [][]byte
	svc.Insert(0, pcscdtest.NewCard(nil, func(apdu []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		arrived = append(arrived, bytes.Clone(apdu))
		if apdu[0]&0x10 != 0 { // more of a chain follows
			return []byte{0x90, 0x00}
		}
		if apdu[1] == iso7816.InsVerify || apdu[1] == iso7816.InsChangeReferenceData {
			return append([]byte(tracePIN), 0x63, 0xC2) // a card that repeats it
		}
		if apdu[1] == iso7816.InsGetResponse {
			return append([]byte(tracePIN), 0x90, 0x00)
		}
		return append(bytes.Clone(apdu[:4]), 0x90, 0x00)
	}))
	reader := svc.Readers()[0]
	must := func(c iso7816.Command, err error) iso7816.Command { require.NoError(t, err); return c }
	verify := must(iso7816.Verify(iso7816.Specific|1, []byte(tracePIN)))
	long := must(iso7816.ChangeReferenceData(1, []byte(tracePIN), bytes.Repeat([]byte(tracePIN), 50))) // a chain
	plain := iso7816.Command{CLA: 0x80, INS: 0xCA, P1: 0x9F, P2: 0x7F, Data: []byte("public!"), Ne: 256}

	for _, test := range []struct {
		name  string
		bytes bool
		opts  []pcsc.Option
	}{
		{"Default", false, nil},
		{"UnsafeBytes", true, []pcsc.Option{pcsc.WithUnsafeAPDUBytesInTrace()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			var r traceRecorder
			var log bytes.Buffer
			logger := pcsc.SlogTracer(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
			both := pcsc.TracerFunc(func(c pcsc.TraceCall) { r.Trace(c); logger.Trace(c) })
			c, err := pcsc.EstablishContext(pcsc.ScopeSystem, append(test.opts, pcsc.WithTracer(both))...)
			require.NoError(t, err)
			defer c.Close()
			card, err := c.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
			require.NoError(t, err)
			mu.Lock()
			arrived = nil
			mu.Unlock()
			tr := iso7816.NewTransport(card)
			_, err = tr.Do(ctx, verify)
			require.ErrorIs(t, err, iso7816.ErrCounter)
			requireNoPIN(t, err.Error(), tracePIN)
			_, err = tr.Do(ctx, long)
			require.ErrorIs(t, err, iso7816.ErrCounter)
			_, err = card.Transmit(ctx, []byte{0x00, iso7816.InsGetResponse, 0x00, 0x00, 0x00})
			require.NoError(t, err)
			_, err = tr.Do(ctx, plain)
			require.NoError(t, err)
			require.NoError(t, card.Close())

			mu.Lock()
			sent := bytes.Join(arrived, nil)
			mu.Unlock()
			// Once in VERIFY, 51 times in the chain, of which the end of the first link cuts one.
			require.Equal(t, 51, bytes.Count(sent, []byte(tracePIN)), "the PIN reached the card")
			requireNoPIN(t, log.String(), tracePIN)
			text := log.String()
			require.Contains(t, text, "SCardTransmit")
			require.Contains(t, text, reader)
			require.Equal(t, test.bytes, strings.Contains(text, "00 20 00 81"))
			require.Equal(t, test.bytes, strings.Contains(text, hexText(plain.Data)))
			transmits := 0
			for _, call := range r.take() {
				requireNoPIN(t, fmt.Sprintf("%+v %s %X", call, call.Command, call.Response), tracePIN)
				if call.Op != "SCardTransmit" {
					continue
				}
				transmits++
				require.Equal(t, test.bytes, call.Command != nil)
				if call.Masked {
					require.Len(t, call.Command, 4)
					require.Len(t, call.Response, 2)
				}
			}
			require.Equal(t, len(arrived), transmits)
		})
	}
}

func hexText(b []byte) string { return fmt.Sprintf("% X", b) }

// What part 10 sends is masked, and so is the answer but for its status word.
func padTrace(t *testing.T, s *padSuite) {
	ctx := t.Context()
	var r traceRecorder
	opts := append(slices.Clone(s.options), pcsc.WithTracer(&r), pcsc.WithUnsafeAPDUBytesInTrace())
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, opts...)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	card, err := c.Connect(ctx, s.readers[0], pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	defer func() { require.NoError(t, card.Disconnect(pcsc.LeaveCard)) }()
	_, err = card.Properties(ctx)
	require.NoError(t, err)
	v := asciiVerify()
	v.APDU = append([]byte{0x00, 0x20, 0x00, 0x01, 0x08}, "\xFF\xFFSecr\xFF\xFF"...)
	require.NoError(t, card.VerifyPINDirect(ctx, v))
	_, err = card.Escape(ctx, []byte("Secret"))
	require.NoError(t, err)

	shown := map[uint32]string{}
	for _, call := range r.take() {
		if call.Op != "SCardControl" {
			continue
		}
		text := fmt.Sprintf("%X/%X/%v", call.Command, call.Response, call.Masked)
		requireNoPIN(t, text, "Secr")
		for _, arg := range call.Args {
			shown[arg.Value] = text
		}
	}
	require.Equal(t, "/9000/true", shown[ifdtest.FeatureCode(ifdtest.VerifyPINDirect)])
	require.Equal(t, "//true", shown[ifdtest.FeatureCode(ifdtest.Escape)])
	require.True(t, strings.HasSuffix(shown[pcsc.CtlGetFeatureRequest], "/false"))
	require.Contains(t, shown[ifdtest.FeatureCode(ifdtest.TLVProperties)], fmt.Sprintf("%X", "Pinpad"))
}
