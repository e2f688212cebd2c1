package iso7816_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

var bg = context.Background()

// script is a transmitter that wants certain APDUs and gives certain answers. Every APDU that is sent counts, so a
// command sent twice does not match the script.
type script struct {
	t        *testing.T
	steps    [][2]string // APDU and answer, as unhex takes them; an answer with ! is an error with bytes
	sent     int
	protocol pcsc.Protocol
}

var errScript = errors.New("the reader is gone")

func (s *script) Transmit(_ context.Context, apdu []byte) ([]byte, error) {
	s.t.Helper()
	require.Less(s.t, s.sent, len(s.steps), "an APDU more than wanted: % X", head(apdu))
	step := s.steps[s.sent]
	s.sent++
	require.Equal(s.t, unhex(s.t, step[0]), apdu, "APDU %d", s.sent)
	if answer, failed := strings.CutPrefix(step[1], "!"); failed {
		return unhex(s.t, answer), errScript
	}
	return unhex(s.t, step[1]), nil
}

func (s *script) ActiveProtocol() pcsc.Protocol { return s.protocol }

func head(apdu []byte) []byte { return apdu[:min(len(apdu), 5)] }

// transport is a Transport over a script, all of which has to be used.
func transport(t *testing.T, steps [][2]string, opts ...iso7816.Option) (*iso7816.Transport, *script) {
	s := &script{t: t, steps: steps}
	t.Cleanup(func() { require.Equal(t, len(steps), s.sent, "APDUs sent") })
	return iso7816.NewTransport(s, opts...), s
}

type steps = [][2]string

var (
	readAll   = iso7816.Command{INS: iso7816.InsReadBinary, Ne: 256}
	challenge = iso7816.Command{INS: iso7816.InsInternalAuthenticate, Data: []byte{1, 2}, Ne: 256}
	write     = iso7816.Command{INS: iso7816.InsUpdateBinary, Data: []byte{1, 2}}
	long      = iso7816.Command{INS: 0x2A, P1: 0x80, P2: 0x86, Data: bytes.Repeat([]byte{0xDA}, 600), Ne: 256}
)

