package pcsc

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/part10"
)

// recorder is a Tracer that keeps what it is told.
type recorder struct {
	mu    sync.Mutex
	calls []TraceCall
}

func (r *recorder) Trace(c TraceCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

func (r *recorder) take() []TraceCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// traced is a card of a fake that is traced.
func traced(t *testing.T, f *fake, opts ...Option) (*Context, *Card) {
	t.Helper()
	c, err := EstablishContext(ScopeSystem, append(opts, WithBackend(f))...)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		f.requireNothingOpen()
	})
	card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(t, err)
	return c, card
}

// Every function of the contract is traced, under its C name, and passed on as it is.
func TestTraceEveryFunction(t *testing.T) {
	var r recorder
	b := newTraceBackend(winscard.Unimplemented{}, &r, true)
	v := reflect.ValueOf(winscard.Backend(b))
	names := map[string]bool{}
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		if _, ok := reflect.TypeFor[winscard.Backend]().MethodByName(name); !ok {
			continue
		}
		m := v.Method(i)
		args := make([]reflect.Value, m.Type().NumIn())
		for j := range args {
			args[j] = reflect.Zero(m.Type().In(j))
		}
		results := m.Call(args)
		calls := r.take()
		require.Len(t, calls, 1, "%s", name)
		require.True(t, strings.HasPrefix(calls[0].Op, "SCard") || calls[0].Op == "pcsc_stringify_error", "%s", calls[0].Op)
		require.False(t, names[calls[0].Op], "%s", calls[0].Op)
		names[calls[0].Op] = true
		if rc, ok := results[len(results)-1].Interface().(winscard.Code); ok {
			require.Equal(t, winscard.ErrUnsupportedFunction, rc)
			require.Equal(t, rc, calls[0].Code)
		}
	}
	require.Len(t, names, reflect.TypeFor[winscard.Backend]().NumMethod())
}

