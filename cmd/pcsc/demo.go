package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const (
	personPatience = 20 * time.Second       // for a person who is asked to insert or remove a card
	noPatience     = 300 * time.Millisecond // for a change where there is nobody to make one
	virtualPause   = 400 * time.Millisecond // before a virtual card comes or goes
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "A guided tour of PC/SC, also without a reader",
		Long: `A guided tour of PC/SC: list the readers, connect to a card, ask for its status, send APDUs, hold a transaction and
wait for a card to come and go.

It is made on the system's PC/SC service if that has a reader with a card, or has a reader and a person at standard
input who can insert one; else, and with --virtual, on a virtual reader and card inside this program. A real card is
sent nothing but SELECT and left as it is.`,
		Args: cobra.NoArgs,
		RunE: a.runE(func(ctx context.Context, _ []string) error { return a.demo(ctx) }),
	}
}

func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stdout, format+"\n", args...) }

func (a *app) demo(ctx context.Context) error {
	a.say("A tour of PC/SC with package pcsc (backend %s, %s, %s/%s).", pcsc.BackendName(), runtime.Version(),
		runtime.GOOS, runtime.GOARCH)
	a.say("")
	var err error = &unfitError{why: "--virtual asks for it"}
	switch {
	case len(a.cards) > 0:
		return &failure{exit: exitUsage, what: "the tour has a card of its own", todo: "leave --card away"}
	case len(a.faults) > 0:
		return &failure{exit: exitUsage, what: "nothing is to go wrong on the tour", todo: "leave --fault away"}
	case !a.virtual:
		err = a.realTour(ctx)
	}
	var unfit *unfitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
	case errors.As(err, &unfit):
		a.say("This tour uses a virtual reader and card inside this program. The reason:")
		a.say("   %s", unfit.why)
		if unfit.todo != "" {
			a.say("   %s", unfit.todo)
		}
		if err := a.virtualTour(ctx); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return err
		}
	default:
		return err
	}
	a.say("")
	a.say("That was all. Next: pcsc list (pcsc --virtual list without a service), pcsc help apdu, and the programs in the folder examples.")
	return nil
}

// unfitError says why the real service does not do for a tour.
type unfitError struct{ why, todo string }

func (e *unfitError) Error() string { return e.why }

// tour is where a tour takes place.
type tour struct {
	*app
	pc      *pcsc.Context
	reader  string
	inUse   bool            // another program is connected to the card too
	virtual *virtual.Reader // nil on a real reader
}

// realTour makes the tour on the system's service, or says why it can't.
func (a *app) realTour(ctx context.Context) error {
	pc, err := a.establish(ctx)
	if err != nil {
		f := explain(err)
		return &unfitError{f.what, f.todo}
	}
	defer release(ctx, pc.Close)
	states, err := readerStates(ctx, pc)
	switch {
	case err != nil:
		f := explain(err)
		return &unfitError{f.what, f.todo}
	case len(states) == 0:
		return &unfitError{"the PC/SC service has no reader", pcsc.ErrNoReadersAvailable.Hint()}
	}
	chosen := choose(states)
	if chosen == nil && a.env.interactive {
		chosen = &states[0]
		a.say("No reader has a card that can be used. Insert one into %s, within %v (Ctrl-C ends the tour).",
			printable(chosen.Reader), personPatience)
		chosen.SyncCurrentState()
		switch err := waitFor(ctx, pc, chosen, pcsc.StatePresent, personPatience); {
		case errors.Is(err, pcsc.ErrTimeout):
			chosen = nil
		case err != nil:
			return &unfitError{explain(err).what, ""}
		}
	}
	if chosen == nil {
		return &unfitError{"no reader of the PC/SC service has a card that can be used", "insert one to see the tour on it"}
	}
	t := &tour{app: a, pc: pc, reader: chosen.Reader, inUse: chosen.Flags()&pcsc.StateInUse != 0}
	a.say("This tour uses the system's PC/SC service and the card in %s.", printable(t.reader))
	if err := t.run(ctx); err != nil {
		f := explain(err)
		return &unfitError{"the real card could not be used to the end: " + f.what, f.todo}
	}
	return nil
}

// choose returns the state of a reader with a card that answers, one that no other program uses if there is one.
func choose(states []pcsc.ReaderState) (chosen *pcsc.ReaderState) {
	for i := range states {
		flags := states[i].Flags()
		switch {
		case flags&pcsc.StatePresent == 0 || flags&(pcsc.StateMute|pcsc.StateExclusive) != 0:
		case flags&pcsc.StateInUse == 0:
			return &states[i]
		case chosen == nil:
			chosen = &states[i]
		}
	}
	return chosen
}

// virtualTour makes the tour on a virtual service.
func (a *app) virtualTour(ctx context.Context) error {
	service := virtual.New()
	reader := service.AddReader("gopcsc Demo Reader")
	reader.Insert(virtual.NewDemoCard())
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithContext(ctx), pcsc.WithBackend(service))
	if err != nil {
		return err
	}
	defer release(ctx, pc.Close)
	t := &tour{app: a, pc: pc, reader: reader.Name(), virtual: reader}
	return t.run(ctx)
}

func (t *tour) step(number int, title, api string) { t.say("\n%d. %s  [%s]", number, title, api) }

