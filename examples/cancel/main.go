// Command cancel ends a blocking wait from another goroutine, when Enter is pressed.
//
// It does so by ending the context.Context of the wait. There is also pcsc.Context.Cancel, the equivalent of SCardCancel,
// which ends all waits that are under way, with pcsc.ErrCancelled. It knows nothing of a wait that is about to begin, so
// whoever calls it must be sure that the wait has begun.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gopcsc/gopcsc/pcsc"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	if err != nil {
		return err
	}
	defer pc.Close()
	readers, err := pc.ListReaders(ctx)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		cancel()
	}()

	// The pseudo reader changes when a reader comes or goes. What is known of it is the number of readers.
	states := []pcsc.ReaderState{pcsc.NewReaderState(pcsc.PnPNotification)}
	states[0].CurrentState = pcsc.State(len(readers) << 16)
	fmt.Println("Waiting for a reader to come or go; press Enter to cancel.")
	switch err := pc.GetStatusChangeTimeout(ctx, time.Minute, states); {
	case err == nil:
		fmt.Println("A reader came or went.")
	case errors.Is(err, context.Canceled):
		fmt.Println("The wait was cancelled.")
	case errors.Is(err, pcsc.ErrTimeout):
		fmt.Println("Nothing happened in time.")
	default:
		return err
	}
	return nil
}
