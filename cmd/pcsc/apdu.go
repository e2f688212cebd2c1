package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

func (a *app) apduCommand() *cobra.Command {
	var share, protocol string
	cmd := &cobra.Command{
		Use:   "apdu READER HEX...",
		Short: "Send APDUs to a card and print its answers",
		Long: `Send APDUs to the card in a reader, all in one transaction, and print its answers.

READER is a reader's name, a part of it that no other reader has (in upper or lower case), or an index that pcsc list
shows; a number below 100 is always an index.

Each HEX is one APDU in hexadecimal digits; blanks and colons are left out, so quotes around one with blanks are needed.
The HEX - stands for the APDUs on standard input, one per line; there # begins a comment, and empty lines do not count.
Secrets such as a PIN are better given that way, since other users can see a program's arguments.

All APDUs are read and checked before the first one is sent, and each is sent once. An answer with an error status does
not keep the next APDU from being sent; an error of the reader, or a card that was removed, does. Neither GET RESPONSE
(after 61xx) nor a wrong Le (6Cxx) is taken care of. Each line of the output is an answer: its data, if any, and its
status word. In the end the card is reset, so that a PIN that was verified is of no use to others.

With --json:
  {"reader": "...", "protocol": "T1", "responses": [{"data": "6F00", "sw": "9000", "ok": true}]}
ok says that the status word is 9000 or 61xx. sw is empty if the card did not send one. There are as many responses as
the card gave, also if there was an error.`,
		Example: `  pcsc apdu 0 00A4040007F0676F70637363 "00 CA 5F 20 00"
  pcsc apdu --json acr - < apdus.txt`,
		Args: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return errors.New("apdu: the reader and the APDUs are missing")
			case 1:
				return errors.New("apdu: the APDUs are missing (- reads them from standard input)")
			}
			return nil
		},
		RunE: a.runE(func(ctx context.Context, args []string) error {
			report := &apduReport{Responses: []jsonResponse{}}
			a.report = report
			shareMode, err := parseShare(share)
			if err != nil {
				return err
			}
			protocols, err := parseProtocol(protocol)
			if err != nil {
				return err
			}
			apdus, err := a.readAPDUs(ctx, args[1:])
			if err != nil {
				return err
			}
			return a.apdu(ctx, report, args[0], apdus, shareMode, protocols)
		}),
	}
	cmd.Flags().StringVar(&share, "share", "shared", "`mode` of the connection: shared or exclusive")
	cmd.Flags().StringVar(&protocol, "protocol", "any", "`protocol` to use: T0, T1 or any")
	a.jsonFlag(cmd)
	return cmd
}

type apduReport struct {
	Reader    string         `json:"reader"`
	Protocol  string         `json:"protocol"`
	Responses []jsonResponse `json:"responses"`
	outcome
}

type jsonResponse struct {
	Data string `json:"data"`
	SW   string `json:"sw"`
	OK   bool   `json:"ok"`
}

func usage(format string, args ...any) error {
	return &failure{exit: exitUsage, what: fmt.Sprintf(format, args...), todo: "see pcsc help apdu"}
}

func parseShare(text string) (pcsc.ShareMode, error) {
	switch strings.ToLower(text) {
	case "shared":
		return pcsc.ShareShared, nil
	case "exclusive":
		return pcsc.ShareExclusive, nil
	case "direct":
		return 0, usage("--share direct is a connection to the reader alone, which takes no APDUs")
	}
	return 0, usage("--share is shared or exclusive, not %q", text)
}

func parseProtocol(text string) (pcsc.Protocol, error) {
	switch strings.ToLower(strings.ReplaceAll(text, "=", "")) {
	case "t0":
		return pcsc.ProtocolT0, nil
	case "t1":
		return pcsc.ProtocolT1, nil
	case "any":
		return pcsc.ProtocolAny, nil
	}
	return 0, usage("--protocol is T0, T1 or any, not %q", text)
}

