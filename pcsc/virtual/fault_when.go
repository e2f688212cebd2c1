package virtual

import (
	"fmt"
	"strings"
)

// Op is an operation that a fault can strike: a call of a client, named as the method of [Service], or [OpPowerUp]. The
// calls that are not among them, such as IsValidContext, get no further than the client's library and don't fail.
type Op string

// The operations.
const (
	OpEstablishContext Op = "EstablishContext"
	OpReleaseContext   Op = "ReleaseContext"
	OpListReaders      Op = "ListReaders"
	OpGetStatusChange  Op = "GetStatusChange" // once it is about to wait, or to return
	OpCancel           Op = "Cancel"
	OpConnect          Op = "Connect"
	OpReconnect        Op = "Reconnect"
	OpDisconnect       Op = "Disconnect"
	OpBeginTransaction Op = "BeginTransaction"
	OpEndTransaction   Op = "EndTransaction"
	OpStatus           Op = "Status"
	OpTransmit         Op = "Transmit"
	OpControl          Op = "Control"
	OpGetAttrib        Op = "GetAttrib"
	OpSetAttrib        Op = "SetAttrib"

	// OpPowerUp is no call: a card is powered up or reset, and has to send its answer to reset.
	OpPowerUp Op = "PowerUp"
)

var ops = []Op{
	OpEstablishContext, OpReleaseContext, OpListReaders, OpGetStatusChange, OpCancel, OpConnect, OpReconnect,
	OpDisconnect, OpBeginTransaction, OpEndTransaction, OpStatus, OpTransmit, OpControl, OpGetAttrib, OpSetAttrib,
	OpPowerUp,
}

// opSet is a set of operations, a bit for each.
type opSet uint32

func setOf(list ...Op) (set opSet) {
	for i, op := range ops {
		for _, o := range list {
			if o == op {
				set |= 1 << i
			}
		}
	}
	return set
}

var anyOp = setOf(ops...) &^ setOf(OpPowerUp)

// A When is a condition under which a [Fault] strikes.
type When func(*when)

// when is all conditions of a fault, in one form for each meaning.
type when struct {
	ops    opSet  // none: the usual one
	header string // of the APDU
	before bool
	skip   int // so many first
	more   int // after the first strike; negative: no end
}

// On makes the fault strike these operations, and no others. Unknown ones are ignored.
func On(ops ...Op) When { return func(w *when) { w.ops = setOf(ops...) } }

// OnAny makes the fault strike any call.
func OnAny() When { return func(w *when) { w.ops = anyOp } }

// APDU makes the fault strike commands to the card that begin with these bytes: APDU(0x00, 0xB0) is READ BINARY of
// class 0. It is Transmit that is struck, unless [On] says otherwise: then it is the first bytes of what Control gets.
func APDU(header ...byte) When { return func(w *when) { w.header = string(header) } }

// Nth makes the fault strike for the first time at the nth operation to which the other conditions apply, counted from
// 1. Calls that the service refuses, because of a handle that is not valid for example, don't count.
func Nth(n int) When { return func(w *when) { w.skip = max(n, 1) - 1 } }

// Times makes the fault strike n times in succession. The usual number is 1, and less is taken for that.
func Times(n int) When { return func(w *when) { w.more = max(n, 1) - 1 } }

// Always makes the fault strike each time, until [Injection.Remove].
func Always() When { return func(w *when) { w.more = -1 } }

// Before makes the fault strike before the card or the driver gets the command: it is not carried out, and what an
// [Answer] gives stands for it. It matters in Transmit and Control alone, as elsewhere faults strike first in any case.
func Before() When { return func(w *when) { w.before = true } }

// concerns reports whether the conditions, all but the counts, apply to an operation.
func (w *when) concerns(op Op, apdu []byte) bool {
	set := w.ops
	if set == 0 {
		set = setOf(OpTransmit)
	}
	return set&setOf(op) != 0 && strings.HasPrefix(string(apdu), w.header)
}

// words are the conditions as [ParseFault] reads them.
func (w *when) words() (words []string) {
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if w.before {
		add("before")
	}
	switch {
	case w.ops == anyOp:
		add("on any")
	case w.ops != 0:
		var names []string
		for _, op := range ops {
			if w.ops&setOf(op) != 0 {
				names = append(names, string(op))
			}
		}
		add("on %s", strings.Join(names, ","))
	}
	if w.header != "" {
		add("apdu %X", w.header)
	}
	if w.skip > 0 {
		add("nth %d", w.skip+1)
	}
	switch {
	case w.more < 0:
		add("always")
	case w.more > 0:
		add("times %d", w.more+1)
	}
	return words
}