func (t *tour) run(ctx context.Context) error {
	t.step(1, "The readers", "Context.ListReaders, Context.GetStatusChange")
	states, err := readerStates(ctx, t.pc)
	if err != nil {
		return err
	}
	for i := range states {
		t.printReader(i, &states[i])
	}

	t.step(2, "Connect to the card", "Context.Connect")
	card, err := t.pc.Connect(ctx, t.reader, pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		return err
	}
	disposition := pcsc.ResetCard
	if t.virtual == nil {
		disposition = pcsc.LeaveCard // others may have verified a PIN
	}
	disconnect := func() error { return card.Disconnect(disposition) }
	defer release(ctx, disconnect)
	t.say("   connected, with protocol %s", card.ActiveProtocol())

	t.step(3, "The card's status", "Card.Status")
	status, err := card.Status(ctx)
	if err != nil {
		return err
	}
	t.say("   state %s\n   ATR %X", status.State, status.ATR)

	t.step(4, "Commands for the card", "Card.Transmit")
	aid := virtual.DemoAID()
	selectDemo := append([]byte{0x00, 0xA4, 0x04, 0x00, byte(len(aid))}, aid...)
	commands := []command{{"SELECT the application of the virtual demo card", selectDemo}}
	if t.virtual != nil {
		commands = append(commands,
			command{"GET DATA: the holder's name", []byte{0x00, 0xCA, 0x5F, 0x20, 0x00}},
			command{"GET DATA: the address, which takes a PIN", []byte{0x00, 0xCA, 0x5F, 0x42, 0x00}})
	}
	if err := t.transmit(ctx, card, commands); err != nil {
		return err
	}
	if t.virtual == nil {
		t.say("   A real card does not have that application and mostly answers 6A82: not found.")
	}

	t.step(5, "A transaction: other programs have to wait meanwhile", "Card.Transact")
	switch {
	case t.virtual != nil:
		commands = []command{
			{"VERIFY the PIN", append([]byte{0x00, 0x20, 0x00, 0x01, byte(len(virtual.DemoPIN))}, virtual.DemoPIN...)},
			{"GET DATA: the address", []byte{0x00, 0xCA, 0x5F, 0x42, 0x00}},
		}
	case t.inUse: // another program has its application selected
		commands = []command{{"SELECT what does not exist, again", selectDemo}}
	default:
		commands = []command{
			{"SELECT the main application", []byte{0x00, 0xA4, 0x04, 0x00, 0x00}},
			{"SELECT the main file", []byte{0x00, 0xA4, 0x00, 0x00, 0x02, 0x3F, 0x00}},
		}
	}
	err = card.Transact(ctx, func(tx *pcsc.Transaction) error { return t.transmit(ctx, tx, commands) })
	if err != nil {
		return err
	}

	t.step(6, "Disconnect", "Card.Disconnect")
	if err := release(ctx, disconnect); err != nil {
		return err
	}
	if t.virtual != nil {
		t.say("   The card was reset: its PIN has to be verified anew.")
	} else {
		t.say("   The card was left as it is.")
	}

	t.step(7, "Wait for a card to go and to come", "Context.GetStatusChange")
	return t.wait(ctx)
}

// command is an APDU and what it is for.
type command struct {
	what string
	apdu []byte
}

// transmitter is a card or a transaction.
type transmitter interface {
	Transmit(ctx context.Context, apdu []byte) ([]byte, error)
}

func (t *tour) transmit(ctx context.Context, card transmitter, commands []command) error {
	for _, c := range commands {
		response, err := card.Transmit(ctx, c.apdu)
		if err != nil {
			return err
		}
		data, sw := split(response)
		t.say("   %s\n   > % X", c.what, c.apdu)
		switch {
		case len(data) == 0:
			t.say("   < % X", sw)
		case t.virtual != nil: // whose data is text
			t.say("   < % X  % X  (%s)", data, sw, data)
		default:
			t.say("   < % X  % X", data, sw)
		}
	}
	return nil
}

// wait shows a wait for a card that goes and comes back, if there is somebody or something to make it do so.
func (t *tour) wait(ctx context.Context) error {
	patience := personPatience
	switch {
	case t.virtual != nil:
		t.say("   In a virtual reader cards come and go by themselves.")
		defer t.moveCard(ctx)()
	case t.env.interactive:
		t.say("   Take the card out, and put it in again, each within %v (Ctrl-C ends the tour).", personPatience)
	default:
		t.say("   Nobody is here to take the card out, so the wait ends after %v.", noPatience)
		patience = noPatience
	}
	state := pcsc.NewReaderState(t.reader)
	for _, step := range []struct {
		until pcsc.State
		what  string
	}{
		{pcsc.StatePresent, "card present"}, // which it is
		{pcsc.StateEmpty, "card removed"},
		{pcsc.StatePresent, "card inserted"},
	} {
		switch err := waitFor(ctx, t.pc, &state, step.until, patience); {
		case errors.Is(err, pcsc.ErrTimeout) && ctx.Err() == nil:
			t.say("   nothing happened in %v", patience)
			return nil
		case err != nil:
			return err
		}
		t.say("   %s (event %d)", step.what, state.EventCount())
	}
	return nil
}

// moveCard takes the virtual card out and puts it in again, in the background. The function that it returns ends that.
func (t *tour) moveCard(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var moving sync.WaitGroup
	moving.Go(func() {
		for _, move := range []func(){t.virtual.Remove, func() { t.virtual.Insert(virtual.NewDemoCard()) }} {
			select {
			case <-time.After(virtualPause):
				move()
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		moving.Wait()
	}
}