func TestTraceCalls(t *testing.T) {
	f := newFake(t)
	var r recorder
	c, card := traced(t, f, WithTracer(&r))
	calls := r.take()
	require.Len(t, calls, 2)
	require.Equal(t, TraceCall{Op: opEstablishContext, Duration: calls[0].Duration, Args: []TraceArg{{"scope", uint32(ScopeSystem)}}}, calls[0])
	require.Equal(t, TraceCall{
		Op: opConnect, Reader: "Reader 0", Duration: calls[1].Duration,
		Args: []TraceArg{{"shareMode", uint32(ShareShared)}, {"preferredProtocols", uint32(ProtocolAny)}},
	}, calls[1])

	one := func(want TraceCall) {
		t.Helper()
		calls := slices.DeleteFunc(r.take(), func(c TraceCall) bool { return c.Op == opEstablishContext })
		require.Len(t, calls, 1)
		require.GreaterOrEqual(t, calls[0].Duration, time.Duration(0))
		want.Duration = calls[0].Duration
		require.Equal(t, want, calls[0])
	}
	f.transmit = func(_, recv []byte) (int, winscard.Code) {
		time.Sleep(20 * time.Millisecond)
		return copy(recv, fakeResponse), winscard.Success
	}
	_, err := card.Transmit(bg, apdu)
	require.NoError(t, err)
	calls = r.take()
	require.Len(t, calls, 1)
	require.GreaterOrEqual(t, calls[0].Duration, 20*time.Millisecond)
	calls[0].Duration = 0
	require.Equal(t, TraceCall{
		Op: opTransmit, Reader: "Reader 0", Sent: len(apdu), Received: len(fakeResponse), Args: []TraceArg{{"pci", uint32(ProtocolT1)}},
	}, calls[0])

	f.transmit = func(_, recv []byte) (int, winscard.Code) { return 99, winscard.ErrInsufficientBuffer }
	_, err = card.Transmit(bg, apdu)
	require.Error(t, err)
	one(TraceCall{Op: opTransmit, Reader: "Reader 0", Code: ErrInsufficientBuffer, Sent: len(apdu), Args: []TraceArg{{"pci", uint32(ProtocolT1)}}})
	_, err = card.Control(bg, 42, []byte{1, 2})
	require.NoError(t, err)
	one(TraceCall{Op: opControl, Reader: "Reader 0", Sent: 2, Received: 2, Args: []TraceArg{{"code", 42}}})
	require.NoError(t, card.SetAttrib(bg, 7, []byte{1, 2, 3}))
	one(TraceCall{Op: opSetAttrib, Reader: "Reader 0", Sent: 3, Args: []TraceArg{{"id", 7}}})
	_, err = card.Status(bg)
	require.NoError(t, err)
	one(TraceCall{Op: opStatus, Reader: "Reader 0", Received: len("Reader 0") + 2 + len(fakeATR)})
	require.NoError(t, c.GetStatusChange(bg, []ReaderState{NewReaderState("Reader 0")}))
	one(TraceCall{Op: opGetStatusChange, Reader: "Reader 0", Args: []TraceArg{{"timeout", winscard.Infinite}, {"states", 1}}})
	require.NoError(t, c.GetStatusChange(bg, []ReaderState{NewReaderState("Reader 0"), NewReaderState("Léser 1")}))
	one(TraceCall{Op: opGetStatusChange, Args: []TraceArg{{"timeout", winscard.Infinite}, {"states", 2}}})

	f.disconnect = func(uint32) winscard.Code { return winscard.ErrSharingViolation }
	require.Error(t, card.Disconnect(LeaveCard))
	one(TraceCall{Op: opDisconnect, Reader: "Reader 0", Code: ErrSharingViolation, Args: []TraceArg{{"disposition", uint32(LeaveCard)}}})
	f.disconnect = nil
	require.NoError(t, card.Disconnect(ResetCard))
	one(TraceCall{Op: opDisconnect, Reader: "Reader 0", Args: []TraceArg{{"disposition", uint32(ResetCard)}}})
	b := c.s.backend.(*traceBackend)
	require.Empty(t, b.cards, "nothing is kept of a card that is closed")
}

// A handle can be another connection's before its disconnecting is noted.
func TestTraceHandleReused(t *testing.T) {
	var r recorder
	b := newTraceBackend(winscard.Unimplemented{}, &r, true)
	b.connected(winscard.Success, 1, "Reader 0")
	was := b.connection(1)
	b.connected(winscard.Success, 1, "Reader 1")
	b.disconnected(winscard.Success, 1, was)
	require.Equal(t, "Reader 1", b.reader(1))
	b.disconnected(winscard.Success, 1, b.connection(1))
	require.Empty(t, b.cards)
	b.connected(winscard.ErrNoSmartcard, 0, "Reader 0")
	require.Empty(t, b.cards)
}

// Off means that nothing is in between.
func TestTraceOffCostsNothing(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithTracer(nil)}, {WithUnsafeAPDUBytesInTrace()}} {
		f := newFake(t)
		c, card := traced(t, f, opts...)
		require.Same(t, f, c.s.backend)
		require.Same(t, f, card.s.backend)
		dst := make([]byte, 0, 64)
		allocs := testing.AllocsPerRun(200, func() {
			if _, err := card.TransmitAppend(bg, dst, apdu); err != nil {
				t.Error(err)
			}
		})
		require.Zero(t, allocs)
	}
}

