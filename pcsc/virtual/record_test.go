package virtual_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// useDemo does with a demo card what a program may do, and returns all responses.
func useDemo(t testing.TB, s *virtual.Service, card winscard.Card) (responses []string) {
	t.Helper()
	for _, command := range []string{selectDemo, "002000010430303030", "00200001", "002000010431323334", "00CA5F4200", "00C0000000"} {
		responses = append(responses, demoCommand(t, s, card, command))
	}
	return responses
}

const demoRecording = `atr: 3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22
00A40400 07F0676F70637363: 9000
00200001 *: 63C2
00200001: 63C2
00200001 *: 9000
00CA5F42 00: 3132205374204A616D65732773205371756172652C204C6F6E646F6E 9000
00C00000 00: 6D00
`

func TestRecordAndPlay(t *testing.T) {
	demo := virtual.NewDemoCard()
	var file bytes.Buffer
	recorder := virtual.NewRecorder(&file)
	s, r := setup(t, recorder.Card(demo))
	_, card := connect(t, s, r, shared)
	responses := useDemo(t, s, card)
	require.NoError(t, recorder.Err())
	require.Equal(t, demoRecording, file.String())

	var inner tb
	player := virtual.NewPlayer(&inner, &file)
	require.Equal(t, demo.ATR(), player.ATR())
	s, r = setup(t, player)
	_, card = connect(t, s, r, shared)
	require.Equal(t, responses, useDemo(t, s, card))
	inner.end()
	require.Empty(t, inner.failures)
}

func TestRecordedBytes(t *testing.T) {
	for _, test := range []struct {
		name, command, response string
		err                     error
		want, unsafe            string
	}{
		{"plain", "00B0000004", "010203049000", nil, "00B00000 04: 01020304 9000", ""},
		{"PIN", "0020000104313233349000", "9000", nil, "00200001 *: 9000", "00200001 04313233349000: 9000"},
		{"PIN, answer with data", "00200001023132", "31329000", nil, "00200001 *: masked 9000", "00200001 023132: 3132 9000"},
		{"PIN, error", "00200001023132", "", winscard.ErrRemovedCard,
			"00200001 *: error SCARD_W_REMOVED_CARD", "00200001 023132: error SCARD_W_REMOVED_CARD"},
		{"any error", "00B00000", "", errors.New("secret"), "00B00000: error SCARD_E_NOT_TRANSACTED", ""},
		{"wrapped error", "00B00000", "", fmt.Errorf("x: %w", winscard.ErrTimeout), "00B00000: error SCARD_E_TIMEOUT", ""},
		{"status of a PIN", "00200001", "63C2", nil, "00200001: 63C2", ""},
		{"no header", "0020", "6700", nil, "*: masked", "0020: 6700"},
		{"no bytes", "", "", nil, "empty: empty", ""},
		{"no response", "00B00000", "", nil, "00B00000: empty", ""},
		{"torn response", "00B00000", "90", nil, "00B00000: 90", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			card := virtual.CardFunc(func([]byte) ([]byte, error) { return unhex(t, test.response), test.err })
			for _, unsafe := range []bool{false, true} {
				var opts []virtual.ScriptOption
				want := test.want
				if unsafe {
					opts = append(opts, virtual.WithUnsafePINs())
					if test.unsafe != "" {
						want = test.unsafe
					}
				}
				var file bytes.Buffer
				recorder := virtual.NewRecorder(&file, opts...)
				response, err := recorder.Card(card).Transmit(unhex(t, test.command))
				require.Equal(t, unhex(t, test.response), response)
				require.Equal(t, test.err, err)
				require.Equal(t, "atr: 3B 80 80 01 01\n"+want+"\n", file.String())

				var inner tb
				player := virtual.NewPlayer(&inner, &file)
				replayed, err := player.Transmit(unhex(t, test.command))
				if strings.Contains(want, "masked") {
					require.ErrorContains(t, err, "was not recorded")
					continue
				}
				inner.end()
				require.Empty(t, inner.failures)
				require.Equal(t, test.err == nil, err == nil)
				require.Equal(t, response, append([]byte{}, replayed...))
			}
		})
	}
}

// The response that is fetched belongs to the command that may have held a PIN.
func TestRecordGetResponse(t *testing.T) {
	var file bytes.Buffer
	card := virtual.NewRecorder(&file).Card(virtual.NewCard(nil, func(apdu []byte) []byte { return []byte{1, 0x90, 0x00} }))
	transmitAll(card, "\x00\xC2\x00\x00\x01\x00", "\x00\xC0\x00\x00\x01", "\x00\xB0\x00\x00\x01", "\x00\xC0\x00\x00\x01")
	require.Equal(t, "00C20000 *: masked 9000\n00C00000 *: masked 9000\n00B00000 01: 01 9000\n00C00000 01: 01 9000\n", file.String())
}

