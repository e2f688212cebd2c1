package differential

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

const (
	// patience is for machines under load.
	patience = 20 * time.Second
	// settling is how long a call is given before it is taken for one that waits, where that isn't known. It is long
	// enough for a call to get to the service on a machine under load: one that got there after the next step would
	// be answered by what that left behind.
	settling = 25 * time.Millisecond
	// polling is longer than it takes libpcsclite and pcscd to notice that a lock is free: both sleep for 100 ms.
	polling = 250 * time.Millisecond
)

// A machine runs a sequence of calls and events on all subjects in step.
type machine struct {
	t        failer
	failed   func(m *machine, message string) // does not return
	subjects []subject
	tally    *tally

	observer *contextHandle // makes the observations, and nothing else
	contexts []*contextHandle
	cards    []*cardHandle
	inserted []*kind  // what is in the readers
	states   []uint32 // the readers' states as last observed
	protocol uint32   // as last agreed on
	story    []string
	script   []step
	steps    int
	over     bool // a disagreement was met after which the services are in different states
}

// A step of a sequence, which can be played again.
type step struct {
	call   *call // or
	event  string
	reader int
	kind   int
	cancel *contextHandle
}

// A failer is a test, of package testing or of rapid.
type failer interface{ Helper() }

// A tally is what was done over all sequences.
type tally struct {
	steps, waits int
	calls        map[string]int // by op and code
	seen         map[string]int // disagreements, by name
}

func newTally() *tally { return &tally{calls: map[string]int{}, seen: map[string]int{}} }

// A difference is what subjects disagree on.
type difference struct {
	m           *machine
	call        *call
	subject     string
	ours        outcome  // the virtual service's
	theirs      outcome  // the subject's
	fields      []string // which differ
	oursWaits   bool     // the virtual service waits, the subject has returned
	theirsWaits bool     // the other way around
	late        bool     // the call had waited before, in both
}

func newMachine(t failer, subjects []subject, tally *tally, failed func(*machine, string)) *machine {
	m := &machine{
		t: t, failed: failed, subjects: subjects, tally: tally,
		inserted: make([]*kind, len(readers)), states: make([]uint32, len(readers)),
	}
	for _, s := range subjects {
		s.begin()
	}
	m.run(establishContext(uint32(winscard.ScopeSystem)))
	if len(m.contexts) != 1 {
		m.fail("there is no context to observe with")
	}
	m.observer, m.contexts, m.steps, m.story, m.script = m.contexts[0], nil, 0, nil, nil
	m.observe()
	return m
}

func (m *machine) tell(format string, args ...any) {
	m.story = append(m.story, fmt.Sprintf(format, args...))
}

// fail ends the test with the story so far.
func (m *machine) fail(format string, args ...any) {
	m.t.Helper()
	m.failed(m, fmt.Sprintf(format, args...)+"\n\nWhat happened:\n"+strings.Join(m.story, "\n"))
	panic("unreachable")
}

// ids returns the handles of a call for a subject.
func (c *call) ids(subject int) (h handles) {
	if c.context != nil {
		h.context = c.context.ids[subject]
	}
	if c.card != nil {
		h.card = c.card.ids[subject]
	}
	return h
}

func (c *call) String() string {
	who := "a new context"
	switch {
	case c.card != nil:
		who = fmt.Sprintf("%v of %v", c.card, c.context)
	case c.context != nil:
		who = c.context.String()
	}
	return fmt.Sprintf("%s: %s(%s)", who, c.op, c.text)
}

// run makes a call in all subjects, and does what has to be done after each step. It reports the outcome, if the call
// has returned.
func (m *machine) run(c *call) (outcome, bool) {
	m.steps++
	m.script = append(m.script, step{call: c})
	o, returned := m.start(c)
	if !m.over && slices.Contains([]string{"EndTransaction", "Disconnect", "Reconnect", "ReleaseContext"}, c.op) &&
		slices.ContainsFunc(m.waitings(), func(w *waiting) bool { return w.call.op == "Reconnect" && w.call != c }) {
		// If the lock is free now, the Reconnect agrees on a protocol before it goes on to wait, and is asked for every
		// 100 ms only.
		time.Sleep(polling)
	}
	m.after()
	return o, returned
}