func TestTransport(t *testing.T) {
	type command = iso7816.Command
	for name, c := range map[string]struct {
		cmd   command
		opts  []iso7816.Option
		steps steps
		data  string
		sw    iso7816.StatusWord
	}{
		"one APDU":       {readAll, nil, steps{{"00 B0 00 00 00", "AA BB 90 00"}}, "AA BB", 0x9000},
		"error status":   {readAll, nil, steps{{"00 B0 00 00 00", "69 82"}}, "", 0x6982},
		"warning":        {readAll, nil, steps{{"00 B0 00 00 00", "AA 62 82"}}, "AA", 0x6282},
		"unknown":        {readAll, nil, steps{{"00 B0 00 00 00", "AA 91 AF"}}, "AA", 0x91AF},
		"extended Ne":    {command{INS: 0xB0, Ne: 300, Extended: true}, nil, steps{{"00 B0 00 00 00 01 2C", "AA 90 00"}}, "AA", 0x9000},
		"asked extended": {command{INS: 0xB0, Ne: 3, Extended: true}, nil, steps{{"00 B0 00 00 00 00 03", "AA 90 00"}}, "AA", 0x9000},
		"by option": {long, []iso7816.Option{iso7816.WithExtendedLength()},
			steps{{"00 2A 80 86 00 02 58 DA*600 01 00", "AA 90 00"}}, "AA", 0x9000},
		"option, but it fits":        {readAll, []iso7816.Option{iso7816.WithExtendedLength()}, steps{{"00 B0 00 00 00", "90 00"}}, "", 0x9000},
		"Ne without extended length": {command{INS: 0xB0, Ne: 65536}, nil, steps{{"00 B0 00 00 00", "AA*256 90 00"}}, "AA*256", 0x9000},

		// 61XX
		"more": {readAll, nil, steps{
			{"00 B0 00 00 00", "61 03"}, {"00 C0 00 00 03", "01 02 03 90 00"},
		}, "01 02 03", 0x9000},
		"more and more": {readAll, nil, steps{
			{"00 B0 00 00 00", "AA*256 61 00"}, {"00 C0 00 00 00", "BB*256 61 02"}, {"00 C0 00 00 02", "CC CC 90 00"},
		}, "AA*256 BB*256 CC CC", 0x9000},
		"more, then a warning": {readAll, nil, steps{
			{"00 B0 00 00 00", "61 02"}, {"00 C0 00 00 02", "01 62 82"},
		}, "01", 0x6282},
		"more, unknown": {readAll, nil, steps{
			{"00 B0 00 00 00", "61 02"}, {"00 C0 00 00 02", "01 92 40"},
		}, "01", 0x9240},
		"less than there is": {command{INS: 0xB0, Ne: 8}, nil, steps{
			{"00 B0 00 00 08", "AA*8 61 00"},
		}, "AA*8", 0x6100},
		"as much as is wanted": {command{INS: 0xB0, Ne: 8}, nil, steps{
			{"00 B0 00 00 08", "61 20"}, {"00 C0 00 00 08", "AA*8 61 18"},
		}, "AA*8", 0x6118},
		"in two parts": {command{INS: 0xB0, Ne: 300}, nil, steps{
			{"00 B0 00 00 00", "AA*256 61 00"}, {"00 C0 00 00 2C", "BB*44 61 00"},
		}, "AA*256 BB*44", 0x6100},
		"256 in extended form is 256": {command{INS: 0xB0, Ne: 256, Extended: true}, nil, steps{
			{"00 B0 00 00 00 01 00", "AA*256 61 10"},
		}, "AA*256", 0x6110},
		"none wanted": {write, nil, steps{{"00 D6 00 00 02 01 02", "61 05"}}, "", 0x6105},
		"left to the caller": {readAll, []iso7816.Option{iso7816.WithoutGetResponse()},
			steps{{"00 B0 00 00 00", "AA 61 05"}}, "AA", 0x6105},
		"GET RESPONSE is corrected": {readAll, nil, steps{
			{"00 B0 00 00 00", "61 00"}, {"00 C0 00 00 00", "6C 05"}, {"00 C0 00 00 05", "01 02 03 04 05 90 00"},
		}, "01 02 03 04 05", 0x9000},
		"EMV wants all or nothing": {command{INS: 0xB0, Ne: 4}, nil, steps{
			{"00 B0 00 00 04", "61 05"}, {"00 C0 00 00 04", "6C 05"}, {"00 C0 00 00 05", "01 02 03 04 05 90 00"},
		}, "01 02 03 04 05", 0x9000},

		"as much as is allowed": {readAll, []iso7816.Option{iso7816.WithMaxResponse(3), iso7816.WithMaxGetResponse(1)}, steps{
			{"00 B0 00 00 00", "01 61 02"}, {"00 C0 00 00 02", "02 03 90 00"},
		}, "01 02 03", 0x9000},
		"as much as is allowed, at once": {readAll, []iso7816.Option{iso7816.WithMaxResponse(3)}, steps{
			{"00 B0 00 00 00", "01 02 03 90 00"},
		}, "01 02 03", 0x9000},

		// 6CXX
		"corrected": {readAll, nil, steps{
			{"00 B0 00 00 00", "6C 03"}, {"00 B0 00 00 03", "01 02 03 90 00"},
		}, "01 02 03", 0x9000},
		"corrected to 256": {command{INS: 0xB0, Ne: 1}, nil, steps{
			{"00 B0 00 00 01", "6C 00"}, {"00 B0 00 00 00", "AA*256 90 00"},
		}, "AA*256", 0x9000},
		"corrected, with data": {challenge, nil, steps{
			{"00 88 00 00 02 01 02 00", "6C 01"}, {"00 88 00 00 02 01 02 01", "AA 90 00"},
		}, "AA", 0x9000},
		"corrected, extended": {command{INS: 0xB0, Ne: 300, Extended: true}, nil, steps{
			{"00 B0 00 00 00 01 2C", "6C 03"}, {"00 B0 00 00 00 00 03", "01 02 03 90 00"},
		}, "01 02 03", 0x9000},
		"corrected, then more": {readAll, nil, steps{
			{"00 B0 00 00 00", "6C 03"}, {"00 B0 00 00 03", "61 03"}, {"00 C0 00 00 03", "01 02 03 90 00"},
		}, "01 02 03", 0x9000},
		"corrected once":          {readAll, nil, steps{{"00 B0 00 00 00", "6C 03"}, {"00 B0 00 00 03", "6C 04"}}, "", 0x6C04},
		"the same Le":             {command{INS: 0xB0, Ne: 3}, nil, steps{{"00 B0 00 00 03", "6C 03"}}, "", 0x6C03},
		"data says that it ran":   {readAll, nil, steps{{"00 B0 00 00 00", "AA 6C 03"}}, "AA", 0x6C03},
		"no Le to correct":        {write, nil, steps{{"00 D6 00 00 02 01 02", "6C 03"}}, "", 0x6C03},
		"case 1 has no Le either": {command{INS: 0x44}, nil, steps{{"00 44 00 00", "6C 03"}}, "", 0x6C03},
		"6C left to the caller": {readAll, []iso7816.Option{iso7816.WithoutCorrection()},
			steps{{"00 B0 00 00 00", "6C 03"}}, "", 0x6C03},

		// Chains
		"chain": {long, nil, steps{
			{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "90 00"}, {"00 2A 80 86 5A DA*90 00", "AA 90 00"},
		}, "AA", 0x9000},
		"chain, then more": {long, nil, steps{
			{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "90 00"}, {"00 2A 80 86 5A DA*90 00", "AA*256 61 01"},
			{"00 C0 00 00 01", "BB 90 00"},
		}, "AA*256 BB", 0x9000},
		"the last of a chain is refused": {long, nil, steps{
			{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "90 00"}, {"00 2A 80 86 5A DA*90 00", "69 82"},
		}, "", 0x6982},
		"no correction in a chain": {long, nil, steps{
			{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "90 00"}, {"00 2A 80 86 5A DA*90 00", "6C 10"},
		}, "", 0x6C10},
		"even links": {command{CLA: 0x43, INS: 0xDB, Data: bytes.Repeat([]byte{7}, 20)}, []iso7816.Option{iso7816.WithLinkSize(10)}, steps{
			{"53 DB 00 00 0A 07*10", "90 00"}, {"43 DB 00 00 0A 07*10", "90 00"},
		}, "", 0x9000},
		"as long as a chain may be": {command{INS: 0xDB, Data: bytes.Repeat([]byte{7}, 20)},
			[]iso7816.Option{iso7816.WithLinkSize(10), iso7816.WithMaxChain(2)}, steps{
				{"10 DB 00 00 0A 07*10", "90 00"}, {"00 DB 00 00 0A 07*10", "90 00"},
			}, "", 0x9000},
		"255 bytes are no chain": {command{INS: 0xD6, Data: make([]byte, 255)}, nil, steps{{"00 D6 00 00 FF 00*255", "90 00"}}, "", 0x9000},
		"chain, wanting a lot": {command{INS: 0xCB, Data: make([]byte, 256), Ne: 1000}, nil, steps{
			{"10 CB 00 00 FF 00*255", "90 00"}, {"00 CB 00 00 01 00 00", "AA 90 00"},
		}, "AA", 0x9000},
		"proprietary chain": {command{CLA: 0x84, INS: 0xE8, Data: make([]byte, 256)}, []iso7816.Option{iso7816.WithProprietaryClass()}, steps{
			{"94 E8 00 00 FF 00*255", "90 00"}, {"84 E8 00 00 01 00", "90 00"},
		}, "", 0x9000},
		"a chain of the caller's": {command{CLA: 0x10, INS: 0xDB, Data: []byte{7}}, nil, steps{{"10 DB 00 00 01 07", "90 00"}}, "", 0x9000},
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := transport(t, c.steps, c.opts...)
			before := bytes.Clone(c.cmd.Data)
			r, err := tr.Transmit(bg, c.cmd)
			require.NoError(t, err)
			require.Equal(t, c.sw, r.SW)
			require.Equal(t, string(unhex(t, c.data)), string(r.Data))
			require.Equal(t, before, c.cmd.Data)
		})
	}
}

