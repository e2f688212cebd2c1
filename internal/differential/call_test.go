package differential

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A call is a call of a Backend's method, the same for all subjects but for the handles.
type call struct {
	op      string
	text    string // what it is called with, in words
	context *contextHandle
	card    *cardHandle // nil if the call takes a context
	reader  int         // index in readers, or negative

	// The arguments, as far as the table of disagreements or the machine needs them.
	share, protocols, init, disposition, pci, timeout uint32

	do func(b winscard.Backend, h handles) outcome
}

// handles are what one subject calls the context and the card of a call.
type handles struct {
	context winscard.Context
	card    winscard.Card
}

// A contextHandle is a context, with its handle in each subject.
type contextHandle struct {
	n       int
	origin  *call
	ids     []winscard.Context
	open    bool
	waiting *waiting // the call under way; a context makes one at a time
}

func (c *contextHandle) String() string {
	switch {
	case c.n < 0:
		return "a context that never was"
	case !c.open:
		return fmt.Sprintf("context %d (released)", c.n)
	}
	return fmt.Sprintf("context %d", c.n)
}

// A cardHandle is a connection to a card, with its handle in each subject.
type cardHandle struct {
	n       int
	origin  *call
	ids     []winscard.Card
	context *contextHandle
	reader  int
	open    bool
	stale   bool // the last call said that the card was reset or removed

	resetAgain bool // a Reconnect that resets the card has waited
}

func (c *cardHandle) String() string {
	switch {
	case c.n < 0:
		return "a connection that never was"
	case !c.open:
		return fmt.Sprintf("connection %d (closed)", c.n)
	}
	return fmt.Sprintf("connection %d", c.n)
}

// waiting is a call that waits, in all subjects.
type waiting struct {
	call    *call
	step    int
	results []<-chan outcome
}

// An outcome is what a call returned. Handles are not compared.
type outcome struct {
	code     winscard.Code
	fields   []field
	handles  handles
	panicked string
}

type field struct{ name, text string }

func (o outcome) String() string {
	if o.panicked != "" {
		return "panic: " + o.panicked
	}
	name := o.code.Name()
	if name == "" {
		name = fmt.Sprintf("0x%08X", uint32(o.code))
	}
	var b strings.Builder
	b.WriteString(name)
	for _, f := range o.fields {
		fmt.Fprintf(&b, ", %s %s", f.name, f.text)
	}
	return b.String()
}

// differences names what differs: "code" and the fields.
func (o outcome) differences(p outcome) []string {
	var names []string
	if o.code != p.code || o.panicked != p.panicked {
		names = append(names, "code")
	}
	for i, f := range o.fields {
		if i < len(p.fields) && p.fields[i] != f {
			names = append(names, f.name)
		}
	}
	if len(o.fields) != len(p.fields) {
		names = append(names, "the number of results")
	}
	return names
}

func result(rc winscard.Code, fields ...field) outcome { return outcome{code: rc, fields: fields} }

// agreed is the result of a call that agrees on a protocol, which means something with success only.
func agreed(rc winscard.Code, protocol uint32) outcome {
	if rc != winscard.Success {
		return result(rc)
	}
	return result(rc, hex("protocol", protocol))
}

func number(name string, v uint32) field { return field{name, fmt.Sprintf("%d", v)} }

func hex(name string, v uint32) field { return field{name, fmt.Sprintf("0x%X", v)} }

// content is what is in the first n bytes of a buffer, as far as it goes.
func content(name string, b []byte, n int) field {
	b = b[:min(n, len(b))]
	if len(b) > 64 {
		h := fnv.New64a()
		h.Write(b)
		return field{name, fmt.Sprintf("%X... (%d bytes, hash %X)", b[:64], len(b), h.Sum(nil))}
	}
	return field{name, fmt.Sprintf("%X", b)}
}

// untouched is what buffers are filled with.
const untouched = 0xEE

// buffer makes a buffer for a result; a negative size makes none.
func buffer(n int) []byte {
	if n < 0 {
		return nil
	}
	return bytes.Repeat([]byte{untouched}, n)
}

func bufferText(n int) string {
	if n < 0 {
		return "no buffer"
	}
	return fmt.Sprintf("a buffer of %d", n)
}

var shareNames = map[uint32]string{1: "exclusive", 2: "shared", 3: "direct"}

func shareText(share uint32) string {
	if s, ok := shareNames[share]; ok {
		return s
	}
	return fmt.Sprintf("share mode %d", share)
}