func BenchmarkTransmitTracer(b *testing.B) {
	for _, bench := range []struct {
		name string
		opts []Option
	}{
		{"off", nil},
		{"on", []Option{WithTracer(TracerFunc(func(TraceCall) {}))}},
		{"slog discarded", []Option{WithTracer(SlogTracer(slog.New(slog.DiscardHandler)))}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := newFake(b)
			c, err := EstablishContext(ScopeSystem, append(bench.opts, WithBackend(f))...)
			require.NoError(b, err)
			defer c.Close()
			card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
			require.NoError(b, err)
			dst := make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := card.TransmitAppend(bg, dst, apdu); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestTraceBytes(t *testing.T) {
	for _, test := range []struct {
		name, command, response string
		wantCommand             string // the command, if masked what is left of it
		wantResponse            string
		masked                  bool
	}{
		{"SELECT", "00A4040007A0000000031010", "6F0084019000", "00A4040007A0000000031010", "6F0084019000", false},
		{"no response", "00A40400", "", "00A40400", "", false},
		{"VERIFY", "0020008106313233343536", "9000", "00200081", "9000", true},
		{"VERIFY, answer with data", "0020008106313233343536", "3132333435369000", "00200081", "9000", true},
		{"VERIFY, torn answer", "0020008106313233343536", "90", "00200081", "90", true},
		{"VERIFY without PIN", "00200081", "63C2", "00200081", "63C2", true},
		{"VERIFY in BER-TLV", "0021008106313233343536", "9000", "00210081", "9000", true},
		{"VERIFY, extended length", "00200081000006313233343536", "9000", "00200081", "9000", true},
		{"VERIFY, chained", "1020008106313233343536", "9000", "10200081", "9000", true},
		{"VERIFY, chained, channel 4, SM", "7020008106313233343536", "9000", "70200081", "9000", true},
		{"VERIFY, secure messaging", "0C20008106313233343536", "9000", "0C200081", "9000", true},
		{"VERIFY, channel 3", "0320008106313233343536", "9000", "03200081", "9000", true},
		{"VERIFY CHV of a SIM", "A020000108313233343536FFFF", "9000", "A0200001", "9000", true},
		{"VERIFY of a vendor's class", "8020008106313233343536", "9000", "80200081", "9000", true},
		{"CHANGE REFERENCE DATA", "0024008106313233343536", "9000", "00240081", "9000", true},
		{"CHANGE REFERENCE DATA in BER-TLV", "0025008106313233343536", "9000", "00250081", "9000", true},
		{"PIN CHANGE of EMV", "8C24000106313233343536", "9000", "8C240001", "9000", true},
		{"DISABLE VERIFICATION", "0026008106313233343536", "9000", "00260081", "9000", true},
		{"ENABLE VERIFICATION", "0028008106313233343536", "9000", "00280081", "9000", true},
		{"RESET RETRY COUNTER", "002C008106313233343536", "9000", "002C0081", "9000", true},
		{"RESET RETRY COUNTER in BER-TLV", "002D008106313233343536", "9000", "002D0081", "9000", true},
		{"ENVELOPE", "00C200000A00200081053132333435", "9000", "00C20000", "9000", true},
		{"ENVELOPE in BER-TLV", "00C300000A00200081053132333435", "9000", "00C30000", "9000", true},
		{"to the reader: LOAD KEYS", "FF82000006313233343536", "9000", "FF820000", "9000", true},
		{"to the reader: VERIFY", "FF20000106313233343536", "9000", "FF200001", "9000", true},
		{"to the reader: PPDU", "FFC2010606313233343536", "9000", "FFC20106", "9000", true},
		{"to the reader: direct transmit", "FF00000006D44201313233", "D5439000", "FF000000", "9000", true},
		{"to the reader: GET DATA", "FFCA000000", "04A1B2C39000", "FFCA000000", "04A1B2C39000", false},
		{"to the reader: READ BINARY", "FFB0000404", "010203049000", "FFB0000404", "010203049000", false},
		{"GENERAL AUTHENTICATE", "008703990412345678", "7C029000", "008703990412345678", "7C029000", false},
		{"MANAGE SECURITY ENVIRONMENT", "002241B6020102", "9000", "002241B6020102", "9000", false},
		{"PERFORM SECURITY OPERATION", "002A9E9A020102", "9000", "002A9E9A020102", "9000", false},
		{"GET RESPONSE", "00C0000006", "3132333435369000", "00C0000006", "3132333435369000", false},
		{"no header", "002000", "6700", "", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			var r recorder
			_, card := traced(t, f, WithTracer(&r), WithUnsafeAPDUBytesInTrace())
			r.take()
			response := unhex(test.response)
			f.transmit = func(_, recv []byte) (int, winscard.Code) { return copy(recv, response), winscard.Success }
			got, err := card.Transmit(bg, unhex(test.command))
			require.NoError(t, err)
			require.True(t, bytes.Equal(response, got), "the program gets all")
			calls := r.take()
			require.Len(t, calls, 1)
			require.Equal(t, test.wantCommand, fmt.Sprintf("%X", calls[0].Command))
			require.Equal(t, test.wantResponse, fmt.Sprintf("%X", calls[0].Response))
			require.Equal(t, test.masked, calls[0].Masked)
			require.Equal(t, len(test.command)/2, calls[0].Sent)
			require.Equal(t, len(response), calls[0].Received)

			// They are the tracer's to keep.
			clear(got)
			_, err = card.Transmit(bg, apdu)
			require.NoError(t, err)
			require.Equal(t, test.wantResponse, fmt.Sprintf("%X", calls[0].Response))
		})
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// What GET RESPONSE fetches belongs to the command before it, on its own connection.
func TestTraceGetResponse(t *testing.T) {
	f := newFake(t)
	var r recorder
	c, card := traced(t, f, WithTracer(&r), WithUnsafeAPDUBytesInTrace())
	other, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(t, err)
	send := func(card *Card, command string) bool {
		t.Helper()
		r.take()
		_, err := card.Transmit(bg, unhex(command))
		require.NoError(t, err)
		calls := r.take()
		require.Len(t, calls, 1)
		return calls[0].Masked
	}
	require.False(t, send(card, "00C0000006"))
	require.True(t, send(card, "00C200000A00200081053132333435"))
	require.False(t, send(other, "00C0000006"))
	require.True(t, send(card, "00C0000006"))
	require.True(t, send(card, "00C1000006"), "and further ones")
	require.False(t, send(card, "00A40400"))
	require.False(t, send(card, "00C0000006"))
}

// Without a protocol of APDUs nobody knows what the bytes are.
func TestTraceRaw(t *testing.T) {
	f := newFake(t)
	f.connect = func(string) (uint32, winscard.Code) { return uint32(winscard.ProtocolRaw), winscard.Success }
	var r recorder
	_, card := traced(t, f, WithTracer(&r), WithUnsafeAPDUBytesInTrace())
	r.take()
	_, err := card.Transmit(bg, unhex("00A4040007A0000000031010"))
	require.NoError(t, err)
	call := r.take()[0]
	require.Nil(t, call.Command)
	require.Nil(t, call.Response)
	require.True(t, call.Masked)
	require.Equal(t, 12, call.Sent)
}

// Of control codes only the questions for features and properties are known to hold nothing secret, and of answers only
// the status word of a PIN entry.
func TestTraceControl(t *testing.T) {
	f := newFake(t)
	var r recorder
	c, card := traced(t, f, WithTracer(&r), WithUnsafeAPDUBytesInTrace())
	r.take()
	feature := func(tag Feature, code uint32) []byte {
		return (&part10.FeatureTLV{Tag: byte(tag), Length: 4, Value: code}).AppendTo(nil)
	}
	features := slices.Concat(
		feature(FeatureVerifyPINDirect, 1), feature(FeatureModifyPINDirect, 2), feature(FeatureIFDPINProperties, 3),
		feature(FeatureGetTLVProperties, 4), feature(FeatureCCIDEscCommand, 5), feature(FeatureGetKey, 4),
		feature(FeatureVerifyPINFinish, 6), feature(FeatureModifyPINFinish, 7), feature(FeatureVerifyPINStart, 8),
		feature(FeatureModifyPINDirect, 9), feature(FeatureVerifyPINStart, 9))
	answer := []byte{0x90, 0x00}
	f.control = func(code uint32, in, out []byte) (int, winscard.Code) {
		if code == CtlGetFeatureRequest {
			return copy(out, features), winscard.Success
		}
		return copy(out, answer), winscard.Success
	}
	control := func(code uint32) TraceCall {
		t.Helper()
		_, err := card.Control(bg, code, []byte("123456"))
		require.NoError(t, err)
		calls := r.take()
		require.Len(t, calls, 1)
		require.Equal(t, 6, calls[0].Sent)
		return calls[0]
	}
	for code := range uint32(10) { // before the features are known
		call := control(code)
		require.True(t, call.Masked)
		require.Nil(t, call.Response)
	}
	call := control(CtlGetFeatureRequest)
	require.False(t, call.Masked)
	require.Equal(t, features, call.Response)
	for _, code := range []uint32{0, 1, 2, 4, 5, 6, 7, 8, 9} { // 4 and 9 are the codes of two features each
		answer = []byte{0x63, 0xC2}
		call := control(code)
		require.True(t, call.Masked)
		require.Nil(t, call.Command)
		if slices.Contains([]uint32{1, 2, 6, 7}, code) {
			require.Equal(t, []byte{0x63, 0xC2}, call.Response, "a status word")
		} else {
			require.Nil(t, call.Response, "two bytes of anything")
		}
		answer = []byte("1234569000")
		call = control(code)
		require.True(t, call.Masked)
		require.Nil(t, call.Command)
		require.Nil(t, call.Response)
	}
	call = control(3)
	require.False(t, call.Masked)
	require.Equal(t, "123456", string(call.Command))
	require.Equal(t, answer, call.Response)

	// Another connection has to ask itself.
	require.NoError(t, card.Disconnect(LeaveCard))
	card, err := c.Connect(bg, "Reader 0", ShareDirect, ProtocolUndefined)
	require.NoError(t, err)
	r.take()
	require.True(t, control(3).Masked)

	// Bytes of attributes and of lists are not shown.
	require.NoError(t, card.SetAttrib(bg, 7, []byte("123456")))
	call = r.take()[0]
	require.Nil(t, call.Command)
}

func FuzzTraceMask(f *testing.F) {
	f.Add(unhex("0020008106313233343536"), unhex("9000"), uint32(2))
	f.Add(unhex("00C000"), unhex("90"), uint32(1))
	f.Fuzz(func(t *testing.T, command, response []byte, protocol uint32) {
		var r recorder
		b := newTraceBackend(fixedBackend{response: response}, &r, true)
		b.connected(winscard.Success, 1, "Reader 0")
		recv := make([]byte, 300)
		b.Transmit(1, protocol, command, recv)
		c := r.take()[0]
		if !c.Masked {
			require.True(t, bytes.Equal(command, c.Command))
			return
		}
		require.LessOrEqual(t, len(c.Command), 4)
		require.LessOrEqual(t, len(c.Response), 2)
		b.Control(1, protocol, command, recv)
		if c = r.take()[0]; c.Masked {
			require.Empty(t, c.Command)
			require.Contains(t, []int{0, 2}, len(c.Response))
		}
	})
}

type fixedBackend struct {
	winscard.Unimplemented
	response []byte
}

func (b fixedBackend) Transmit(_ winscard.Card, _ uint32, _, recv []byte) (int, winscard.Code) {
	return copy(recv, b.response), winscard.Success
}

func (b fixedBackend) Control(_ winscard.Card, _ uint32, _, out []byte) (int, winscard.Code) {
	return copy(out, b.response), winscard.Success
}

// forms of bytes that may turn up in a log.
func printed(b []byte) []string {
	decimal := strings.Trim(fmt.Sprint(b), "[]")
	return []string{
		fmt.Sprintf("%X", b), fmt.Sprintf("%x", b), fmt.Sprintf("% X", b), fmt.Sprintf("% x", b),
		strings.ReplaceAll(fmt.Sprintf("% X", b), " ", ":"), strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":"),
		fmt.Sprintf("%#v", b), decimal, strings.ReplaceAll(decimal, " ", ", "), strings.ReplaceAll(decimal, " ", ","),
		base64.StdEncoding.EncodeToString(b), base64.RawStdEncoding.EncodeToString(b), string(b), fmt.Sprintf("%q", b),
	}
}

// session does what a program does, with a PIN and with data, through every method that sends bytes.
func session(t *testing.T, f *fake, opts ...Option) {
	f.transmit = func(_, recv []byte) (int, winscard.Code) {
		return copy(recv, append(slices.Clone(secretData), 0x90, 0x00)), winscard.Success
	}
	f.control = func(code uint32, _, out []byte) (int, winscard.Code) {
		if code == CtlGetFeatureRequest {
			feature := part10.FeatureTLV{Tag: byte(FeatureVerifyPINDirect), Length: 4, Value: 43}
			return copy(out, feature.AppendTo(nil)), winscard.Success
		}
		return copy(out, secretData), winscard.Success
	}
	_, card := traced(t, f, opts...)
	for _, apdu := range [][]byte{selectData, slices.Concat(unhex("0020008106"), secretPIN)} {
		_, err := card.Transmit(bg, apdu)
		require.NoError(t, err)
		_, err = card.Transmit(cancellable(t), apdu)
		require.NoError(t, err)
		require.NoError(t, card.Transact(bg, func(tx *Transaction) error { return second(tx.TransmitAppend(bg, nil, apdu)) }))
	}
	_, err := card.Control(bg, 42, secretPIN)
	require.NoError(t, err)
	v := goodVerify()
	v.Block, v.MaxDigits = PINBlockASCII(6), 6
	v.APDU = slices.Concat(unhex("0020008106"), secretPIN) // a template that should have had padding
	_ = card.VerifyPINDirect(bg, v)
	require.Contains(t, f.calls(), "Control 43", "the structure has been sent")
	_, err = card.Attributes(bg)
	require.NoError(t, err)
	f.transmit = func(_, recv []byte) (int, winscard.Code) { return copy(recv, secretData), winscard.ErrCommError }
	_, err = card.Transmit(bg, slices.Concat(unhex("0020008106"), secretPIN))
	log.Println("the program's own:", err)
	require.NoError(t, card.Close())
}

var (
	secretPIN  = unhex("9182736455E7") // no text, so that nothing else looks like it
	secretData = unhex("A7B6C5D4E3F2A1")
	selectData = unhex("00A4040007E1D2C3B4A59687")
)

// output is all that f writes: to the log, to the default slog.Logger, to standard output and standard error.
func output(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	read := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		read <- string(b)
	}()
	stdout, stderr, logger, logged := os.Stdout, os.Stderr, slog.Default(), log.Writer()
	level := slog.SetLogLoggerLevel(slog.LevelDebug)
	os.Stdout, os.Stderr = w, w
	slog.SetDefault(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})))
	log.SetOutput(w)
	func() {
		defer func() {
			os.Stdout, os.Stderr = stdout, stderr
			slog.SetDefault(logger)
			slog.SetLogLoggerLevel(level)
			log.SetOutput(logged)
			_ = w.Close()
		}()
		f()
	}()
	return <-read
}