func (m *machine) start(c *call) (outcome, bool) {
	m.t.Helper()
	m.tell("%3d. %v", m.steps, c)
	line := len(m.story) - 1
	results := make([]<-chan outcome, len(m.subjects))
	for i, s := range m.subjects {
		h := c.ids(i)
		results[i] = s.start(func(b winscard.Backend) outcome { return c.do(b, h) })
	}
	if len(results[0]) == 0 && c.timeout > 0 && c.timeout < 1000 {
		for _, s := range m.subjects {
			s.pass(time.Duration(c.timeout) * time.Millisecond)
		}
	}
	if len(results[0]) == 0 {
		time.Sleep(settling)
		for i := 1; i < len(results); i++ {
			if len(results[i]) > 0 {
				theirs := <-results[i]
				m.story[line] += fmt.Sprintf("\n       %s waits\n       %s: %v",
					m.subjects[0].name(), m.subjects[i].name(), theirs)
				m.disagree(difference{call: c, subject: m.subjects[i].name(), theirs: theirs, oursWaits: true})
				return outcome{}, false
			}
		}
		m.story[line] += "\n       waits"
		m.tally.waits++
		m.tally.calls[c.op+" waits"]++
		c.context.waiting = &waiting{call: c, step: m.steps, results: results}
		if c.op == "Reconnect" && c.init != uint32(winscard.LeaveCard) {
			c.card.resetAgain = true
		}
		return outcome{}, false
	}
	return m.finish(c, results, line, false)
}

// finish compares what a call returned that has returned in the first subject.
func (m *machine) finish(c *call, results []<-chan outcome, line int, late bool) (outcome, bool) {
	m.t.Helper()
	outcomes := make([]outcome, len(results))
	outcomes[0] = <-results[0]
	ours := outcomes[0]
	m.story[line] += fmt.Sprintf("\n       %v", ours)
	if ours.panicked != "" {
		m.fail("%s panics", m.subjects[0].name())
	}
	for i := 1; i < len(results); i++ {
		d := difference{m: m, call: c, subject: m.subjects[i].name(), ours: ours, late: late, theirsWaits: true}
		limit := patience
		if d.listed() != nil {
			limit = settling * 3
		}
		d.theirsWaits = false
		select {
		case outcomes[i] = <-results[i]:
		case <-time.After(limit):
			m.story[line] += fmt.Sprintf("\n       %s waits", d.subject)
			d.theirsWaits = true
			m.disagree(d)
			return ours, true
		}
		d.theirs = outcomes[i]
		if d.fields = ours.differences(d.theirs); len(d.fields) > 0 {
			m.story[line] += fmt.Sprintf("\n       %s: %v", d.subject, d.theirs)
			m.disagree(d)
		}
	}
	m.tally.calls[c.op+" "+ours.code.Name()]++
	if c.card != nil {
		c.card.stale = ours.code == winscard.ErrResetCard || ours.code == winscard.ErrRemovedCard
	}
	if !m.over {
		m.adopt(c, outcomes)
	}
	return ours, true
}

// listed finds a difference in the table.
func (d difference) listed() *disagreement {
	for i := range disagreements {
		if disagreements[i].when(d) {
			return &disagreements[i]
		}
	}
	return nil
}

// disagree looks a difference up in the table, and fails the test if it isn't there.
func (m *machine) disagree(d difference) {
	m.t.Helper()
	d.m = m
	if e := d.listed(); e != nil {
		m.tally.seen[e.name]++
		m.tell("       (%s)", e.name)
		if e.ends || d.oursWaits || d.theirsWaits {
			m.over = true
		}
		return
	}
	what := strings.Join(d.fields, ", ")
	switch {
	case d.oursWaits:
		what = "the call waits in " + m.subjects[0].name() + " and returns in " + d.subject
	case d.theirsWaits:
		what = "the call returns in " + m.subjects[0].name() + " and waits in " + d.subject
	default:
		what += " of " + m.subjects[0].name() + " and of " + d.subject + " differ"
	}
	m.fail("%v:\n%s", d.call, what)
}

