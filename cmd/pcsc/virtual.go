package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/internal/cardfile"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const (
	virtualReader = "gopcsc Virtual Reader" // the name of a reader that was not given one
	demoCard      = "demo"                  // stands for the demo card where a card file is expected
	noCard        = "none"                  // stands for no card
)

const cardHelp = "card for a virtual reader: a card `file`, or demo, or none; given again, for the next reader\n"

// virtualFlags gives all commands the flags --virtual and --card.
func (a *app) virtualFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.BoolVar(&a.virtual, "virtual", false, "use a virtual reader in this program, with a demo card, in place of the system's service")
	flags.StringArrayVar(&a.cards, "card", nil, cardHelp+"(with --virtual and pcsc serve)")
	flags.StringArrayVar(&a.faults, "fault", nil, faultHelp+"(with --virtual and pcsc serve)")
}

// goVirtual makes a command use virtual readers, if it is to.
func (a *app) goVirtual(cmd *cobra.Command) error {
	switch {
	case cmd.Name() == serveName:
		return nil // which makes its own
	case !a.virtual && len(a.cards) > 0:
		return errors.New("--card goes with --virtual, or with pcsc serve")
	case !a.virtual && len(a.faults) > 0:
		return errors.New("--fault goes with --virtual, or with pcsc serve")
	case !a.virtual:
		return nil
	case a.library != "":
		return errors.New("--virtual needs no library: leave --library away")
	}
	service, err := a.virtualService(nil)
	if err != nil {
		return err
	}
	a.env.options = append(a.env.options, pcsc.WithBackend(service))
	return nil
}

// virtualService makes a service with readers of these names, or as many as there are cards, and the cards in them.
func (a *app) virtualService(readers []string) (*virtual.Service, error) {
	cards := a.cards
	if len(cards) == 0 {
		cards = []string{demoCard}
	}
	if len(readers) == 0 {
		for range cards {
			readers = append(readers, virtualReader)
		}
	}
	if len(cards) > len(readers) {
		return nil, fmt.Errorf("%d cards, and %d readers for them", len(cards), len(readers))
	}
	service := virtual.New()
	for i, name := range readers {
		if name == "" || strings.ContainsRune(name, 0) {
			return nil, fmt.Errorf("%q can't be the name of a reader", name)
		}
		reader := service.AddReader(name)
		if !reader.Connected() {
			return nil, fmt.Errorf("%d readers; a service has at most %d", len(readers), i)
		}
		if i >= len(cards) {
			continue
		}
		card, err := loadCard(cards[i])
		if err != nil {
			return nil, err
		}
		if card != nil {
			reader.Insert(card)
		}
	}
	for _, text := range a.faults {
		if err := inject(service, text); err != nil {
			return nil, &failure{exit: exitUsage, what: fmt.Sprintf("--fault: %s", strings.TrimPrefix(err.Error(), "virtual: ")),
				todo: `say what is to go wrong and when, as in --fault "pull-card nth 3" or --fault "1: delay 5s always"`}
		}
	}
	return service, nil
}

// loadCard makes the card that --card means.
func loadCard(name string) (virtual.Card, error) {
	switch name {
	case demoCard:
		return virtual.NewDemoCard(), nil
	case noCard:
		return nil, nil
	}
	card, err := cardfile.Load(name)
	var faults cardfile.Faults
	switch {
	case errors.As(err, &faults):
		return nil, &failure{exit: exitUsage, what: fmt.Sprintf("the card file %s is not right:", name),
			todo: strings.ReplaceAll(faults.Error(), "\n", "\n  ")}
	case err != nil:
		return nil, &failure{exit: exitUsage, what: fmt.Sprintf("--card: %v", err),
			todo: "give the name of a card file, or demo, or none"}
	}
	return card, nil
}
