package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gopcsc/gopcsc/pcsc"
)

// readerStates asks for the state of all readers, without waiting for a change.
func readerStates(ctx context.Context, pc *pcsc.Context) ([]pcsc.ReaderState, error) {
	for try := 1; ; try++ {
		names, err := pc.ListReaders(ctx)
		if err != nil {
			return nil, err
		}
		states := make([]pcsc.ReaderState, len(names))
		for i, name := range names {
			states[i] = pcsc.NewReaderState(name)
		}
		// Windows takes 10 readers in one call, pcsc-lite has no more than 16.
		for part := range slices.Chunk(states, pcsc.MaximumSmartcardReaders) {
			if err = pc.GetStatusChange(ctx, part); err != nil {
				break
			}
		}
		// A reader that has just been unplugged fails the call for all: look again.
		if err == nil || try == 3 || !errors.Is(err, pcsc.ErrUnknownReader) {
			return states, err
		}
	}
}

// waitFor waits until the reader has one of the flags, for each change no longer than patience.
func waitFor(ctx context.Context, pc *pcsc.Context, state *pcsc.ReaderState, flags pcsc.State, patience time.Duration) error {
	for {
		states := []pcsc.ReaderState{*state}
		if err := pc.GetStatusChangeTimeout(ctx, patience, states); err != nil {
			return err
		}
		*state = states[0]
		state.SyncCurrentState()
		if state.Flags()&flags != 0 {
			return nil
		}
	}
}

// findReader finds the reader that a person means: by its name, by its index, or by a part of the name that no other
// reader has. A number below 100 is an index and never a part of a name, so that an APDU does not go to another reader
// because one was unplugged.
func findReader(names []string, arg string) (string, error) {
	const all = "pcsc list shows the readers"
	switch {
	case arg == "":
		return "", &failure{exit: exitUsage, what: "the reader's name is empty", todo: all}
	case slices.Contains(names, arg):
		return arg, nil
	case len(names) == 0:
		return "", noReader()
	}
	if index, err := strconv.ParseUint(arg, 10, 32); err == nil && index < 100 {
		if index < uint64(len(names)) {
			return names[index], nil
		}
		return "", &failure{exit: exitNoReader, reader: arg, todo: all,
			what: fmt.Sprintf("no reader has the index %d; the highest is %d", index, len(names)-1)}
	}
	var found []string
	for _, name := range names {
		if strings.Contains(strings.ToLower(name), strings.ToLower(arg)) {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", &failure{exit: exitNoReader, reader: arg, todo: all,
			what: fmt.Sprintf("no reader's name is or contains %q", arg)}
	}
	return "", &failure{exit: exitNoReader, reader: arg, todo: "give more of the name, or the index",
		what: fmt.Sprintf("%q fits %d readers: %s", arg, len(found), quoted(found))}
}

func quoted(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(name))
	}
	return b.String()
}

func noReader() *failure {
	return &failure{exit: exitNoReader, what: "there is no reader", todo: pcsc.ErrNoReadersAvailable.Hint()}
}

// stateWords says what a reader's state means.
func stateWords(state pcsc.State) string {
	switch {
	case state&(pcsc.StateUnknown|pcsc.StateUnavailable) != 0:
		return "can't be used"
	case state&pcsc.StatePresent == 0:
		return "no card"
	}
	words := "card"
	if state&pcsc.StateMute != 0 {
		words += " that does not answer"
	}
	switch {
	case state&pcsc.StateExclusive != 0:
		words += ", which a program has for itself"
	case state&pcsc.StateInUse != 0:
		words += ", in use"
	}
	return words
}

// printable makes a reader's name harmless to terminals: it comes from the device.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(name)
	}
	return name
}