// readAPDUs makes APDUs of the arguments.
func (a *app) readAPDUs(ctx context.Context, args []string) (apdus [][]byte, err error) {
	read := false
	for i, arg := range args {
		if arg != "-" {
			apdu, err := parseAPDU(arg)
			if err != nil {
				return nil, usage("APDU %d: %v", i+1, err)
			}
			apdus = append(apdus, apdu)
			continue
		}
		if read {
			return nil, usage("standard input can be read only once")
		}
		read = true
		type result struct {
			apdus [][]byte
			err   error
		}
		done := make(chan result, 1)
		go func() { // reading can't be interrupted
			apdus, err := scanAPDUs(a.stdin)
			done <- result{apdus, err}
		}()
		select {
		case r := <-done:
			if r.err != nil {
				return nil, r.err
			}
			apdus = append(apdus, r.apdus...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if len(apdus) == 0 {
		return nil, usage("standard input has no APDU")
	}
	return apdus, nil
}

// scanAPDUs reads APDUs, one per line.
func scanAPDUs(r io.Reader) (apdus [][]byte, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // enough for the longest APDU with blanks and colons, and for a comment
	n := 0
	for lines.Scan() {
		n++
		text, _, _ := bytes.Cut(lines.Bytes(), []byte{'#'})
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		apdu, err := parseAPDU(string(text))
		if err != nil {
			return nil, usage("standard input, line %d: %v", n, err)
		}
		apdus = append(apdus, apdu)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, usage("standard input, line %d: too long", n+1)
	case err != nil:
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return apdus, nil
}

// parseAPDU reads the hexadecimal digits of an APDU. No error has any of them in it: they may be those of a PIN.
func parseAPDU(text string) ([]byte, error) {
	digits := make([]byte, 0, len(text))
	at := 0
	for _, r := range text {
		at++
		switch {
		case r == ':' || unicode.IsSpace(r):
		case r >= '0' && r <= '9', r >= 'a' && r <= 'f', r >= 'A' && r <= 'F':
			digits = append(digits, byte(r))
		default:
			return nil, fmt.Errorf("character %d is not a hexadecimal digit", at)
		}
	}
	switch n := len(digits) / 2; {
	case len(digits)%2 != 0:
		return nil, errors.New("the number of hexadecimal digits is odd")
	case n < 4:
		return nil, fmt.Errorf("it is too short (bytes: %d, of 4 at least); put quotes around an APDU with blanks", n)
	case n > pcsc.MaxBufferSizeExtended:
		return nil, fmt.Errorf("it has %d bytes, and PC/SC takes no more than %d", n, pcsc.MaxBufferSizeExtended)
	default:
		apdu := make([]byte, n)
		_, err := hex.Decode(apdu, digits)
		return apdu, err
	}
}

// apdu sends the APDUs.
func (a *app) apdu(ctx context.Context, report *apduReport, reader string, apdus [][]byte,
	share pcsc.ShareMode, protocols pcsc.Protocol,
) error {
	pc, err := a.establish(ctx)
	if err != nil {
		return err
	}
	defer release(ctx, pc.Close)
	names, err := pc.ListReaders(ctx)
	if err != nil {
		return err
	}
	if reader, err = findReader(names, reader); err != nil {
		return err
	}
	report.Reader = reader
	card, err := pc.Connect(ctx, reader, share, protocols)
	if err != nil {
		return err
	}
	defer release(ctx, card.Close)
	t, err := begin(ctx, card, share, protocols)
	if err != nil {
		return err
	}
	report.Protocol = card.ActiveProtocol().String()

	bad := 0
	for i, apdu := range apdus {
		response, err := t.Transmit(ctx, apdu)
		if errors.Is(err, pcsc.ErrNotTransacted) && isGone(ctx, pc, reader) {
			f := explain(err)
			f.exit, f.todo = exitNoCard, hints[pcsc.ErrRemovedCard]
			f.what = fmt.Sprintf("the card was removed from the reader %q while APDU %d was under way", reader, i+1)
			return f
		}
		if err != nil {
			return err
		}
		data, sw := split(response)
		ok := succeeded(sw)
		if !ok {
			bad++
		}
		report.Responses = append(report.Responses, jsonResponse{fmt.Sprintf("%X", data), fmt.Sprintf("%X", sw), ok})
		if !a.json {
			a.printResponse(data, sw)
		}
	}
	// The reset is part of the transaction: in between nobody else gets at the card. After that there is nothing left
	// to do for Close.
	if err := release(ctx, func() error { return t.End(pcsc.ResetCard) }); err != nil {
		return err
	}
	if err := release(ctx, func() error { return card.Disconnect(pcsc.LeaveCard) }); err != nil {
		return err
	}
	if bad > 0 {
		return &failure{exit: exitStatusWord, reader: reader,
			what: fmt.Sprintf("%d of %d APDUs got a status word other than 9000 or 61xx", bad, len(apdus))}
	}
	return nil
}

// begin begins a transaction. Another program may have reset the card since it was connected: a card that has been
// sent nothing loses nothing, so it is connected again.
func begin(ctx context.Context, card *pcsc.Card, share pcsc.ShareMode, protocols pcsc.Protocol) (*pcsc.Transaction, error) {
	for try := 1; ; try++ {
		t, err := card.BeginTransaction(ctx)
		if err == nil || !errors.Is(err, pcsc.ErrResetCard) || try == 100 {
			return t, err
		}
		if err := card.Reconnect(ctx, share, protocols, pcsc.LeaveCard); err != nil {
			return nil, err
		}
	}
}

// isGone says whether the card was removed. A service can need some time to notice: pcscd looks every 400 ms, or less often
// on a busy machine.
func isGone(ctx context.Context, pc *pcsc.Context, reader string) bool {
	state := pcsc.NewReaderState(reader)
	return waitFor(ctx, pc, &state, pcsc.StateEmpty, 2*time.Second) == nil
}

// split splits a response into data and status word. A card that breaks the rules may send less than a status word.
func split(response []byte) (data, sw []byte) {
	if len(response) < 2 {
		return response, nil
	}
	return response[:len(response)-2], response[len(response)-2:]
}

func succeeded(sw []byte) bool {
	return len(sw) == 2 && (sw[0] == 0x90 && sw[1] == 0 || sw[0] == 0x61)
}

func (a *app) printResponse(data, sw []byte) {
	switch {
	case len(sw) == 0:
		fmt.Fprintf(a.stdout, "%X (no status word)\n", data)
	case len(data) == 0:
		fmt.Fprintf(a.stdout, "%X\n", sw)
	default:
		fmt.Fprintf(a.stdout, "%X %X\n", data, sw)
	}
}
