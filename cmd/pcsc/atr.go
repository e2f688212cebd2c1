package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/atr"
)

func (a *app) atrCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atr [HEX... | READER]",
		Short: "Explain an answer to reset (ATR)",
		Long: `Explain an answer to reset, byte by byte: one that is given in hexadecimal digits, or that of the card in a reader.
Without an argument it is that of the card in the only reader that has one.

What consists of four or more hexadecimal digits, blanks and colons apart, is an answer to reset; so are several arguments
together. Anything else is a READER: its name, a part of it that no other reader has, or an index that pcsc list shows.
Neither a service nor a reader is needed for digits. A card in a reader is not connected to.

An answer that can't be read to the end is explained up to there, and the exit code is 1. What standards don't allow,
but does no harm, is a warning.

With --json:
  {"reader": "", "atr": "3B80...", "convention": "direct convention", "protocols": ["T=0", "T=1"],
   "default_protocol": "T=0", "specific_mode": false, "rate": {"fi": 372, "di": 1, "fmax": 5000000},
   "ifsc": 32, "historical": "80...", "contactless": "", "storage_card": "",
   "warnings": [{"offset": 3, "message": "..."}], "explanation": ["..."]}
reader is empty for an answer that was given. fi, di and fmax (in Hz) are 0 if reserved, ifsc is 0 without T=1, and
contactless and storage_card are empty for other cards. explanation has the lines of the output without --json, whose
wording may change.`,
		Example: `  pcsc atr 3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22
  pcsc atr --json 0`,
		RunE: a.runE(a.atr),
	}
	a.jsonFlag(cmd)
	return cmd
}

type atrReport struct {
	Reader          string        `json:"reader"`
	ATR             string        `json:"atr"`
	Convention      string        `json:"convention"`
	Protocols       []string      `json:"protocols"`
	DefaultProtocol string        `json:"default_protocol"`
	SpecificMode    bool          `json:"specific_mode"`
	Rate            jsonRate      `json:"rate"`
	IFSC            int           `json:"ifsc"`
	Historical      string        `json:"historical"`
	Contactless     string        `json:"contactless"`
	StorageCard     string        `json:"storage_card"`
	Warnings        []jsonWarning `json:"warnings"`
	Explanation     []string      `json:"explanation"`
	outcome
}

type jsonRate struct {
	Fi   int   `json:"fi"`
	Di   int   `json:"di"`
	FMax int64 `json:"fmax"`
}

type jsonWarning struct {
	Offset  int    `json:"offset"`
	Message string `json:"message"`
}

func (a *app) atr(ctx context.Context, args []string) error {
	report := &atrReport{Protocols: []string{}, Warnings: []jsonWarning{}, Explanation: []string{}}
	a.report = report
	answer, err := parseATR(args)
	if err != nil {
		return err
	}
	if answer == nil {
		if report.Reader, answer, err = a.cardATR(ctx, args); err != nil {
			return err
		}
	}
	parsed, bad := atr.Parse(answer)
	report.fill(parsed)
	if !a.json {
		fmt.Fprint(a.stdout, parsed.Explain())
	}
	var syntax *atr.SyntaxError
	if errors.As(bad, &syntax) {
		return &failure{exit: exitError, reader: report.Reader,
			what: fmt.Sprintf("the answer to reset can't be read to the end: byte %d: %s", syntax.Offset, syntax.Msg)}
	}
	return bad
}

func (r *atrReport) fill(p *atr.ATR) {
	r.ATR = fmt.Sprintf("%X", p.Bytes())
	r.Convention = p.Convention().String()
	for _, protocol := range p.Protocols() {
		r.Protocols = append(r.Protocols, protocol.String())
		if protocol == atr.ProtocolT1 {
			r.IFSC = p.T1Parameters().IFSC
		}
	}
	r.DefaultProtocol = p.DefaultProtocol().String()
	_, r.SpecificMode = p.SpecificMode()
	rate := p.Rate()
	r.Rate = jsonRate{rate.Fi, rate.Di, int64(rate.FMax)}
	r.Historical = fmt.Sprintf("%X", p.HistoricalBytes)
	if kind := p.Contactless(); kind != atr.NotContactless {
		r.Contactless = kind.String()
	}
	if card, ok := p.StorageCard(); ok {
		r.StorageCard = card.String()
	}
	for _, w := range p.Warnings {
		r.Warnings = append(r.Warnings, jsonWarning{w.Offset, w.Msg})
	}
	r.Explanation = strings.Split(strings.TrimRight(p.Explain(), "\n"), "\n")
}

// parseATR reads an answer to reset. It returns nil if the arguments mean a reader.
func parseATR(args []string) ([]byte, error) {
	wrong := func(format string, args ...any) error {
		return &failure{exit: exitUsage, what: fmt.Sprintf(format, args...), todo: "see pcsc help atr"}
	}
	digits := make([]rune, 0, 2*atr.MaxLen)
	for i, arg := range args {
		for _, r := range arg {
			switch {
			case r == ':' || unicode.IsSpace(r):
			case r >= '0' && r <= '9', r >= 'a' && r <= 'f', r >= 'A' && r <= 'F':
				digits = append(digits, r)
			case len(args) > 1:
				return nil, wrong("argument %d, %q, is not hexadecimal digits; put quotes around a reader's name with blanks", i+1, arg)
			default:
				return nil, nil
			}
		}
	}
	switch {
	case len(digits) < 4 && len(args) <= 1:
		return nil, nil
	case len(digits)%2 != 0:
		return nil, wrong("the number of hexadecimal digits is odd")
	}
	return hex.DecodeString(string(digits))
}

// cardATR finds the reader that is meant and returns its name and the answer to reset of its card.
func (a *app) cardATR(ctx context.Context, args []string) (reader string, answer []byte, err error) {
	pc, err := a.establish(ctx)
	if err != nil {
		return "", nil, err
	}
	defer release(ctx, pc.Close)
	states, err := readerStates(ctx, pc)
	if err != nil {
		return "", nil, err
	}
	var names, filled []string
	for i := range states {
		names = append(names, states[i].Reader)
		if states[i].Flags()&pcsc.StatePresent != 0 {
			filled = append(filled, states[i].Reader)
		}
	}
	if len(args) == 0 && len(filled) == 1 {
		args = filled
	}
	if reader, err = theReader(names, args); err != nil {
		if len(args) == 0 && len(names) > 0 && len(filled) == 0 {
			err = &failure{exit: exitNoCard, what: "no reader has a card", todo: hints[pcsc.ErrNoSmartcard]}
		}
		return "", nil, err
	}
	for i := range states {
		if s := &states[i]; s.Reader == reader {
			answer = s.ATR()
			switch {
			case answer != nil:
			case s.Flags()&pcsc.StatePresent == 0:
				err = &failure{exit: exitNoCard, reader: reader, todo: hints[pcsc.ErrNoSmartcard],
					what: fmt.Sprintf("there is no card in the reader %q", reader)}
			default:
				err = &failure{exit: exitNoCard, reader: reader, todo: hints[pcsc.ErrUnpoweredCard],
					what: fmt.Sprintf("the card in the reader %q does not answer", reader)}
			}
		}
	}
	return reader, answer, err
}
