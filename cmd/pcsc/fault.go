package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const faultHelp = "what goes wrong with virtual readers: a fault in `words`, such as \"pull-card nth 3\", see pcsc help serve;\n" +
	"after \"1: \" it is reader 1's alone; given again, a further fault\n"

// faultWords is the language of virtual.ParseFault for people; a test keeps it complete.
const faultWords = `Faults: answer HEX, comm-error, delay TIME, fail CODE, lose CODE, mute-card, nothing, oversize SIZE, pull-card,
reset-card, restart-service [TIME], server-too-busy, sharing-violation, stop-service, unplug-reader.
Conditions: before (the card gets the command), on OPERATION[,...] (such as Connect, or any), apdu HEX (the first bytes of
a command), nth N, times N, always. Go's documentation of virtual.ParseFault says more.`

// inject lets a fault lie in wait, in one reader if the text begins with its number.
func inject(service *virtual.Service, text string) error {
	number, words, found := strings.Cut(text, ":")
	if !found {
		fault, err := virtual.ParseFault(text)
		if err != nil {
			return err
		}
		service.Inject(fault)
		return nil
	}
	readers := service.Readers()
	i, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || i < 0 || i >= len(readers) {
		return fmt.Errorf("%q: %q is not the number of a reader; they have 0 to %d", text, number, len(readers)-1)
	}
	fault, err := virtual.ParseFault(strings.TrimSpace(words))
	if err != nil {
		return err
	}
	readers[i].Inject(fault)
	return nil
}