// By T=0 APDUs are as ISO/IEC 7816-3 transports them.
func TestTransportT0(t *testing.T) {
	type command = iso7816.Command
	for name, c := range map[string]struct {
		cmd   command
		steps steps
		data  string
		sw    iso7816.StatusWord
	}{
		"case 1":                  {command{INS: 0x44}, steps{{"00 44 00 00 00", "90 00"}}, "", 0x9000},
		"case 1 is not corrected": {command{INS: 0x44}, steps{{"00 44 00 00 00", "6C 03"}}, "", 0x6C03},
		"case 2":                  {readAll, steps{{"00 B0 00 00 00", "6C 02"}, {"00 B0 00 00 02", "01 02 90 00"}}, "01 02", 0x9000},
		"case 3":                  {write, steps{{"00 D6 00 00 02 01 02", "90 00"}}, "", 0x9000},
		"case 4":                  {challenge, steps{{"00 88 00 00 02 01 02", "61 02"}, {"00 C0 00 00 02", "AA BB 90 00"}}, "AA BB", 0x9000},
		"case 4 without response": {challenge, steps{{"00 88 00 00 02 01 02", "90 00"}}, "", 0x9000},
		"case 4 is not corrected": {challenge, steps{{"00 88 00 00 02 01 02", "6C 02"}}, "", 0x6C02},
		"Ne that no APDU can say": {command{INS: 0xB0, Ne: 1000}, steps{{"00 B0 00 00 00", "AA*256 61 01"}, {"00 C0 00 00 01", "BB 90 00"}}, "AA*256 BB", 0x9000},
		"chain, extended or not": {command{INS: 0xDB, Data: make([]byte, 256), Ne: 256}, steps{
			{"10 DB 00 00 FF 00*255", "90 00"}, {"00 DB 00 00 01 00", "61 01"}, {"00 C0 00 00 01", "AA 90 00"},
		}, "AA", 0x9000},
	} {
		t.Run(name, func(t *testing.T) {
			tr, s := transport(t, c.steps, iso7816.WithExtendedLength())
			s.protocol = pcsc.ProtocolT0
			r, err := tr.Transmit(bg, c.cmd)
			require.NoError(t, err)
			require.Equal(t, c.sw, r.SW)
			require.Equal(t, string(unhex(t, c.data)), string(r.Data))
		})
	}
	t.Run("option", func(t *testing.T) {
		tr, s := transport(t, steps{{"00 44 00 00 00", "90 00"}}, iso7816.WithProtocol(pcsc.ProtocolT0))
		s.protocol = pcsc.ProtocolT1
		_, err := tr.Transmit(bg, iso7816.Command{INS: 0x44})
		require.NoError(t, err)
	})
}

