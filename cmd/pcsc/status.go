package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/atr"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status READER",
		Short: "Connect to a card and show its status",
		Long: `Connect to the card in a reader and show its status (SCardStatus). A reader without a card has one too.

The card is shared and left as it is: it gets power and a protocol if it has none, but no reset. The events are the
insertions and removals of cards, which pcsc-lite counts; elsewhere the number is 0.

READER is a reader's name, a part of it that no other reader has, or an index that pcsc list shows.

With --json:
  {"readers": ["..."], "state": ["present", "powered", "negotiable"], "card": true, "protocol": "T1",
   "atr": "3B80...", "events": 1}
readers are the names of the reader, which can have several on Windows. protocol is undefined without a card. atr is
empty if there is no card or it does not answer.`,
		Example: `  pcsc status 0
  pcsc status --json acr`,
		Args: needReader,
		RunE: a.runE(a.status),
	}
	a.jsonFlag(cmd)
	return cmd
}

// needReader wants one argument, the reader.
func needReader(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return errors.New(cmd.Name() + ": the reader is missing")
	case 1:
		return nil
	}
	return fmt.Errorf("%s: one reader, not %d; put quotes around a name with blanks", cmd.Name(), len(args))
}

type statusReport struct {
	Readers  []string `json:"readers"`
	State    []string `json:"state"`
	Card     bool     `json:"card"`
	Protocol string   `json:"protocol"`
	ATR      string   `json:"atr"`
	Events   uint16   `json:"events"`
	outcome
}

func (a *app) status(ctx context.Context, args []string) error {
	report := &statusReport{Readers: []string{}, State: []string{}}
	a.report = report
	var status pcsc.Status
	err := a.inspect(ctx, args, func(card *pcsc.Card) (err error) {
		status, err = card.Status(ctx)
		return err
	})
	if err != nil {
		return err
	}
	report.Readers = append(report.Readers, status.Readers...)
	report.State = append(report.State, flagNames(status.State)...)
	report.Card = status.State&pcsc.CardPresent != 0
	report.Protocol = status.Protocol.String()
	report.ATR = fmt.Sprintf("%X", status.ATR)
	report.Events = status.EventCount
	if a.json {
		return nil
	}
	for _, name := range status.Readers {
		fmt.Fprintf(a.stdout, "reader    %s\n", printable(name))
	}
	answer := "none"
	if len(status.ATR) > 0 {
		parsed, _ := atr.Parse(status.ATR) // what is wrong is in its words
		answer = parsed.String()
	}
	fmt.Fprintf(a.stdout, "state     %s\nprotocol  %s\nATR       %s\nevents    %d\n",
		strings.Join(report.State, ", "), strings.ReplaceAll(report.Protocol, "|", ", "), answer, status.EventCount)
	return nil
}
