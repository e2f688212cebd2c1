package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
)

const watchName = "watch"

func (a *app) watchCommand() *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use:   watchName + " [READER...]",
		Short: "Show how readers and cards come and go",
		Long: `Show how readers and cards come and go: first what is there, marked initial, and then each event when it happens, one on
a line, with its time, the reader, what it is, and the card's ATR. An event that nobody saw but that must have happened,
because the reader counts, is marked inferred.

It goes on when the service ends, and waits for it to come back, also if there is none at first. It ends with Ctrl-C, and
then the exit code is 0; after -n COUNT events that are not marked initial; or when the time of --timeout is over, with
exit code 6.

Each READER is a name or a part of one, in upper or lower case, and events of all readers whose names have one of them
are shown, also of readers that come later. A number below 100 is an index that pcsc list shows, and stands for the
reader that has it at the beginning. Events of the service are always shown.

With --json, unlike other commands, standard output is not one JSON object, but one for each event, on a line of its own:
  {"time": "2006-01-02T15:04:05.999999999Z", "reader": "...", "kind": "card-inserted", "atr": "3B80...",
   "state": ["present"], "initial": false, "inferred": false, "reason": ""}
kind is reader-added, reader-removed, card-inserted, card-removed, service-down or service-up. atr is empty for other
events than those of cards, and for a card that does not answer or was not seen. state is as with pcsc list. reason says
why the service is down, also with the readers and cards that are removed by that. After an error, --timeout included, a
last line has the member "error" alone.`,
		Example: `  pcsc watch
  pcsc watch --json -n 1 acr`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runE(func(ctx context.Context, args []string) error {
				a.lines = true
				err := a.watch(ctx, args, count)
				switch {
				case errors.Is(cmd.Context().Err(), context.Canceled):
					return nil
				case err != nil && ctx.Err() != nil:
					return &failure{exit: exitTimeout, what: context.Cause(ctx).Error()}
				}
				return err
			})(cmd, args)
		},
	}
	cmd.Flags().IntVarP(&count, "count", "n", 0, "end after this `number` of events; 0 is no end")
	cmd.Flags().BoolVar(&a.json, "json", false, "write one JSON object per line")
	return cmd
}

type jsonEvent struct {
	Time     time.Time `json:"time"`
	Reader   string    `json:"reader"`
	Kind     string    `json:"kind"`
	ATR      string    `json:"atr"`
	State    []string  `json:"state"`
	Initial  bool      `json:"initial"`
	Inferred bool      `json:"inferred"`
	Reason   string    `json:"reason"`
}

func (a *app) watch(ctx context.Context, args []string, count int) error {
	if count < 0 {
		return &failure{exit: exitUsage, what: "-n is less than nothing", todo: "see pcsc help watch"}
	}
	wanted, err := a.wantedReaders(ctx, args)
	if err != nil {
		return err
	}
	options := []pcsc.WatchOption{pcsc.WithLibrary(a.library)}
	for _, o := range a.env.options {
		options = append(options, o)
	}
	first, seen := true, 0
	for event, err := range pcsc.Watch(ctx, options...) {
		if err != nil {
			return a.established(err)
		}
		if first && event.Kind == pcsc.ServiceDown { // it did not just go down
			event.Initial = true
		}
		first = false
		if event.Reader != "" && !wanted(event.Reader) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.printEvent(event)
		if !event.Initial {
			seen++
		}
		if a.stdout.err != nil || count > 0 && seen == count {
			return nil
		}
	}
	return nil
}

// wantedReaders says which readers a person means.
func (a *app) wantedReaders(ctx context.Context, args []string) (wanted func(name string) bool, err error) {
	var whole, parts []string
	for _, arg := range args {
		index, err := strconv.ParseUint(arg, 10, 32)
		switch {
		case arg == "":
			_, err := findReader(nil, arg)
			return nil, err
		case err == nil && index < 100:
			name, err := a.readerAt(ctx, arg)
			if err != nil {
				return nil, err
			}
			whole = append(whole, name)
		default:
			parts = append(parts, strings.ToLower(arg))
		}
	}
	return func(name string) bool {
		for _, w := range whole {
			if name == w {
				return true
			}
		}
		for _, part := range parts {
			if strings.Contains(strings.ToLower(name), part) {
				return true
			}
		}
		return len(args) == 0
	}, nil
}

// readerAt finds the reader with an index.
func (a *app) readerAt(ctx context.Context, index string) (string, error) {
	pc, err := a.establish(ctx)
	if err != nil {
		return "", err
	}
	defer release(ctx, pc.Close)
	names, err := pc.ListReaders(ctx)
	if err != nil {
		return "", err
	}
	return findReader(names, index)
}

func (a *app) printEvent(e pcsc.Event) {
	reason := ""
	if e.Err != nil {
		reason = answered(e.Err)
	}
	if a.json {
		a.encode(jsonEvent{
			Time:     e.Time.Round(0),
			Reader:   e.Reader,
			Kind:     strings.ReplaceAll(e.Kind.String(), " ", "-"),
			ATR:      fmt.Sprintf("%X", e.ATR),
			State:    stateNames(e.State),
			Initial:  e.Initial,
			Inferred: e.Inferred,
			Reason:   reason,
		})
		return
	}
	reader := "-"
	if e.Reader != "" {
		reader = printable(e.Reader)
	}
	line := fmt.Sprintf("%s  %s  %s", e.Time.Format("2006-01-02 15:04:05.000"), reader, e.Kind)
	if len(e.ATR) > 0 {
		line += fmt.Sprintf("  % X", e.ATR)
	}
	var notes []string
	if e.Kind == pcsc.CardInserted && e.State&pcsc.StateMute != 0 {
		notes = append(notes, "does not answer")
	}
	if e.Initial {
		notes = append(notes, "initial")
	}
	if e.Inferred {
		notes = append(notes, "inferred")
	}
	if reason != "" {
		notes = append(notes, reason)
	}
	if len(notes) > 0 {
		line += fmt.Sprintf("  (%s)", strings.Join(notes, "; "))
	}
	fmt.Fprintln(a.stdout, line)
}