// adopt notes what a call that has succeeded has changed.
func (m *machine) adopt(c *call, outcomes []outcome) {
	if outcomes[0].code != winscard.Success {
		return
	}
	switch c.op {
	case "EstablishContext":
		ctx := &contextHandle{n: len(m.contexts) + 1, open: true, origin: c}
		for _, o := range outcomes {
			ctx.ids = append(ctx.ids, o.handles.context)
		}
		m.contexts = append(m.contexts, ctx)
		m.story[len(m.story)-1] += fmt.Sprintf(": %v", ctx)
	case "ReleaseContext":
		c.context.open = false
		for _, card := range m.cards {
			if card.context == c.context {
				card.open = false
			}
		}
	case "Connect":
		card := &cardHandle{n: len(m.cards) + 1, open: true, origin: c, context: c.context, reader: c.reader}
		for _, o := range outcomes {
			card.ids = append(card.ids, o.handles.card)
		}
		m.cards = append(m.cards, card)
		m.story[len(m.story)-1] += fmt.Sprintf(": %v", card)
	case "Disconnect":
		c.card.open = false
	}
	if c.op == "Connect" || c.op == "Reconnect" {
		fmt.Sscanf(outcomes[0].fields[0].text, "0x%X", &m.protocol)
	}
}

// waitings returns the calls that wait, in the order in which they began.
func (m *machine) waitings() []*waiting {
	var all []*waiting
	for _, ctx := range m.contexts {
		if ctx.waiting != nil {
			all = append(all, ctx.waiting)
		}
	}
	slices.SortFunc(all, func(a, b *waiting) int { return a.step - b.step })
	return all
}

// lockWaiter returns the call that waits for something about a reader, other than a change of its state. There is one
// at most: which of two gets a lock that becomes free is a matter of chance.
func (m *machine) lockWaiter(reader int) *waiting {
	for _, w := range m.waitings() {
		if w.forLock() && w.call.reader == reader {
			return w
		}
	}
	return nil
}

// after is done after each step: calls that waited may have returned, and the readers are observed.
func (m *machine) after() {
	m.t.Helper()
	if m.over {
		return
	}
	m.collect(false)
	if waits := m.waitings(); slices.ContainsFunc(waits, (*waiting).forLock) {
		// Who waits for a lock may undo a change in the moment in which it happens, and whether those see it who wait
		// for changes is a matter of chance. So they don't wait at the same time.
		if i := slices.IndexFunc(waits, (*waiting).forState); i >= 0 && !m.over {
			m.cancel(waits[i].call.context)
			return
		}
	}
	if !m.over && slices.ContainsFunc(m.waitings(), (*waiting).forState) {
		m.look() // pcscd does not tell waiting clients before
		m.collect(true)
	}
	if !m.over && m.observer != nil {
		m.observe()
	}
}

// forState reports whether the call waits for a reader's state, and not for a lock.
func (w *waiting) forState() bool { return w.call.op == "GetStatusChange" }

// forLock reports whether it waits for a lock, or for other connections to be closed.
func (w *waiting) forLock() bool { return !w.forState() }

// collect compares the calls that have returned: those that waited for a lock, or for a state.
func (m *machine) collect(forState bool) {
	m.t.Helper()
	for _, w := range m.waitings() {
		if m.over {
			return
		}
		if w.forState() != forState {
			continue
		}
		if len(w.results[0]) > 0 {
			w.call.context.waiting = nil
			m.tell("     %v, which waited since %d, returns", w.call, w.step)
			m.finish(w.call, w.results, len(m.story)-1, true)
			continue
		}
		for i := 1; i < len(w.results); i++ {
			if len(w.results[i]) > 0 {
				theirs := <-w.results[i]
				m.tell("     %v, which waited since %d, still waits in %s, but has returned in %s\n       %v", w.call, w.step,
					m.subjects[0].name(), m.subjects[i].name(), theirs)
				m.disagree(difference{call: w.call, subject: m.subjects[i].name(), theirs: theirs, oursWaits: true, late: true})
				return
			}
		}
	}
}

func (m *machine) look() {
	for _, s := range m.subjects {
		s.look()
	}
}

// observe compares the readers' states as a context sees them that has nothing to do with the calls.
func (m *machine) observe() {
	m.t.Helper()
	watch := make([]watched, len(readers))
	for i, name := range names() {
		watch[i] = watched{reader: name}
	}
	c := getStatusChange(m.observer, 0, watch)
	results := make([]<-chan outcome, len(m.subjects))
	for i, s := range m.subjects {
		h := c.ids(i)
		results[i] = s.start(func(b winscard.Backend) outcome { return c.do(b, h) })
		if i > 0 {
			continue
		}
		ours := <-results[0]
		for i := range m.states {
			fmt.Sscanf(ours.fields[2*i].text, "0x%X", &m.states[i])
		}
		if slices.ContainsFunc(m.states, mute) {
			return // it takes libpcsclite 400 ms; the calls of the sequence have to do
		}
		again := make(chan outcome, 1)
		again <- ours
		results[0] = again
	}
	m.tell("     what the readers' states are")
	m.finish(c, results, len(m.story)-1, false)
	if !m.over {
		m.story = m.story[:len(m.story)-1]
	}
}