// GET RESPONSE goes to the channel of the command.
func TestGetResponseClass(t *testing.T) {
	for _, c := range []struct {
		cla, want byte
		opts      []iso7816.Option
	}{
		{cla: 0x00, want: 0x00},
		{cla: 0x03, want: 0x03},
		{cla: 0x10, want: 0x00}, // the last of the caller's own chain
		{cla: 0x0D, want: 0x01}, // secure messaging
		{cla: 0x4F, want: 0x4F}, // channel 19
		{cla: 0x7F, want: 0x4F}, // with chaining and secure messaging
		{cla: 0x2C, want: 0x2C}, // reserved
		{cla: 0x80, want: 0x80}, // proprietary
		{cla: 0xA0, want: 0xA0}, // SIM
		{cla: 0x9C, want: 0x9C}, // bits that may mean anything
		{cla: 0xFF, want: 0xFF}, // the reader
		{cla: 0x95, want: 0x81, opts: []iso7816.Option{iso7816.WithProprietaryClass()}},
		{cla: 0xE1, want: 0xC1, opts: []iso7816.Option{iso7816.WithProprietaryClass()}},
		{cla: 0xFF, want: 0xFF, opts: []iso7816.Option{iso7816.WithProprietaryClass()}},
		{cla: 0xC0, want: 0x00, opts: []iso7816.Option{iso7816.WithGetResponseClass(func(byte) byte { return 0 })}},
		{cla: 0x0C, want: 0x0C, opts: []iso7816.Option{iso7816.WithGetResponseClass(func(cla byte) byte { return cla })}},
	} {
		tr, _ := transport(t, steps{
			{fmt.Sprintf("%02X CB 00 00 00", c.cla), "61 01"},
			{fmt.Sprintf("%02X C0 00 00 01", c.want), "AA 90 00"},
		}, c.opts...)
		_, err := tr.Transmit(bg, iso7816.Command{CLA: c.cla, INS: 0xCB, Ne: 256})
		require.NoError(t, err)
	}
}