func protocolsText(protocols uint32) string {
	var names []string
	for _, p := range []struct {
		bit  uint32
		name string
	}{{1, "T=0"}, {2, "T=1"}, {4, "raw"}, {8, "T=15"}, {0x1000, "any (old)"}} {
		if protocols&p.bit != 0 {
			names = append(names, p.name)
			protocols &^= p.bit
		}
	}
	if protocols != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("protocol 0x%X", protocols))
	}
	return strings.Join(names, " or ")
}

var dispositionNames = map[uint32]string{0: "leave", 1: "reset", 2: "unpower", 3: "eject"}

func dispositionText(d uint32) string {
	if s, ok := dispositionNames[d]; ok {
		return s
	}
	return fmt.Sprintf("disposition %d", d)
}

func quote(name string) string {
	if len(name) > 40 {
		return fmt.Sprintf("a name of %d bytes", len(name))
	}
	return fmt.Sprintf("%q", name)
}

// The calls.

func establishContext(scope uint32) *call {
	return &call{op: "EstablishContext", reader: -1, text: fmt.Sprintf("scope %d", scope),
		do: func(b winscard.Backend, _ handles) outcome {
			ctx, rc := b.EstablishContext(scope)
			o := result(rc)
			o.handles.context = ctx
			return o
		}}
}

func onContext(op string, ctx *contextHandle, f func(winscard.Backend, winscard.Context) outcome, text ...string) *call {
	return &call{op: op, context: ctx, reader: -1, text: strings.Join(text, ", "),
		do: func(b winscard.Backend, h handles) outcome { return f(b, h.context) }}
}

func onCard(op string, card *cardHandle, f func(winscard.Backend, winscard.Card) outcome, text ...string) *call {
	return &call{op: op, context: card.context, card: card, reader: card.reader, text: strings.Join(text, ", "),
		do: func(b winscard.Backend, h handles) outcome { return f(b, h.card) }}
}

func releaseContext(ctx *contextHandle) *call {
	return onContext("ReleaseContext", ctx, func(b winscard.Backend, c winscard.Context) outcome {
		return result(b.ReleaseContext(c))
	})
}

func isValidContext(ctx *contextHandle) *call {
	return onContext("IsValidContext", ctx, func(b winscard.Backend, c winscard.Context) outcome {
		return result(b.IsValidContext(c))
	})
}

func cancel(ctx *contextHandle) *call {
	return onContext("Cancel", ctx, func(b winscard.Backend, c winscard.Context) outcome {
		return result(b.Cancel(c))
	})
}

func listReaders(ctx *contextHandle, groups []string, size int) *call {
	return onContext("ListReaders", ctx, func(b winscard.Backend, c winscard.Context) outcome {
		buf := buffer(size)
		n, rc := b.ListReaders(c, groups, buf)
		return result(rc, number("length", uint32(n)), content("readers", buf, n))
	}, fmt.Sprintf("groups %q", groups), bufferText(size))
}

func listReaderGroups(ctx *contextHandle, size int) *call {
	return onContext("ListReaderGroups", ctx, func(b winscard.Backend, c winscard.Context) outcome {
		buf := buffer(size)
		n, rc := b.ListReaderGroups(c, buf)
		return result(rc, number("length", uint32(n)), content("groups", buf, n))
	}, bufferText(size))
}

func connect(ctx *contextHandle, reader string, share, protocols uint32) *call {
	c := onContext("Connect", ctx, nil, quote(reader), shareText(share), protocolsText(protocols))
	c.reader = slices.IndexFunc(readers, func(name string) bool { return strings.HasPrefix(reader, name+" ") })
	c.share, c.protocols = share, protocols
	c.do = func(b winscard.Backend, h handles) outcome {
		card, protocol, rc := b.Connect(h.context, reader, share, protocols)
		o := agreed(rc, protocol)
		o.handles.card = card
		return o
	}
	return c
}

func reconnect(card *cardHandle, share, protocols, init uint32) *call {
	c := onCard("Reconnect", card, func(b winscard.Backend, c winscard.Card) outcome {
		protocol, rc := b.Reconnect(c, share, protocols, init)
		return agreed(rc, protocol)
	}, shareText(share), protocolsText(protocols), dispositionText(init))
	c.share, c.protocols, c.init = share, protocols, init
	return c
}

