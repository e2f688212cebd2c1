package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

func (a *app) listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the readers, with their state and the card's ATR",
		Long: `List the readers, with their state and the card's answer to reset (ATR).

The index in front of a reader's name is good until a reader is plugged in or out.

With --json:
  {"readers": [{"index": 0, "name": "...", "state": ["present", "inuse"], "card": true, "events": 1, "atr": "3B80..."}]}
state has the names of PC/SC's SCARD_STATE_ flags in lower case. events counts the insertions and removals of cards. atr
is upper case without blanks, and empty if there is no card or it does not answer.`,
		Args: cobra.NoArgs,
		RunE: a.runE(func(ctx context.Context, _ []string) error { return a.list(ctx) }),
	}
	a.jsonFlag(cmd)
	return cmd
}

type listReport struct {
	Readers []jsonReader `json:"readers"`
	outcome
}

type jsonReader struct {
	Index  int      `json:"index"`
	Name   string   `json:"name"`
	State  []string `json:"state"`
	Card   bool     `json:"card"`
	Events uint16   `json:"events"`
	ATR    string   `json:"atr"`
}

func (a *app) list(ctx context.Context) error {
	report := &listReport{Readers: []jsonReader{}}
	a.report = report
	pc, err := a.establish(ctx)
	if err != nil {
		return err
	}
	defer release(ctx, pc.Close)
	states, err := readerStates(ctx, pc)
	if err != nil {
		return err
	}
	for i := range states {
		r := &states[i]
		report.Readers = append(report.Readers, jsonReader{
			Index:  i,
			Name:   r.Reader,
			State:  stateNames(r.Flags()),
			Card:   r.Flags()&pcsc.StatePresent != 0,
			Events: r.EventCount(),
			ATR:    fmt.Sprintf("%X", r.ATR()),
		})
		if !a.json {
			a.printReader(i, r)
		}
	}
	if len(states) == 0 {
		return noReader()
	}
	return nil
}

func (a *app) printReader(index int, r *pcsc.ReaderState) {
	fmt.Fprintf(a.stdout, "%d: %s\n   %s\n", index, printable(r.Reader), stateWords(r.Flags()))
	if atr := r.ATR(); atr != nil {
		fmt.Fprintf(a.stdout, "   ATR % X\n", atr)
	}
}

// stateNames are the flags' names. StateChanged is not about the reader but about what was known of it.
func stateNames(state pcsc.State) []string { return flagNames(state &^ pcsc.StateChanged) }

// flagNames are the names of the flags in a value, none for 0.
func flagNames[T interface {
	~uint32
	fmt.Stringer
}](flags T) []string {
	if flags == 0 {
		return []string{}
	}
	return strings.Split(flags.String(), "|")
}