// Whatever goes wrong, nothing is sent again, and the error says what.
func TestTransportErrors(t *testing.T) {
	for name, c := range map[string]struct {
		cmd   iso7816.Command
		opts  []iso7816.Option
		steps steps
		want  string
		is    error
		data  string
	}{
		"transmitter": {readAll, nil, steps{{"00 B0 00 00 00", "!"}},
			"00B00000 READ BINARY: the reader is gone", errScript, ""},
		"no status word": {readAll, nil, steps{{"00 B0 00 00 00", "90"}},
			"00B00000 READ BINARY: invalid response: 1 byte, the status word alone has 2", iso7816.ErrInvalidResponse, ""},
		// Bytes that come with an error are none that the card has answered.
		"transmitter, with 6C": {readAll, nil, steps{{"00 B0 00 00 00", "! 6C 03"}},
			"00B00000 READ BINARY: the reader is gone", errScript, ""},
		"transmitter, with 61": {readAll, nil, steps{{"00 B0 00 00 00", "! 61 03"}},
			"00B00000 READ BINARY: the reader is gone", errScript, ""},
		"transmitter, with 6C to data": {challenge, nil, steps{{"00 88 00 00 02 01 02 00", "! 6C 03"}},
			"00880000 INTERNAL AUTHENTICATE: the reader is gone", errScript, ""},
		"correction, with 6C": {readAll, nil, steps{{"00 B0 00 00 00", "6C 03"}, {"00 B0 00 00 03", "! 6C 04"}},
			"00B00000 READ BINARY: with the corrected Le: the reader is gone", errScript, ""},
		"GET RESPONSE, with 6C": {readAll, nil, steps{{"00 B0 00 00 00", "AA 61 03"}, {"00 C0 00 00 03", "! 6C 02"}},
			"00B00000 READ BINARY: GET RESPONSE after 1 byte: the reader is gone", errScript, "AA"},
		"GET RESPONSE, corrected, with 61": {readAll, nil,
			steps{{"00 B0 00 00 00", "AA 61 03"}, {"00 C0 00 00 03", "6C 02"}, {"00 C0 00 00 02", "! BB CC 61 05"}},
			"00B00000 READ BINARY: GET RESPONSE after 1 byte: the reader is gone", errScript, "AA"},
		"last of a chain, with 61": {long, []iso7816.Option{iso7816.WithLinkSize(255)},
			steps{{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "90 00"}, {"00 2A 80 86 5A DA*90 00", "! 61 05"}},
			"002A8086: command 3 of 3 in the chain: the reader is gone", errScript, ""},
		"correction": {readAll, nil, steps{{"00 B0 00 00 00", "6C 03"}, {"00 B0 00 00 03", "!"}},
			"00B00000 READ BINARY: with the corrected Le: the reader is gone", errScript, ""},
		"GET RESPONSE": {readAll, nil, steps{{"00 B0 00 00 00", "AA 61 03"}, {"00 C0 00 00 03", "!"}},
			"00B00000 READ BINARY: GET RESPONSE after 1 byte: the reader is gone", errScript, "AA"},
		"GET RESPONSE refused": {readAll, nil, steps{{"00 B0 00 00 00", "AA 61 03"}, {"00 C0 00 00 03", "6D 00"}},
			"00B00000 READ BINARY: GET RESPONSE after 1 byte: the instruction is not supported or invalid (6D00)",
			iso7816.ErrInstructionNotSupported, "AA"},
		"GET RESPONSE corrected once": {readAll, nil, steps{{"00 B0 00 00 00", "61 03"}, {"00 C0 00 00 03", "6C 05"}, {"00 C0 00 00 05", "6C 03"}},
			"00B00000 READ BINARY: GET RESPONSE after 0 bytes: wrong Le, 3 bytes are available (6C03)", iso7816.ErrWrongLe, ""},
		"GET RESPONSE without correction": {readAll, []iso7816.Option{iso7816.WithoutCorrection()}, steps{{"00 B0 00 00 00", "61 03"}, {"00 C0 00 00 03", "6C 05"}},
			"00B00000 READ BINARY: GET RESPONSE after 0 bytes: wrong Le, 5 bytes are available (6C05)", iso7816.ErrWrongLength, ""},
		"no progress": {readAll, nil, steps{{"00 B0 00 00 00", "61 03"}, {"00 C0 00 00 03", "61 03"}},
			"00B00000 READ BINARY: GET RESPONSE after 0 bytes: invalid response: no data, and success, and at least 3 more bytes are available (6103)",
			iso7816.ErrInvalidResponse, ""},
		"too much": {readAll, []iso7816.Option{iso7816.WithMaxResponse(4)},
			steps{{"00 B0 00 00 00", "01 02 61 00"}, {"00 C0 00 00 00", "03 04 05 61 00"}},
			"00B00000 READ BINARY: limit exceeded: the response has more than 4 bytes", iso7816.ErrLimit, "01 02 03 04 05"},
		"too much at once": {readAll, []iso7816.Option{iso7816.WithMaxResponse(1)}, steps{{"00 B0 00 00 00", "01 02 90 00"}},
			"00B00000 READ BINARY: limit exceeded: the response has more than 1 byte", iso7816.ErrLimit, "01 02"},
		"too many rounds": {readAll, []iso7816.Option{iso7816.WithMaxGetResponse(2)},
			steps{{"00 B0 00 00 00", "61 03"}, {"00 C0 00 00 03", "01 61 02"}, {"00 C0 00 00 02", "02 61 01"}},
			"00B00000 READ BINARY: limit exceeded: the response is not complete after 2 GET RESPONSE", iso7816.ErrLimit, "01 02"},
		"first link": {long, nil, steps{{"10 2A 80 86 FF DA*255", "68 84"}},
			"002A8086: command 1 of 3 in the chain: command chaining is not supported (6884)", iso7816.ErrChainingNotSupported, ""},
		"second link": {long, nil, steps{{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "!"}},
			"002A8086: command 2 of 3 in the chain: the reader is gone", errScript, ""},
		"last link": {long, nil, steps{{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "90 00"}, {"00 2A 80 86 5A DA*90 00", "!"}},
			"002A8086: command 3 of 3 in the chain: the reader is gone", errScript, ""},
		"warning within a chain": {long, nil, steps{{"10 2A 80 86 FF DA*255", "63 C2"}},
			"002A8086: command 1 of 3 in the chain: the counter is at 2 (63C2)", iso7816.ErrCounter, ""},
		"6C within a chain": {long, nil, steps{{"10 2A 80 86 FF DA*255", "6C 02"}},
			"002A8086: command 1 of 3 in the chain: wrong Le, 2 bytes are available (6C02)", iso7816.ErrWrongLe, ""},
		"61 within a chain": {long, nil, steps{{"10 2A 80 86 FF DA*255", "61 02"}},
			"002A8086: command 1 of 3 in the chain: success, and at least 2 more bytes are available (6102)", iso7816.MoreData, ""},
		"data within a chain": {long, nil, steps{{"10 2A 80 86 FF DA*255", "AA 90 00"}},
			"002A8086: command 1 of 3 in the chain: invalid response: 1 byte before the end of the chain", iso7816.ErrInvalidResponse, "AA"},
	} {
		t.Run(name, func(t *testing.T) {
			tr, s := transport(t, c.steps, c.opts...)
			r, err := tr.Transmit(bg, c.cmd)
			require.EqualError(t, err, "iso7816: "+c.want)
			require.ErrorIs(t, err, c.is)
			require.Equal(t, string(unhex(t, c.data)), string(r.Data))
			require.Equal(t, len(c.steps), s.sent)
			var e *iso7816.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, [4]byte{c.cmd.CLA, c.cmd.INS, c.cmd.P1, c.cmd.P2}, e.Header)
			require.Equal(t, strings.Contains(c.want, " in the chain: "), e.Link > 0)
		})
	}
}