type transmitterFunc func(ctx context.Context, apdu []byte) ([]byte, error)

func (f transmitterFunc) Transmit(ctx context.Context, apdu []byte) ([]byte, error) {
	return f(ctx, apdu)
}

func TestRecordTransmitter(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	demo := virtual.NewDemoCard()
	var file bytes.Buffer
	recorder := virtual.NewRecorder(&file)
	recorder.ATR(nil)
	recorder.ATR(make([]byte, 34))
	recorder.ATR([]byte{0x3B, 0x00})
	recorder.ATR([]byte{0x3B, 0x01})
	card := recorder.Transmitter(transmitterFunc(func(got context.Context, apdu []byte) ([]byte, error) {
		require.Equal(t, ctx, got)
		return demo.Transmit(apdu)
	}))
	response, err := card.Transmit(ctx, unhex(t, selectDemo))
	require.NoError(t, err)
	require.Equal(t, []byte{0x90, 0x00}, response)
	require.Equal(t, "atr: 3B 00\n00A40400 07F0676F70637363: 9000\n", file.String())
	require.NoError(t, recorder.Err())
}

// A recorded card is told of power and resets as the card itself would be.
func TestRecordPower(t *testing.T) {
	use := func(card virtual.Card) {
		s, r := setup(t, card)
		_, c := connect(t, s, r, shared)
		_, rc := s.Reconnect(c, shared, anyT, reset)
		ok(t, rc)
		_, rc = s.Reconnect(c, shared, anyT, unpower)
		ok(t, rc)
		ok(t, transmit(s, c))
		r.Remove()
	}
	recorder := virtual.NewRecorder(&bytes.Buffer{})
	plain, recorded := &powered{}, &powered{}
	use(plain)
	use(recorder.Card(recorded))
	require.Equal(t, "+R-+T-", plain.take())
	require.Equal(t, "+R-+T-", recorded.take())

	bare, wrapped := &contacts{}, &contacts{}
	use(bare)
	use(recorder.Card(wrapped))
	require.Equal(t, "RRRT", bare.take())
	require.Equal(t, "RRRT", wrapped.take())
	use(recorder.Card(virtual.CardFunc(func([]byte) ([]byte, error) { return []byte{0x90, 0x00}, nil })))
}

type fullFile struct{ writes int }

func (f *fullFile) Write([]byte) (int, error) {
	f.writes++
	return 0, fmt.Errorf("%w %d", errFull, f.writes)
}

var errFull = errors.New("no space left")

func TestRecordToFullFile(t *testing.T) {
	recorder := virtual.NewRecorder(&fullFile{})
	card := recorder.Card(virtual.NewDemoCard())
	response, err := card.Transmit(unhex(t, selectDemo))
	require.NoError(t, err)
	require.Equal(t, []byte{0x90, 0x00}, response)
	require.ErrorIs(t, recorder.Err(), errFull)
	require.EqualError(t, recorder.Err(), "virtual: recording: no space left 1")
}

// What is recorded can be replayed, and no PIN is in it.
func FuzzRecordAndPlay(f *testing.F) {
	f.Add([]byte("\x00\xA4\x04\x00"), []byte("\x90\x00"), uint32(0), false)
	f.Add([]byte("\x00\x20\x00\x01\x041234"), []byte("\x63\xC2"), uint32(0), true)
	f.Add([]byte(""), []byte(""), uint32(0x80100069), true)
	f.Fuzz(func(t *testing.T, command, response []byte, code uint32, pins bool) {
		var err error
		if code != 0 {
			response, err = nil, winscard.Code(code)
		}
		var opts []virtual.ScriptOption
		if pins {
			opts = append(opts, virtual.WithUnsafePINs())
		}
		var file bytes.Buffer
		card := virtual.NewRecorder(&file, opts...).Card(virtual.CardFunc(func([]byte) ([]byte, error) { return response, err }))
		_, _ = card.Transmit(command)
		text := file.String()
		player, loadErr := virtual.LoadScript(&file)
		require.NoError(t, loadErr, text)
		got, gotErr := player.Transmit(command)
		if strings.Contains(text, ": masked") {
			require.False(t, pins)
			return
		}
		require.Equal(t, err, gotErr, text)
		require.Equal(t, string(response), string(got), text)
		require.NoError(t, player.Err())
	})
}

func FuzzScriptText(f *testing.F) {
	f.Add(selectVerify)
	f.Add(demoRecording)
	f.Add("atr: \n*: error 1\nempty: masked 9000")
	f.Fuzz(func(t *testing.T, text string) {
		card, err := virtual.LoadScript(strings.NewReader(text))
		if err != nil {
			require.Nil(t, card)
			return
		}
		_ = card.Err()
		_, _ = card.Transmit([]byte{0x00, 0xA4, 0x04, 0x00})
		_ = card.Err()
	})
}
