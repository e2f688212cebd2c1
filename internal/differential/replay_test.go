package differential

import (
	"slices"
	"time"
)

// A replayer makes a failed sequence shorter. It plays the same calls again with some left out, which rapid can't: it
// draws anew, and what is drawn depends on what is there.
type replayer struct {
	t        failer
	subjects []subject
	deadline time.Time
}

// stopped is what a machine panics with when it fails in a replay.
type stopped struct{ message string }

// play plays steps and returns how it failed, or "".
func (r *replayer) play(script []step) (message string) {
	count := newTally()
	var m *machine
	defer func() {
		if p := recover(); p != nil {
			s, ok := p.(stopped)
			if !ok {
				panic(p)
			}
			message = s.message
		}
		m.stop()
	}()
	m = newMachine(r.t, r.subjects, count, func(_ *machine, message string) { panic(stopped{message}) })
	m.play(script)
	m.end()
	return ""
}

// play plays steps of another machine. Those whose context or connection is not there are left out.
func (m *machine) play(script []step) {
	originals := map[*call]*call{} // of the calls that are made here
	contexts, made := map[*call]*contextHandle{}, len(m.contexts)
	cards, connected := map[*call]*cardHandle{}, len(m.cards)
	find := func(ctx *contextHandle) (*contextHandle, bool) {
		if ctx == nil || ctx.origin == nil {
			return ctx, true
		}
		found, ok := contexts[ctx.origin]
		return found, ok
	}
	for _, s := range script {
		switch {
		case m.over:
			return
		case s.event == "wait":
			m.wait()
		case s.event == "insert":
			if m.inserted[s.reader] == nil {
				m.insert(s.reader, s.kind)
			}
		case s.event == "remove":
			if m.inserted[s.reader] != nil {
				m.remove(s.reader)
			}
		case s.cancel != nil:
			if ctx, ok := find(s.cancel); ok {
				m.doCancel(ctx)
			}
		default:
			c := *s.call
			ctx, ok := find(c.context)
			if c.card != nil && c.card.origin != nil {
				c.card, ok = cards[c.card.origin]
			}
			switch {
			case !ok, ctx != nil && ctx.waiting != nil:
				continue
			case c.reader < 0 || !c.waits():
			case c.card == nil && m.lockWaiter(c.reader) != nil, c.card != nil && !m.mayWait(c.card):
				continue
			}
			c.context = ctx
			originals[&c] = s.call
			m.run(&c)
		}
		for _, ctx := range m.contexts[made:] {
			contexts[originals[ctx.origin]] = ctx
		}
		for _, card := range m.cards[connected:] {
			cards[originals[card.origin]] = card // not this step's, if it has waited
		}
		made, connected = len(m.contexts), len(m.cards)
	}
}

// waits reports whether a call can be one that waits for a lock.
func (c *call) waits() bool {
	return slices.Contains([]string{"Connect", "Reconnect", "Disconnect", "BeginTransaction", "Status", "Transmit"}, c.op)
}

// shorten returns the shortest sequence found until the deadline that fails, and how; or nothing if it doesn't fail
// again.
func (r *replayer) shorten(script []step) (message string) {
	message = r.play(script)
	if message == "" {
		return ""
	}
	for n := len(script) / 2; n >= 1; {
		shorter := false
		for i := 0; i < len(script) && time.Now().Before(r.deadline); {
			less := slices.Concat(script[:i], script[min(i+n, len(script)):])
			if how := r.play(less); how != "" {
				script, message, shorter = less, how, true
			} else {
				i += n
			}
		}
		if !shorter || n > 1 {
			n /= 2
		}
	}
	return message
}