// Nothing is logged by default; with a tracer no byte of an APDU; and a PIN in no case.
func TestTraceSecrets(t *testing.T) {
	got := output(t, func() { session(t, newFake(t)) })
	require.Equal(t, 1, strings.Count(got, "\n"), "%s", got)
	require.Contains(t, got, "the program's own:")
	for _, secret := range [][]byte{secretPIN, secretData, selectData} {
		for _, form := range printed(secret) {
			require.NotContains(t, got, form)
		}
	}

	for _, handler := range []func(io.Writer) slog.Handler{
		func(w io.Writer) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
		func(w io.Writer) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
	} {
		var b bytes.Buffer
		got = output(t, func() { session(t, newFake(t), WithTracer(SlogTracer(slog.New(handler(&b))))) }) + b.String()
		require.Contains(t, got, "SCardTransmit")
		require.Contains(t, got, "SCARD_F_COMM_ERROR")
		for _, secret := range [][]byte{secretPIN, secretData, selectData} {
			for _, form := range printed(secret) {
				require.NotContains(t, got, form)
			}
		}

		b.Reset()
		got = output(t, func() {
			session(t, newFake(t), WithTracer(SlogTracer(slog.New(handler(&b)))), WithUnsafeAPDUBytesInTrace())
		}) + b.String()
		require.Contains(t, got, fmt.Sprintf("% X", selectData))
		require.Contains(t, got, fmt.Sprintf("% X 90 00", secretData))
		require.Contains(t, got, "00 20 00 81")
		for _, form := range printed(secretPIN) {
			require.NotContains(t, got, form)
		}
		// Everything, also what a tracer gets that prints all.
		var r recorder
		_ = output(t, func() { session(t, newFake(t), WithTracer(&r), WithUnsafeAPDUBytesInTrace()) })
		all := fmt.Sprintf("%+v %#v", r.calls, r.calls)
		for _, form := range printed(secretPIN) {
			require.NotContains(t, all, form)
		}
	}
}

