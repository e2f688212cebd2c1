package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gopcsc/gopcsc/pcsc"
)

// theReader is findReader, or the only reader if there is no argument.
func theReader(names, args []string) (string, error) {
	switch {
	case len(args) > 0:
		return findReader(names, args[0])
	case len(names) == 0:
		return "", noReader()
	case len(names) > 1:
		return "", &failure{exit: exitNoReader, todo: "name one, or give its index",
			what: fmt.Sprintf("there are %d readers: %s", len(names), quoted(names))}
	}
	return names[0], nil
}

// inspect connects to the reader that is meant and calls f. Nothing about the card is changed, as others may share it.
// If the card is reset or removed meanwhile f is called again, on a new connection.
func (a *app) inspect(ctx context.Context, args []string, f func(card *pcsc.Card) error) error {
	pc, err := a.establish(ctx)
	if err != nil {
		return err
	}
	left := true
	defer func() {
		// Closing would reset a card that could not be disconnected, or is only now being connected to. The end of the
		// program does not.
		if left && ctx.Err() == nil {
			release(ctx, pc.Close)
		}
	}()
	names, err := pc.ListReaders(ctx)
	if err != nil {
		return err
	}
	reader, err := theReader(names, args)
	if err != nil {
		return err
	}
	once := func() error {
		card, err := connectGently(ctx, pc, reader)
		if err != nil {
			return err
		}
		defer func() {
			err := release(ctx, func() error { return card.Disconnect(pcsc.LeaveCard) })
			left = left && !errors.Is(err, pcsc.ErrSharingViolation)
		}()
		return f(card)
	}
	for try := 1; ; try++ {
		err := once()
		if try == 100 || !errors.Is(err, pcsc.ErrResetCard) && !errors.Is(err, pcsc.ErrRemovedCard) {
			return err
		}
	}
}

// noUse are the codes with which a card can't be connected to, but its reader can.
var noUse = []pcsc.Code{
	pcsc.ErrNoSmartcard, pcsc.ErrRemovedCard, pcsc.ErrUnpoweredCard, pcsc.ErrUnresponsiveCard, pcsc.ErrProtoMismatch,
}

// connectGently connects to the card in a reader, sharing it, or to the reader alone.
func connectGently(ctx context.Context, pc *pcsc.Context, reader string) (*pcsc.Card, error) {
	card, err := pc.Connect(ctx, reader, pcsc.ShareShared, pcsc.ProtocolAny)
	if slices.ContainsFunc(noUse, func(code pcsc.Code) bool { return errors.Is(err, code) }) {
		return pc.Connect(ctx, reader, pcsc.ShareDirect, pcsc.ProtocolUndefined)
	}
	return card, err
}

// lasting says whether err is about the one question that was asked, and not about the service, the reader, the card or
// the time: other questions may be answered.
func lasting(ctx context.Context, err error) bool {
	return ctx.Err() == nil && explain(err).exit == exitError && !errors.Is(err, pcsc.ErrResetCard)
}

// answered is an error of a driver, in a few words.
func answered(err error) string {
	var e *pcsc.Error
	switch {
	case !errors.As(err, &e):
		return err.Error()
	case e.Detail != "":
		return e.Detail
	case e.Code.Name() == "":
		return e.Code.Error() // which has the value
	}
	return fmt.Sprintf("%s (%s)", e.Code.Error(), e.Code.Name())
}
