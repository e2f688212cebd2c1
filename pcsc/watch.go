package pcsc

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"time"
)

// An Event is something that happened to a reader, to a card in it, or to the service. It comes from [Watch].
type Event struct {
	Kind   EventKind
	Reader string // the reader's name; empty for ServiceDown and ServiceUp

	// ATR is the answer to reset of the card that was inserted or removed. It is nil for other events, for a card that
	// is mute, and for one that nobody saw (see Inferred). It is the receiver's to keep.
	ATR []byte

	// State is the state of the reader after the event, without the counter. StateMute, with CardInserted, says that
	// the card does not answer. StateUnknown says that the reader is gone, StateUnavailable that it cannot be asked.
	State State

	// Initial says that it did not just happen: it was so already when the watch began, or when the service came up.
	Initial bool

	// Inferred says that nobody looked at the card. A reader counts insertions and removals, and its counter tells that
	// a card has come and gone between two looks.
	Inferred bool

	// Time is when the event was noticed.
	Time time.Time

	// Err is why the service is down. CardRemoved and ReaderRemoved have it too if they only mean that: the card may
	// still be where it was.
	Err error
}

// EventKind is what happened.
type EventKind uint8

// The kinds of events.
const (
	ReaderAdded   EventKind = iota + 1 // a reader is there
	ReaderRemoved                      // it is not any more
	CardInserted                       // a card is in the reader
	CardRemoved                        // it is not any more
	ServiceDown                        // the service does not answer; until ServiceUp there are no readers
	ServiceUp                          // it answers again; its readers and cards follow as additions and insertions
)

// String is the kind in words, such as "card inserted".
func (k EventKind) String() string {
	switch k {
	case ReaderAdded:
		return "reader added"
	case ReaderRemoved:
		return "reader removed"
	case CardInserted:
		return "card inserted"
	case CardRemoved:
		return "card removed"
	case ServiceDown:
		return "service down"
	case ServiceUp:
		return "service up"
	}
	return fmt.Sprintf("EventKind(%d)", uint8(k))
}

// String is one line about the event, for people.
func (e Event) String() string {
	var b strings.Builder
	b.WriteString(e.Kind.String())
	if e.Reader != "" {
		fmt.Fprintf(&b, " %q", e.Reader)
	}
	if len(e.ATR) > 0 {
		fmt.Fprintf(&b, " % X", e.ATR)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Watch tells what happens to readers and cards:
//
//	for event, err := range pcsc.Watch(ctx) {
//		if err != nil {
//			return err // ctx has ended, or there is no PC/SC library
//		}
//		fmt.Println(event)
//	}
//
// It first yields what is there, as ReaderAdded and CardInserted marked Initial, and then each change. A card comes
// after its reader and goes before it. Between two events the loop blocks, for as long as nothing happens.
//
// # Nothing is lost
//
// The service is only asked while the loop waits, and the answer is compared with what the loop has been told: memory
// is bounded by the number of readers, however slow the loop's body is. A body that was busy gets all that happened
// meanwhile, in the order of each reader: readers count insertions and removals, so a card that was pulled and put
// back shows as CardRemoved and CardInserted, and a card that came and went as a pair marked Inferred. Where there are
// no counters (macOS), visits that both begin and end while the body is busy are not seen, except that a card
// with another ATR is known to be another one. The same goes for a reader that was unplugged and plugged in again
// meanwhile, if its counter does not show it.
//
// On pcsc-lite before 2.3 a reader that is plugged in at the very moment between listing readers and waiting does not
// end the wait. It is noticed a little later: waits are short after each event and grow to 10 seconds.
//
// # The service
//
// The watch runs on a native context of its own, and outlives the service. When the service goes down, cards and
// readers are removed, with Err set, and ServiceDown follows. From then on the watch tries to reach it, at growing
// intervals ([WithBackoff]); when it does, ServiceUp is followed by what is there, marked Initial. A service that does
// not run when the watch begins is ServiceDown too. The watch needs no [Context].
//
// Where the service cannot tell of readers that come (macOS), they are listed at intervals ([WithPollInterval]);
// cards are waited for everywhere.
//
// # The end
//
// Leaving the loop ends the watch. It also ends after an error, which is yielded once: when ctx ends, one that wraps
// ctx's; [ErrUnavailable] if there is no PC/SC library; and what is refused for good, as [ErrSecurityViolation] is. In
// either case no goroutine and no native context is left. Only a service that hangs can keep the native call that is
// under way, and its goroutine: after a second the loop ends without it.
//
// Each iteration over the result is a watch of its own. There can be any number at once; each holds one native context,
// of which pcsc-lite serves 200.
func Watch(ctx context.Context, opts ...WatchOption) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		o := newWatchOptions(opts)
		if err := checkContext(ctx, opEstablishContext, ""); err != nil {
			yield(Event{}, err)
			return
		}
		b, err := o.open()
		if err != nil {
			yield(Event{}, err)
			return
		}
		newWatcher(ctx, nil, b, o).iterate(yield)
	}
}