func TestSlogTracer(t *testing.T) {
	var b bytes.Buffer
	opts := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}
	tracer := SlogTracer(slog.New(slog.NewTextHandler(&b, opts)))
	tracer.Trace(TraceCall{Op: opTransmit, Reader: "Reader 0", Duration: time.Millisecond, Args: []TraceArg{{"pci", 2}}, Sent: 11, Received: 2,
		Command: unhex("00200081"), Response: unhex("9000"), Masked: true})
	tracer.Trace(TraceCall{Op: opCancel, Code: 0x12345678})
	require.Equal(t, `level=DEBUG msg=SCardTransmit reader="Reader 0" code=SCARD_S_SUCCESS duration=1ms args.pci=2 sent=11 received=2 command="00 20 00 81" response="90 00" masked=true
level=DEBUG msg=SCardCancel code=0x12345678 duration=0s sent=0 received=0
`, b.String())

	// At a level above, and without a logger, nothing.
	b.Reset()
	SlogTracer(slog.New(slog.NewTextHandler(&b, nil))).Trace(TraceCall{Op: opCancel})
	require.Empty(t, b.String())
	require.Empty(t, output(t, func() { SlogTracer(nil).Trace(TraceCall{Op: opCancel}) }))
}

// Calls that are given up, waits and watches are traced, too, by many goroutines at once.
func TestTraceConcurrent(t *testing.T) {
	f := newFake(t)
	var r recorder
	c, card := traced(t, f, WithTracer(&r), WithUnsafeAPDUBytesInTrace())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, err := card.Transmit(cancellable(t), apdu); err != nil {
					t.Error(err)
				}
				if err := c.GetStatusChangeTimeout(bg, 0, []ReaderState{NewReaderState("Reader 0")}); err != nil {
					t.Error(err)
				}
				other, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
				if err != nil {
					t.Error(err)
					return
				}
				_ = other.Close()
			}
		})
	}
	wg.Wait()
	counts := map[string]int{}
	for _, call := range r.take() {
		counts[call.Op]++
	}
	require.Equal(t, 160, counts[opTransmit])
	require.Equal(t, 160, counts[opGetStatusChange])
	require.Equal(t, 161, counts[opConnect])
	require.Equal(t, 160, counts[opDisconnect])
}

// A TracerFunc that is nil is no tracer, as a Tracer that is nil is none.
func TestTracerFuncNil(t *testing.T) {
	f := newFake(t)
	c, card := traced(t, f, WithTracer(TracerFunc(nil)))
	_, err := card.Transmit(bg, apdu)
	require.NoError(t, err)
	require.NoError(t, c.Close())
}