// What cannot be sent is refused before anything is.
func TestTransportRefuses(t *testing.T) {
	type command = iso7816.Command
	data := make([]byte, 256)
	for name, c := range map[string]struct {
		cmd  command
		opts []iso7816.Option
		want string
	}{
		"Ne":               {command{Ne: 65537}, nil, "Ne is 65537, an APDU can ask for at most 65536 bytes"},
		"negative Ne":      {command{Data: data, Ne: -1}, nil, "Ne is -1, at least 0 is wanted"},
		"data":             {command{Data: make([]byte, 65536), Extended: true}, nil, "65536 bytes of data, an APDU holds at most 65535"},
		"T=0":              {command{Data: data, Extended: true}, []iso7816.Option{iso7816.WithProtocol(pcsc.ProtocolT0)}, "T=0 has no extended form"},
		"no chaining":      {command{Data: data}, []iso7816.Option{iso7816.WithoutChaining()}, "256 bytes of data need the extended form or chaining, and neither is enabled"},
		"proprietary":      {command{CLA: 0x80, Data: data}, nil, "256 bytes of data need chaining, and class 80 has no bit for it"},
		"chain":            {command{Data: data}, []iso7816.Option{iso7816.WithMaxChain(1)}, "limit exceeded: 256 bytes of data need a chain of 2 commands, WithMaxChain allows 1"},
		"a byte too much":  {command{Data: data[:21]}, []iso7816.Option{iso7816.WithLinkSize(10), iso7816.WithMaxChain(2)}, "limit exceeded: 21 bytes of data need a chain of 3 commands, WithMaxChain allows 2"},
		"default chain":    {command{Data: make([]byte, 1024*255+1)}, []iso7816.Option{iso7816.WithMaxChain(0)}, "limit exceeded: 261121 bytes of data need a chain of 1025 commands, WithMaxChain allows 1024"},
		"long challenge":   {must(iso7816.GetChallenge(300)), []iso7816.Option{iso7816.WithProtocol(pcsc.ProtocolT0)}, "T=0 has no extended form"},
		"reader":           {command{CLA: 0xFF, Data: data}, []iso7816.Option{iso7816.WithProprietaryClass()}, "256 bytes of data need chaining, and class FF has no bit for it"},
		"reserved":         {command{CLA: 0x20, Data: data}, nil, "256 bytes of data need chaining, and class 20 has no bit for it"},
		"already chaining": {command{CLA: 0x10, Data: data}, nil, "256 bytes of data need chaining, and class 10 already is that of a chain"},
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := transport(t, nil, c.opts...)
			r, err := tr.Transmit(bg, c.cmd)
			require.EqualError(t, err, "iso7816: invalid command: "+c.want)
			require.ErrorIs(t, err, iso7816.ErrInvalidCommand)
			require.Equal(t, strings.HasPrefix(c.want, "limit exceeded"), errors.Is(err, iso7816.ErrLimit))
			require.Zero(t, r)
		})
	}
}

func must(c iso7816.Command, err error) iso7816.Command {
	if err != nil {
		panic(err)
	}
	return c
}

// A challenge of more than 256 bytes is asked for in one piece or not at all: it is never a part of one, which the
// caller would take for the whole.
func TestLongChallenge(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		data   string
		is     error
	}{
		"extended length":    {"AA*257 90 00", "AA*257", nil},
		"no extended length": {"67 00", "", iso7816.ErrWrongLength},
		"fewer":              {"AA*8 90 00", "AA*8", nil}, // which is the card's right
	} {
		t.Run(name, func(t *testing.T) {
			tr, _ := transport(t, steps{{"00 84 00 00 00 01 01", c.answer}})
			data, err := tr.Do(bg, must(iso7816.GetChallenge(257)))
			require.ErrorIs(t, err, c.is)
			require.Equal(t, string(unhex(t, c.data)), string(data))
		})
	}
}

func TestTransportMisuse(t *testing.T) {
	var none *iso7816.Transport
	_, err := none.Transmit(bg, readAll)
	require.ErrorContains(t, err, "nil or zero Transport")
	_, err = new(iso7816.Transport).Do(bg, readAll)
	require.ErrorContains(t, err, "nil or zero Transport")
	_, err = iso7816.NewTransport(nil).Transmit(bg, readAll)
	require.ErrorContains(t, err, "nil Transmitter")
	tr, _ := transport(t, nil, nil)
	var ctx context.Context
	_, err = tr.Transmit(ctx, readAll)
	require.ErrorContains(t, err, "nil context")
	var card *pcsc.Card
	_, err = iso7816.NewTransport(card).Transmit(bg, readAll)
	require.ErrorIs(t, err, pcsc.ErrInvalidHandle)
	var tx *pcsc.Transaction
	_, err = iso7816.NewTransport(tx).Transmit(bg, readAll)
	require.ErrorIs(t, err, pcsc.ErrInvalidHandle)
}

