package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const (
	selectDemo = "00A4040007F0676F70637363"
	getName    = "00 CA:5f:20 00"
	getAddress = "00CA5F4200"
	verify     = "00200001043132\t333 4"
	name       = "416461204C6F76656C616365"
)

func TestAPDU(t *testing.T) {
	service, _, card := withDemoCard()
	r := start(t.Context(), on(service), "", "apdu", "demo", selectDemo, getName, verify)
	require.Equal(t, result{exitOK, "9000\n" + name + " 9000\n9000\n", ""}, r)
	require.Equal(t, virtual.DemoTries, card.Tries())

	// The PIN did not outlive the program, nor did the selection.
	r = start(t.Context(), on(service), "", "apdu", "1", getName)
	require.Equal(t, exitStatusWord, r.exit)
	require.Equal(t, "6985\n", r.stdout)
	require.Equal(t, "pcsc: 1 of 1 APDUs got a status word other than 9000 or 61xx\n", r.stderr)

	// A bad status word does not stop it.
	r = start(t.Context(), on(service), "", "apdu", "1", "00FF0000", selectDemo, getAddress)
	require.Equal(t, exitStatusWord, r.exit)
	require.Equal(t, "6D00\n9000\n6982\n", r.stdout)
}

func TestAPDUJSON(t *testing.T) {
	service, _, _ := withDemoCard()
	r := start(t.Context(), on(service), "", "apdu", "--json", "--protocol", "t0", "Demo Reader 01 00", selectDemo, getName, getAddress)
	require.Equal(t, exitStatusWord, r.exit)
	var got apduReport
	r.decode(t, &got)
	require.Equal(t, "Demo Reader 01 00", got.Reader)
	require.Equal(t, "T0", got.Protocol)
	require.Equal(t, []jsonResponse{{"", "9000", true}, {name, "9000", true}, {"", "6982", false}}, got.Responses)
	require.Equal(t, exitStatusWord, got.Error.Exit)

	r = start(t.Context(), on(service), "", "apdu", "--json", "--share", "exclusive", "1", selectDemo)
	require.Equal(t, exitOK, r.exit)
	got = apduReport{}
	r.decode(t, &got)
	require.Equal(t, "T1", got.Protocol)
	require.Nil(t, got.Error)
}

func TestAPDUInput(t *testing.T) {
	service, _, card := withDemoCard()
	input := `# select, then the name
` + selectDemo + ` # here

   # nothing
00 ca 5F:20 00
` + verify + "\r\n" + getAddress
	r := start(t.Context(), on(service), input, "apdu", "1", "-", getName)
	require.Equal(t, exitOK, r.exit, r.stderr)
	require.Equal(t, 5, strings.Count(r.stdout, "9000\n"))
	require.Contains(t, r.stdout, fmt.Sprintf("%X 9000", "12 St James's Square, London"))

	// Nothing is sent if one of them is wrong, and no error repeats any of them.
	for _, input := range []string{
		"0020000104 99999999\n0020000104 9999999X\n",
		"0020000104 99999999\n0020000104 9999999\n",
		"0020000104 99999999\n9999\n",
		"0020000104 99999999\n" + strings.Repeat(" ", 1<<20) + "\n",
	} {
		r := start(t.Context(), on(service), input, "apdu", "1", selectDemo, "-")
		require.Equal(t, exitUsage, r.exit)
		require.Contains(t, r.stderr, "standard input, line 2: ")
		require.NotContains(t, r.stderr, "999")
		require.Empty(t, r.stdout)
	}
	require.Equal(t, virtual.DemoTries, card.Tries())
	for _, flag := range []string{"--json", "--json=false"} {
		r = start(t.Context(), on(service), "", "apdu", flag, "1", selectDemo, "002000010499X99999")
		require.Equal(t, exitUsage, r.exit)
		require.Contains(t, r.stdout+r.stderr, "APDU 2: character 13 is not a hexadecimal digit")
		require.NotContains(t, r.stdout+r.stderr, "99")
	}

	var out, errs strings.Builder
	exit := run(t.Context(), []string{"apdu", "1", "-"}, brokenReader{}, &out, &errs, on(service))
	require.Equal(t, exitError, exit)
	require.Equal(t, "pcsc: reading standard input: broken\n", errs.String())
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestAPDUInputInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, _, _ := withDemoCard()
		r, w := io.Pipe()
		defer w.Close() // nobody ever writes
		var out, errs strings.Builder
		exit := run(t.Context(), []string{"apdu", "--timeout", "1m", "1", "-"}, r, &out, &errs, on(service))
		require.Equal(t, exitTimeout, exit)
		require.Equal(t, "pcsc: out of time\n", errs.String())
	})
}