func disconnect(card *cardHandle, disposition uint32) *call {
	c := onCard("Disconnect", card, func(b winscard.Backend, c winscard.Card) outcome {
		return result(b.Disconnect(c, disposition))
	}, dispositionText(disposition))
	c.disposition = disposition
	return c
}

func beginTransaction(card *cardHandle) *call {
	return onCard("BeginTransaction", card, func(b winscard.Backend, c winscard.Card) outcome {
		return result(b.BeginTransaction(c))
	})
}

func endTransaction(card *cardHandle, disposition uint32) *call {
	c := onCard("EndTransaction", card, func(b winscard.Backend, c winscard.Card) outcome {
		return result(b.EndTransaction(c, disposition))
	}, dispositionText(disposition))
	c.disposition = disposition
	return c
}

func status(card *cardHandle, nameSize, atrSize int) *call {
	return onCard("Status", card, func(b winscard.Backend, c winscard.Card) outcome {
		name, atr := buffer(nameSize), buffer(atrSize)
		n, state, protocol, m, rc := b.Status(c, name, atr)
		return result(rc, number("name length", uint32(n)), hex("state", state), hex("protocol", protocol),
			number("ATR length", uint32(m)), content("name", name, n), content("ATR", atr, m))
	}, bufferText(nameSize), bufferText(atrSize))
}

func transmit(card *cardHandle, pci uint32, apdu []byte, size int) *call {
	text := fmt.Sprintf("%X", apdu)
	if len(apdu) > 20 {
		text = fmt.Sprintf("%X... (%d bytes)", apdu[:20], len(apdu))
	}
	c := onCard("Transmit", card, func(b winscard.Backend, c winscard.Card) outcome {
		buf := buffer(size)
		n, rc := b.Transmit(c, pci, apdu, buf)
		return result(rc, number("length", uint32(n)), content("response", buf, n))
	}, protocolsText(pci), text, bufferText(size))
	c.pci = pci
	return c
}

func control(card *cardHandle, code uint32, in []byte, size int) *call {
	return onCard("Control", card, func(b winscard.Backend, c winscard.Card) outcome {
		buf := buffer(size)
		n, rc := b.Control(c, code, in, buf)
		return result(rc, number("length", uint32(n)), content("output", buf, n))
	}, fmt.Sprintf("code %d", code-winscard.CtlCode(0)), fmt.Sprintf("%d bytes", len(in)), bufferText(size))
}

func getAttrib(card *cardHandle, id uint32, size int) *call {
	return onCard("GetAttrib", card, func(b winscard.Backend, c winscard.Card) outcome {
		buf := buffer(size)
		n, rc := b.GetAttrib(c, id, buf)
		return result(rc, number("length", uint32(n)), content("value", buf, n))
	}, winscard.Attribute(id).String(), bufferText(size))
}

func setAttrib(card *cardHandle, id uint32, value []byte) *call {
	return onCard("SetAttrib", card, func(b winscard.Backend, c winscard.Card) outcome {
		return result(b.SetAttrib(c, id, value))
	}, winscard.Attribute(id).String(), fmt.Sprintf("%d bytes", len(value)))
}

// A watched reader is an element of what GetStatusChange gets.
type watched struct {
	reader  string
	current uint32
}

func getStatusChange(ctx *contextHandle, timeout uint32, watch []watched) *call {
	var text []string
	for _, w := range watch {
		text = append(text, fmt.Sprintf("%s as 0x%X", quote(w.reader), w.current))
	}
	switch timeout {
	case 0:
		text = append(text, "at once")
	case winscard.Infinite:
		text = append(text, "for ever")
	default:
		text = append(text, fmt.Sprintf("for %d ms", timeout))
	}
	c := onContext("GetStatusChange", ctx, func(b winscard.Backend, c winscard.Context) outcome {
		states := make([]winscard.ReaderState, len(watch))
		for i, w := range watch {
			states[i] = winscard.ReaderState{Reader: w.reader, CurrentState: w.current, EventState: 0xEEEEEEEE}
		}
		o := result(b.GetStatusChange(c, timeout, states))
		for i := range states {
			s := &states[i]
			o.fields = append(o.fields, hex(fmt.Sprintf("state %d", i+1), s.EventState),
				field{fmt.Sprintf("ATR %d", i+1), fmt.Sprintf("%X", s.ATR[:min(s.ATRLen, uint32(len(s.ATR)))])})
		}
		return o
	}, text...)
	c.timeout = timeout
	return c
}
