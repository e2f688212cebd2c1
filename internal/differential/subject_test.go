package differential

import (
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// readers are what the readers are called before the service appends numbers. There are as many in each sequence.
var readers = []string{"Left Reader", "Right Reader"}

// A subject is a service with readers, seen through a Backend. A sequence of calls runs on all of them in step.
type subject interface {
	name() string
	// begin starts the service with empty readers, or anew; end ends it, and all calls that wait.
	begin()
	end()
	// start starts a call and waits until it has returned or until it waits for something that only another call or
	// an event can bring. Which of the two may be known (the result is there or not) or a guess.
	start(func(winscard.Backend) outcome) <-chan outcome
	// insert, remove and look return when the service has noticed and has told its clients.
	insert(reader int, c *card)
	remove(reader int)
	// look makes the service do what it does now and then: tell waiting clients of changes that are no events, and
	// take the power from a card that nobody has used since the look before the last.
	look()
	// pass lets so much time pass, for calls that wait for a time.
	pass(time.Duration)
}