func TestAPDUErrors(t *testing.T) {
	service, reader, _ := withDemoCard()
	for _, test := range []struct {
		reader string
		exit   int
		want   string
	}{
		{"0", exitNoCard, "pcsc: connecting to the card, reader \"Empty Reader 00 00\": there is no card in the reader (SCARD_E_NO_SMARTCARD)\n  insert a card\n"},
		{"2", exitNoReader, "pcsc: no reader has the index 2; the highest is 1\n  pcsc list shows the readers\n"},
		{"nope", exitNoReader, "pcsc: no reader's name is or contains \"nope\"\n  pcsc list shows the readers\n"},
		{"reader", exitNoReader, "pcsc: \"reader\" fits 2 readers: \"Empty Reader 00 00\", \"Demo Reader 01 00\"\n  give more of the name, or the index\n"},
	} {
		r := start(t.Context(), on(service), "", "apdu", test.reader, selectDemo)
		require.Equal(t, result{test.exit, "", test.want}, r)
		r = start(t.Context(), on(service), "", "apdu", "--json", test.reader, selectDemo)
		var got apduReport
		r.decode(t, &got)
		require.Equal(t, test.exit, got.Error.Exit)
		require.Empty(t, got.Responses)
		require.NotNil(t, got.Responses)
	}

	// Another program has the card for itself.
	ctx, rc := service.EstablishContext(0)
	require.Equal(t, winscard.Success, rc)
	_, _, rc = service.Connect(ctx, reader.Name(), uint32(winscard.ShareExclusive), uint32(winscard.ProtocolAny))
	require.Equal(t, winscard.Success, rc)
	r := start(t.Context(), on(service), "", "apdu", "1", selectDemo)
	require.Equal(t, exitError, r.exit)
	require.Contains(t, r.stderr, "another program is using the card")
	require.Equal(t, winscard.Success, service.ReleaseContext(ctx))

	t1 := virtual.NewCard([]byte{0x3B, 0x80, 0x01}, func([]byte) []byte { return []byte{0x90, 0} })
	reader.Insert(t1)
	r = start(t.Context(), on(service), "", "apdu", "1", selectDemo, "--protocol=T=0")
	require.Equal(t, exitError, r.exit)
	require.Contains(t, r.stderr, "leave --protocol at any")

	r = start(t.Context(), on(virtual.New()), "", "apdu", "0", selectDemo)
	require.Equal(t, exitNoReader, r.exit)
	service.Stop()
	r = start(t.Context(), on(service), "", "apdu", "0", selectDemo)
	require.Equal(t, exitNoService, r.exit)
}

// Cards may answer anything.
func TestAPDUOddResponses(t *testing.T) {
	for _, test := range []struct {
		response []byte
		exit     int
		text     string
		json     jsonResponse
	}{
		{[]byte{0x61, 0x10}, exitOK, "6110\n", jsonResponse{"", "6110", true}},
		{[]byte{1, 2, 0x90, 0x01}, exitStatusWord, "0102 9001\n", jsonResponse{"0102", "9001", false}},
		{[]byte{0x90}, exitStatusWord, "90 (no status word)\n", jsonResponse{"90", "", false}},
		{nil, exitStatusWord, " (no status word)\n", jsonResponse{"", "", false}},
	} {
		service := virtual.New()
		service.AddReader("R").Insert(virtual.NewCard([]byte{0x3B, 0x80, 0x01}, func([]byte) []byte { return test.response }))
		r := start(t.Context(), on(service), "", "apdu", "0", "00000000")
		require.Equal(t, test.exit, r.exit)
		require.Equal(t, test.text, r.stdout)
		r = start(t.Context(), on(service), "", "apdu", "--json", "0", "00000000")
		require.Equal(t, test.exit, r.exit)
		var got apduReport
		r.decode(t, &got)
		require.Equal(t, []jsonResponse{test.json}, got.Responses)
	}
}

