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

	// Inferred says that of the event no more is known than that it happened: a card has come and gone between two
	// looks, which the reader's counter tells, or while the loop's body was busy.
	Inferred bool

	// Time is when the event was noticed, or the last of those that are told together because the loop's body was busy.
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
// The service is waited for all the time, also while the loop's body is busy. What happens meanwhile is kept for it by
// reader, as what it was told and what there is to tell: memory is bounded by the number of readers, however slow the
// body is and however much happens. A body that was busy gets all of it, in the order of each reader:
//
//   - A card that was pulled and put back shows as CardRemoved and CardInserted, and each further card that came and
//     went as a pair marked Inferred, none forgotten. Readers count insertions and removals, so none is missed that came
//     and went between two looks either. Where there are no counters (macOS) that one is, except that a card with
//     another ATR is known to be another one.
//   - A reader that was unplugged and plugged in again shows as ReaderRemoved and ReaderAdded, with its cards. If that
//     was more than twice, the times that it was there in between show as one.
//   - A reader that came and went shows as ReaderAdded and ReaderRemoved. There can be any number of names, so only the
//     last 64 of these visits are kept.
//   - Several outages of the service show as one. What was between them is not told.
//
// The Time of events that are told together is when the last of them was noticed.
//
// On pcsc-lite before 2.3 a reader that is plugged in at the very moment between listing readers and waiting does not
// end the wait. It is noticed a little later: waits are short after each event and grow to 10 seconds.
//
// # The service
//
// The watch outlives the service. When the service goes down, cards and readers are removed, with Err set, and
// ServiceDown follows. From then on the watch tries to reach it, at growing intervals ([WithBackoff]); when it does,
// ServiceUp is followed by what is there, marked Initial. A service that does not run when the watch begins is
// ServiceDown too. The watch needs no [Context].
//
// A service that refuses the program is down for it: with [ErrSecurityViolation], because of a policy (polkit), or
// because it has as many clients as it serves. It is tried again like any other, since the reason can pass, as when a
// session becomes the active one; Err says what can be done.
//
// Where the service cannot tell of readers that come (macOS), they are listed at intervals ([WithPollInterval]);
// cards are waited for everywhere.
//
// # The end
//
// Leaving the loop ends the watch. It also ends after an error, which is yielded once: when ctx ends, one that wraps
// ctx's; [ErrUnavailable] if there is no PC/SC library; and what trying again does not change, such as a scope or a
// function that the platform does not have. In either case no goroutine and no native context is left. Only a service
// that hangs can keep the native call that is under way, and its goroutine: after a second the loop ends without it.
//
// # Many watches
//
// Each iteration over the result is a watch of its own, which begins with what there is at that moment. There can be any
// number at once, and each costs next to nothing: watches of the same backend, scope, [WithPollInterval] and
// [WithBackoff] share one native context and one goroutine, which begin with the first of them and end with the last.
// pcsc-lite serves 200 native contexts. Watches with tracers, except those of one [Context], share with no other.
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
		c := consumer{ctx: ctx, yield: yield}
		c.watch(b, o)
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

// watch is one iteration of Watch. Once everything that was there has been yielded, began is called, if it is not nil;
// false ends the watch.
func (c *Context) watch(ctx context.Context, opts []WatchOption, began func() bool, yield func(Event, error) bool) {
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
	loop := consumer{ctx: ctx, context: s, yield: yield, began: began}
	loop.watch(s.backend, o)
}

// WaitCard waits until one of the named readers holds a card and returns that reader and the card's ATR, which is nil
// if the card is mute. Without names it waits for any reader. If there is a card already it returns at once; of several
// cards it takes the one whose reader the service lists first.
//
// The readers need not be there yet, and nor need the service: like [Watch], WaitCard waits for them. It ends with an
// error for the reasons for which a watch does. If ctx ends while the service is down, the error says why it is.
func (c *Context) WaitCard(ctx context.Context, readers ...string) (reader string, atr []byte, err error) {
	var down error
	for event, err := range c.Watch(ctx, WithReaders(readers...)) {
		switch {
		case err != nil:
			if e, ok := err.(*Error); ok && down != nil && ctx.Err() != nil {
				e.Detail = "the service is down: " + down.Error()
			}
			return "", nil, err
		case event.Kind == CardInserted && !event.Inferred:
			return event.Reader, event.ATR, nil
		case event.Kind == ServiceDown:
			down = event.Err
		case event.Kind == ServiceUp:
			down = nil
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