func mute(state uint32) bool { return state&uint32(winscard.StateMute) != 0 }

// names are the readers' names as clients see them.
func names() []string {
	all := make([]string, len(readers))
	for i, name := range readers {
		all[i] = fmt.Sprintf("%s %02X 00", name, i)
	}
	return all
}

// The events.

func (m *machine) insert(reader, k int) {
	m.steps++
	m.script = append(m.script, step{event: "insert", reader: reader, kind: k})
	m.tell("%3d. %v is put into the %s", m.steps, kinds[k], readers[reader])
	m.inserted[reader] = &kinds[k]
	for _, s := range m.subjects {
		s.insert(reader, &card{kind: kinds[k]})
	}
	m.after()
}

func (m *machine) remove(reader int) {
	m.steps++
	m.script = append(m.script, step{event: "remove", reader: reader})
	m.tell("%3d. the card in the %s is pulled", m.steps, readers[reader])
	m.inserted[reader] = nil
	for _, s := range m.subjects {
		s.remove(reader)
	}
	m.after()
}

func (m *machine) wait() {
	m.steps++
	m.script = append(m.script, step{event: "wait"})
	m.tell("%3d. some seconds go by", m.steps)
	m.look()
	m.after()
}

// doCancel is a Cancel as a step of its own.
func (m *machine) doCancel(ctx *contextHandle) {
	m.script = append(m.script, step{cancel: ctx})
	m.cancel(ctx)
}

// cancel cancels and waits until the call that waits, if it is a GetStatusChange, has returned in all subjects.
func (m *machine) cancel(ctx *contextHandle) {
	m.t.Helper()
	m.steps++
	if w := ctx.waiting; w != nil && w.forState() {
		// A cancel that comes before libpcsclite waits is lost.
		for i, s := range m.subjects {
			for deadline := time.Now().Add(patience); len(w.results[i]) == 0 && time.Now().Before(deadline); {
				h := handles{context: ctx.ids[i]}
				if i == 0 {
					break
				}
				<-s.start(func(b winscard.Backend) outcome { return result(b.Cancel(h.context)) })
				for range 20 {
					if len(w.results[i]) > 0 {
						break
					}
					time.Sleep(time.Millisecond / 2)
				}
			}
		}
	}
	m.start(cancel(ctx))
	m.collect(true)
	m.after()
}

// end winds up: cards are pulled, waits cancelled and contexts released, compared like all else.
func (m *machine) end() {
	m.t.Helper()
	if slices.ContainsFunc(m.waitings(), (*waiting).forLock) && !m.over {
		time.Sleep(polling)
		m.after()
	}
	pull := func() {
		for i := range readers {
			if m.inserted[i] != nil && !m.over {
				m.remove(i)
			}
		}
	}
	pull()
	for !m.over {
		if open := free(m.contexts); len(open) > 0 {
			m.run(releaseContext(open[0]))
			continue
		}
		waits := m.waitings()
		if len(waits) == 0 {
			break
		}
		w := waits[0]
		if w.forState() {
			m.cancel(w.call.context)
		} else {
			// For a lock that another connection of the same context holds, on a reader without a card: a card that
			// is pulled ends all locks.
			m.insert(w.call.reader, 0)
			pull()
		}
		if w.call.context.waiting == w && !m.over {
			m.fail("%v cannot be ended", w.call)
		}
	}
	m.tally.steps += m.steps
}

// stop ends the subjects, whatever state they are in.
func (m *machine) stop() {
	for _, s := range m.subjects {
		s.end() // first, for libpcsclite may let no call through
	}
	for i, s := range m.subjects {
		if i > 0 && m.observer != nil {
			<-s.start(func(b winscard.Backend) outcome { return result(b.ReleaseContext(m.observer.ids[i])) })
		}
	}
}