// What the card had answered before it was removed is not lost.
func TestAPDURemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := virtual.New()
		reader := service.AddReader("R")
		card := virtual.CardFunc(func(apdu []byte) ([]byte, error) {
			switch apdu[1] {
			case 0xFF:
				reader.Remove()
			case 0xEE: // as with pcscd, which looks at its readers only now and then
				time.AfterFunc(400*time.Millisecond, reader.Remove)
				return nil, winscard.ErrNotTransacted
			case 0xDD: // something else has gone wrong
				return nil, winscard.ErrNotTransacted
			}
			return []byte{apdu[1], 0x90, 0x00}, nil
		})
		for _, ins := range []string{"FF", "EE"} {
			reader.Insert(card)
			r := start(t.Context(), on(service), "", "apdu", "--json", "0", "00110000", "00"+ins+"0000", "00220000")
			require.Equal(t, exitNoCard, r.exit, r.stdout)
			var got apduReport
			r.decode(t, &got)
			require.Equal(t, []jsonResponse{{"11", "9000", true}}, got.Responses)
			require.Equal(t, exitNoCard, got.Error.Exit)
			require.Equal(t, "R 00 00", got.Error.Reader)
			require.Equal(t, "the card was removed from the reader \"R 00 00\" while APDU 2 was under way", got.Error.Message)
		}
		reader.Insert(card)
		r := start(t.Context(), on(service), "", "apdu", "0", "00DD0000")
		require.Equal(t, exitError, r.exit)
		require.Contains(t, r.stderr, "SCARD_E_NOT_TRANSACTED")
	})
}

// All APDUs are in one transaction, which others can't disturb, and the card is reset within it.
func TestAPDUTransaction(t *testing.T) {
	service := virtual.New()
	reader := service.AddReader("R")
	card := &countingCard{}
	reader.Insert(card)
	done := make(chan result)
	const programs = 8
	for range programs {
		go func() { done <- start(t.Context(), on(service), "", "apdu", "0", "00010000", "00010000", "00010000") }()
	}
	for range programs {
		require.Equal(t, result{exitOK, "01 9000\n02 9000\n03 9000\n", ""}, <-done)
	}
}

// countingCard answers with the number of APDUs since the last reset.
type countingCard struct{ n byte }

func (c *countingCard) Reset() { c.n = 0 }

func (c *countingCard) Transmit([]byte) ([]byte, error) {
	c.n++
	return []byte{c.n, 0x90, 0x00}, nil
}

// A card that takes for ever does not keep the program from ending.
func TestAPDUStuckCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := virtual.New()
		var sent atomic.Int32
		end := make(chan struct{})
		service.AddReader("R").Insert(virtual.CardFunc(func(apdu []byte) ([]byte, error) {
			sent.Add(1)
			if apdu[1] == 0xFF {
				<-end
			}
			return []byte{0x90, 0x00}, nil
		}))
		began := time.Now()
		r := start(t.Context(), on(service), "", "apdu", "--timeout", "10s", "0", "00110000", "00FF0000", "00220000")
		require.Equal(t, result{exitTimeout, "9000\n", "pcsc: sending an APDU, reader \"R 00 00\": out of time\n"}, r)
		require.Less(t, time.Since(began), 12*time.Second)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		r = start(ctx, on(service), "", "apdu", "0", "00110000")
		require.Equal(t, exitTimeout, r.exit)
		require.Contains(t, r.stderr, "interrupted")
		close(end)
		synctest.Wait()
		require.EqualValues(t, 2, sent.Load(), "nothing is sent late")
	})
}

func TestBegin(t *testing.T) {
	service, reader, _ := withDemoCard()
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	require.NoError(t, err)
	defer pc.Close()
	card, err := pc.Connect(t.Context(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	other, err := pc.Connect(t.Context(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	require.NoError(t, other.Close()) // resets the card
	_, err = card.BeginTransaction(t.Context())
	require.ErrorIs(t, err, pcsc.ErrResetCard)
	tx, err := begin(t.Context(), card, pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	require.NoError(t, tx.End(pcsc.LeaveCard))
}

func TestParseAPDU(t *testing.T) {
	for text, want := range map[string]string{
		"00A40400":                  "00A40400",
		" 00:a4 04\u00a000\t":       "00A40400",
		strings.Repeat("ab", 65548): strings.Repeat("AB", 65548),
	} {
		got, err := parseAPDU(text)
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprintf("%X", got))
	}
}

func FuzzParseAPDU(f *testing.F) {
	for _, text := range []string{"", "00A40400", "00 a4:04\n00", "0x00A40400", "é", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		apdu, err := parseAPDU(text)
		if err != nil {
			return
		}
		again, err := parseAPDU(fmt.Sprintf("% x", apdu))
		require.NoError(t, err)
		require.Equal(t, apdu, again)
	})
}

func FuzzScanAPDUs(f *testing.F) {
	f.Add("00A40400 # x\n\n#\n00A40400")
	f.Fuzz(func(t *testing.T, text string) {
		apdus, err := scanAPDUs(strings.NewReader(text))
		if err == nil {
			require.LessOrEqual(t, len(apdus), strings.Count(text, "\n")+1)
		}
	})
}