// Values of options that make no sense mean the defaults.
func TestTransportDefaults(t *testing.T) {
	tr, _ := transport(t, steps{
		{"10 2A 80 86 FF DA*255", "90 00"}, {"10 2A 80 86 FF DA*255", "90 00"}, {"00 2A 80 86 5A DA*90 00", "61 01"},
		{"00 C0 00 00 01", "AA 90 00"},
	}, iso7816.WithLinkSize(256), iso7816.WithMaxChain(-1), iso7816.WithMaxResponse(0), iso7816.WithMaxGetResponse(-1), iso7816.WithTransaction(nil))
	data, err := tr.Do(bg, long)
	require.NoError(t, err)
	require.Equal(t, []byte{0xAA}, data)
}

func TestDo(t *testing.T) {
	tr, _ := transport(t, steps{
		{"00 B0 00 00 00", "AA 90 00"}, {"00 B0 00 00 00", "6A 82"}, {"00 B0 00 00 00", "BB 62 82"}, {"00 B0 00 00 00", "!"},
	})
	data, err := tr.Do(bg, readAll)
	require.NoError(t, err)
	require.Equal(t, []byte{0xAA}, data)
	_, err = tr.Do(bg, readAll)
	require.EqualError(t, err, "iso7816: 00B00000 READ BINARY: file or application not found (6A82)")
	require.ErrorIs(t, err, iso7816.ErrFileNotFound)
	data, err = tr.Do(bg, readAll)
	require.ErrorIs(t, err, iso7816.ErrEndOfFile)
	require.Equal(t, []byte{0xBB}, data)
	_, err = tr.Do(bg, readAll)
	require.ErrorIs(t, err, errScript)
}

// A context that ends between two APDUs ends the exchange.
func TestTransportContext(t *testing.T) {
	ctx, cancel := context.WithCancel(bg)
	sent := 0
	tr := iso7816.NewTransport(transmitFunc(func(context.Context, []byte) ([]byte, error) {
		sent++
		cancel()
		return []byte{0x90, 0x00}, nil
	}))
	_, err := tr.Transmit(ctx, long)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "command 2 of 3 in the chain")
	require.Equal(t, 1, sent)
	_, err = tr.Transmit(ctx, long)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, sent)
}

type transmitFunc func(context.Context, []byte) ([]byte, error)

func (f transmitFunc) Transmit(ctx context.Context, apdu []byte) ([]byte, error) { return f(ctx, apdu) }

// Commands of several goroutines do not mix, and one that waits for its turn can give up.
func TestTransportSerialises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chained := false
		tr := iso7816.NewTransport(transmitFunc(func(_ context.Context, apdu []byte) ([]byte, error) {
			if chained {
				require.Equal(t, byte(0xDA), apdu[5], "an APDU within a chain")
			}
			chained = apdu[0]&0x10 != 0
			time.Sleep(time.Second)
			return []byte{0x90, 0x00}, nil
		}))
		var wg sync.WaitGroup
		for _, cmd := range []iso7816.Command{long, write, long, write, readAll} {
			wg.Go(func() {
				_, err := tr.Transmit(bg, cmd)
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(bg, time.Millisecond)
		defer cancel()
		_, err := tr.Transmit(ctx, readAll)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		wg.Wait()
	})
}

// The APDU is cleared after it was sent, as it may hold a PIN.
func TestTransportClears(t *testing.T) {
	var kept [][]byte
	tr := iso7816.NewTransport(transmitFunc(func(_ context.Context, apdu []byte) ([]byte, error) {
		kept = append(kept, apdu[:cap(apdu)])
		return []byte{0x90, 0x00}, nil
	}))
	verify, err := iso7816.Verify(1, []byte("123456"))
	require.NoError(t, err)
	for _, cmd := range []iso7816.Command{verify, long} {
		_, err = tr.Transmit(bg, cmd)
		require.NoError(t, err)
	}
	require.Len(t, kept, 4)
	for _, apdu := range kept {
		require.Equal(t, make([]byte, len(apdu)), apdu)
	}
}

// The function of WithTransaction has to do what it says.
func TestWithTransaction(t *testing.T) {
	errEnd := errors.New("cannot end")
	type run = func(context.Context, func(iso7816.Transmitter) error) error
	for name, c := range map[string]struct {
		run  func(s *script) run
		sent int
		want string
	}{
		"good": {func(s *script) run {
			return func(_ context.Context, f func(iso7816.Transmitter) error) error { return f(s) }
		}, 2, ""},
		"begin": {func(*script) run {
			return func(context.Context, func(iso7816.Transmitter) error) error { return errEnd }
		}, 0, "cannot end"},
		"end": {func(s *script) run {
			return func(_ context.Context, f func(iso7816.Transmitter) error) error { return errors.Join(f(s), errEnd) }
		}, 2, "cannot end"},
		"never": {func(*script) run {
			return func(context.Context, func(iso7816.Transmitter) error) error { return nil }
		}, 0, "the function of WithTransaction has not called its argument"},
		"twice": {func(s *script) run {
			return func(_ context.Context, f func(iso7816.Transmitter) error) error { _ = f(s); return f(s) }
		}, 2, "the function of WithTransaction has called its argument twice"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{t: t, steps: steps{{"00 B0 00 00 00", "61 01"}, {"00 C0 00 00 01", "AA 90 00"}}}
			tr := iso7816.NewTransport(transmitFunc(nil), iso7816.WithTransaction(c.run(s)))
			data, err := tr.Do(bg, readAll)
			require.Equal(t, c.sent, s.sent)
			if c.sent > 0 {
				require.Equal(t, []byte{0xAA}, data)
			}
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, "iso7816: 00B00000 READ BINARY: "+c.want)
			}
		})
	}
}

