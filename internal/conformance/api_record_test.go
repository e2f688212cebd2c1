package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// A demoInReader is a demo card in a reader of the real service.
type demoInReader struct {
	pcscdtest.Card
	demo *virtual.DemoCard
}

func (d demoInReader) PowerOn() { d.demo.Reset() }
func (d demoInReader) Reset()   { d.demo.Reset() }

// useRecorded does with a demo card what a program may do: in a transaction, beside it, and when the card has gone. It
// talks to the card through what wrap makes of it, and returns all that it hears: responses and codes.
func useRecorded(t *testing.T, reader string, wrap func(virtual.Transmitter) virtual.Transmitter, started func(*pcsc.Card), remove func(), options ...pcsc.Option) (heard []string) {
	t.Helper()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, options...)
	require.NoError(t, err)
	defer pc.Close()
	card, err := pc.Connect(t.Context(), reader, pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	defer card.Close()
	started(card)
	say := func(to virtual.Transmitter, command []byte) {
		response, err := to.Transmit(t.Context(), command)
		heard = append(heard, fmt.Sprintf("%X", response))
		if err != nil {
			code := pcsc.Code(0)
			require.ErrorAs(t, err, &code)
			heard[len(heard)-1] = code.Name()
		}
	}
	plain := wrap(card)
	say(plain, append([]byte{0x00, 0xA4, 0x04, 0x00, 7}, virtual.DemoAID()...))
	say(plain, []byte{0x00, 0xCA, 0x5F, 0x42, 0x00})
	transaction, err := card.BeginTransaction(t.Context())
	require.NoError(t, err)
	locked := wrap(transaction)
	say(locked, append([]byte{0x00, 0x20, 0x00, 0x01, 6}, tracePIN...))
	say(locked, append([]byte{0x00, 0x20, 0x00, 0x01, 4}, virtual.DemoPIN...))
	say(locked, []byte{0x00, 0x20, 0x00, 0x01})
	say(locked, []byte{0x00, 0xCA, 0x5F, 0x42, 0x00})
	require.NoError(t, transaction.End(pcsc.LeaveCard))
	say(plain, []byte{0x00, 0xFF, 0x00, 0x00})
	remove()
	say(plain, []byte{0x00, 0xCA, 0x5F, 0x20, 0x00})
	return heard
}

// What was recorded of a real card, on the real service, can be replayed on the virtual one, to the program that said it
// and to one that has another PIN; and no PIN is in it.
func TestRecordReal(t *testing.T) {
	svc := pcscdtest.Start(t)
	demo := virtual.NewDemoCard()
	svc.Insert(0, demoInReader{pcscdtest.NewCard(demo.ATR(), func(apdu []byte) []byte {
		response, err := demo.Transmit(apdu)
		if err != nil {
			return nil
		}
		return response
	}), demo})
	var file bytes.Buffer
	recorder := virtual.NewRecorder(&file)
	heard := useRecorded(t, svc.Readers()[0], recorder.Transmitter, func(card *pcsc.Card) {
		status, err := card.Status(t.Context())
		require.NoError(t, err)
		recorder.ATR(status.ATR)
	}, func() { svc.Remove(0) })
	require.NoError(t, recorder.Err())
	require.Equal(t, []string{
		"9000", "6982", "63C2", "9000", "9000", "3132205374204A616D65732773205371756172652C204C6F6E646F6E9000", "6D00", "SCARD_W_REMOVED_CARD",
	}, heard)
	recording := file.String()
	require.Equal(t, `atr: 3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22
00A40400 07F0676F70637363: 9000
00CA5F42 00: 6982
00200001 *: 63C2
00200001 *: 9000
00200001: 9000
00CA5F42 00: 3132205374204A616D65732773205371756172652C204C6F6E646F6E 9000
00FF0000: 6D00
00CA5F20 00: error SCARD_W_REMOVED_CARD
`, recording)
	requireNoPIN(t, recording, tracePIN)
	requireNoPIN(t, recording, virtual.DemoPIN)

	service := virtual.New()
	reader := service.AddReader("Player")
	player := virtual.NewPlayer(t, strings.NewReader(recording))
	reader.Insert(player)
	again := useRecorded(t, reader.Name(), func(t virtual.Transmitter) virtual.Transmitter { return t }, func(card *pcsc.Card) {
		status, err := card.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, demo.ATR(), status.ATR)
	}, func() {}, pcsc.WithBackend(service)) // the card does not go: the recording says what came of it
	require.Equal(t, heard, again)
	require.NoError(t, player.Err())
}
