// Command monitor prints what happens to readers and cards, until it is interrupted with Ctrl-C.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/gopcsc/gopcsc/pcsc"
)

// latest is how long a reader can go unnoticed where the platform does not tell of readers that come (macOS).
const latest = time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	if err != nil {
		return err
	}
	defer pc.Close()

	fmt.Println("Watching; press Ctrl-C to end.")
	// The pseudo reader ends the wait when a reader comes or goes.
	pnp := []pcsc.ReaderState{pcsc.NewReaderState(pcsc.PnPNotification)}
	var states []pcsc.ReaderState
	for {
		names, err := pc.ListReaders(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		states = update(states, names)

		// What is known: of the readers, what the last wait said; of the pseudo reader, their number.
		for i := range states {
			states[i].SyncCurrentState()
		}
		for i := range pnp {
			pnp[i].CurrentState = pcsc.State(len(names) << 16)
		}
		all := append(slices.Clone(states), pnp...)
		err = pc.GetStatusChangeTimeout(ctx, latest, all)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, pcsc.ErrUnknownReader):
			pnp = nil // or a reader has gone this moment; then its going is noticed all the same
			continue
		case err != nil && !errors.Is(err, pcsc.ErrTimeout):
			return err
		}
		copy(states, all) // the pseudo reader's state is of no further interest
		for i := range states {
			if r := &states[i]; r.EventState&pcsc.StateChanged != 0 {
				fmt.Printf("%s: %v, event %d", r.Reader, r.Flags()&^pcsc.StateChanged, r.EventCount())
				if atr := r.ATR(); atr != nil {
					fmt.Printf(", ATR % X", atr)
				}
				fmt.Println()
			}
		}
	}
}

// update drops the readers that are gone and adds those that are new.
func update(states []pcsc.ReaderState, names []string) []pcsc.ReaderState {
	states = slices.DeleteFunc(states, func(r pcsc.ReaderState) bool {
		gone := !slices.Contains(names, r.Reader)
		if gone {
			fmt.Printf("%s: removed\n", r.Reader)
		}
		return gone
	})
	for _, name := range names {
		if !slices.ContainsFunc(states, func(r pcsc.ReaderState) bool { return r.Reader == name }) {
			fmt.Printf("%s: added\n", name)
			states = append(states, pcsc.NewReaderState(name))
		}
	}
	return states
}