// Whatever the function of WithTransaction makes of an error, a command that failed is not taken for one that got
// status word 0000.
func TestWithTransactionKeepsErrors(t *testing.T) {
	errOwn := errors.New("own")
	one := steps{{"00 B0 00 00 00", "!"}}
	for name, c := range map[string]struct {
		cmd   iso7816.Command
		steps steps
		end   func(error) error
		is    []error
	}{
		"swallowed":            {readAll, one, func(error) error { return nil }, []error{errScript}},
		"swallowed, in a link": {long, steps{{"10 2A 80 86 FF DA*255", "69 82"}}, func(error) error { return nil }, []error{iso7816.ErrSecurityStatusNotSatisfied}},
		"replaced":             {readAll, one, func(error) error { return errOwn }, []error{errOwn}},
		"joined":               {readAll, one, func(err error) error { return errors.Join(errOwn, err) }, []error{errOwn, errScript}},
		"handed on":            {readAll, one, func(err error) error { return err }, []error{errScript}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{t: t, steps: c.steps}
			tr := iso7816.NewTransport(s, iso7816.WithTransaction(func(_ context.Context, f func(iso7816.Transmitter) error) error {
				return c.end(f(s))
			}))
			_, err := tr.Transmit(bg, c.cmd)
			for _, is := range c.is {
				require.ErrorIs(t, err, is)
			}
			var e *iso7816.Error
			require.ErrorAs(t, err, &e)
			_, err = iso7816.NewTransport(s, iso7816.WithTransaction(func(_ context.Context, f func(iso7816.Transmitter) error) error {
				s.sent = 0
				_ = f(s)
				_ = f(s)
				return nil
			})).Transmit(bg, c.cmd)
			require.ErrorContains(t, err, "twice")
			require.Equal(t, 1, s.sent)
		})
	}
}

// However a card answers, a Transport comes to an end, and sends no command with data twice.
func FuzzTransport(f *testing.F) {
	f.Add([]byte{0x61, 0x02, 0x90, 0x00}, uint16(300), uint32(256), false, false)
	f.Add([]byte{0x6C, 0x02, 0x61, 0x00}, uint16(0), uint32(16), true, false)
	f.Add([]byte{0x61, 0x02, 0x00, 0x6C}, uint16(10), uint32(256), false, false)
	f.Add([]byte{0x6C, 0x02, 0x00, 0x61}, uint16(0), uint32(256), false, false)
	f.Add([]byte{0x90, 0x00, 0x61, 0x01}, uint16(700), uint32(65536), false, true)
	f.Fuzz(func(t *testing.T, answers []byte, nc uint16, ne uint32, t0, extended bool) {
		data := make([]byte, nc)
		for i := range data {
			data[i] = byte(i >> 8) // so that no two links are the same
		}
		sent := make(map[string]int)
		failed := false
		tr := iso7816.NewTransport(transmitFunc(func(_ context.Context, apdu []byte) ([]byte, error) {
			require.False(t, failed, "an APDU after an error")
			if apdu[1] == 0xDB {
				sent[string(apdu)]++
			}
			if len(answers) < 2 {
				failed = true
				return nil, errScript
			}
			a := answers[:2:2]
			answers = answers[2:]
			if a[0] == 0 { // no status word begins with it: the second byte is the first of one, and an error comes with it
				failed = true
				return []byte{a[1], 0x05}, errScript
			}
			if a[0] == 0x61 {
				a = append([]byte{0xAA}, a...)
			}
			return a, nil
		}), iso7816.WithLinkSize(200), iso7816.WithMaxGetResponse(50))
		protocol := pcsc.ProtocolT1
		if t0 {
			protocol = pcsc.ProtocolT0
		}
		iso7816.WithProtocol(protocol)(tr)
		if extended {
			iso7816.WithExtendedLength()(tr)
		}
		r, err := tr.Transmit(bg, iso7816.Command{INS: 0xDB, Data: data, Ne: int(ne % 70000)})
		if err == nil {
			require.NotZero(t, sent)
			require.NotZero(t, r.SW)
		}
		require.False(t, failed && err == nil)
		if failed {
			require.ErrorIs(t, err, errScript)
		}
		for apdu, n := range sent {
			require.Equal(t, 1, n, "% X", head([]byte(apdu)))
		}
	})
}