// Watch is the function [Watch] with the context's backend and scope. [Context.Close] and [Context.Cancel] end it like
// a wait, with [ErrCancelled]; on a closed context the error is [ErrInvalidHandle]. The service may have died under
// the context: the watch does not use the context's connection to it.
func (c *Context) Watch(ctx context.Context, opts ...WatchOption) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		c.watch(ctx, opts, nil, yield)
	}
}

// watch is one iteration of Watch. Once everything that was there has been yielded, complete is called, if it is not
// nil; false ends the watch.
func (c *Context) watch(ctx context.Context, opts []WatchOption, complete func() bool, yield func(Event, error) bool) {
	defer runtime.KeepAlive(c)
	s, err := c.enter(ctx, opGetStatusChange, "")
	if err != nil {
		yield(Event{}, err)
		return
	}
	s.leave()
	o := newWatchOptions(opts)
	if o.given || o.library != "" || o.tracer != nil {
		yield(Event{}, &Error{Op: opEstablishContext, Code: ErrInvalidParameter,
			Detail: "the Watch of a Context has the Context's backend and tracer"})
		return
	}
	if !o.scoped {
		o.scope = Scope(s.scope)
	}
	w := newWatcher(ctx, s, s.backend, o)
	w.complete = complete
	w.iterate(yield)
}

// WaitCard waits until one of the named readers holds a card and returns that reader and the card's ATR, which is nil
// if the card is mute. Without names it waits for any reader. If there is a card already it returns at once; of several
// cards it takes the one whose reader the service lists first.
//
// The readers need not be there yet, and nor need the service: like [Watch], WaitCard waits for them. It ends with an
// error for the reasons for which a watch does.
func (c *Context) WaitCard(ctx context.Context, readers ...string) (reader string, atr []byte, err error) {
	for event, err := range c.Watch(ctx, WithReaders(readers...)) {
		if err != nil {
			return "", nil, err
		}
		if event.Kind == CardInserted && !event.Inferred {
			return event.Reader, event.ATR, nil
		}
	}
	return "", nil, &Error{Op: opGetStatusChange, Code: ErrInternalError} // a watch does not just end
}

// WaitRemoved waits until the card that the reader holds is removed, or the reader itself. If there is no card, or no
// such reader, it returns at once. A card that is pulled and put back counts as removed.
//
// When the service goes down nobody knows whether the card is still there. WaitRemoved then ends with the error that
// says so, such as [ErrNoService]; otherwise with an error for the reasons for which a [Watch] does.
func (c *Context) WaitRemoved(ctx context.Context, reader string) error {
	if reader == "" {
		return &Error{Op: opGetStatusChange, Code: ErrUnknownReader, Detail: "the name of the reader is empty"}
	}
	var present bool
	var result error
	c.watch(ctx, []WatchOption{WithReaders(reader)}, func() bool { return present }, func(event Event, err error) bool {
		switch {
		case err != nil:
			result = err
		case event.Kind == CardInserted:
			present = true
			return true
		case event.Kind == ServiceDown:
			result = event.Err
		case event.Kind == CardRemoved && event.Err == nil:
		default:
			return true
		}
		return false
	})
	return result
}
