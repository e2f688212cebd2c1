package differential

import (
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// profile is what one sequence is like, so that rare things are often together.
type profile struct {
	kinds    []int // which of the kinds are used
	contexts int   // at most
	connects bool  // whether it begins with a card, and connections from each context
	readers  int   // how many are used
}

func drawProfile(t *rapid.T) profile {
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	return profile{
		kinds: pick(t, "kinds", all[:firstMuteKind], all[:firstMuteKind], all[:firstMuteKind], all[:1], all[:3], all[4:5],
			all[:5], all[:5], all[:1], all[:firstMuteKind], all[:3], all[:firstMuteKind], all),
		contexts: pick(t, "contexts", 1, 2, 2, 3, 3, 4),
		connects: pick(t, "connects", true, true, false),
		readers:  pick(t, "readers", 1, 1, 2),
	}
}

func (p *profile) mute() bool { return p.kinds[len(p.kinds)-1] >= firstMuteKind }

// An action is something that can happen, if ready, with a weight.
type action struct {
	name   string
	weight int
	ready  func(*machine) bool
	do     func(*machine, *rapid.T)
}

func always(*machine) bool { return true }

func actions(p profile) []action {
	used := func(m *machine) []*kind { return m.inserted[:p.readers] }
	return []action{
		{"EstablishContext", 20, func(m *machine) bool {
			return len(m.contexts) < 12 && len(free(m.contexts)) < p.contexts
		}, func(m *machine, t *rapid.T) {
			m.run(establishContext(mostly(t, "scope", []uint32{2, 2, 0}, []uint32{1, 3, 4, 0xFFFFFFFF})))
		}},
		{"a card is put in", 30, func(m *machine) bool { return slices.Contains(used(m), nil) }, func(m *machine, t *rapid.T) {
			reader := pickReader(t, func(i int) bool { return i < p.readers && m.inserted[i] == nil })
			m.insert(reader, choose(t, "kind", p.kinds))
		}},
		{"a card is pulled", 3, func(m *machine) bool {
			return slices.ContainsFunc(used(m), func(k *kind) bool { return k != nil })
		}, func(m *machine, t *rapid.T) {
			m.remove(pickReader(t, func(i int) bool { return i < p.readers && m.inserted[i] != nil }))
		}},
		{"time", 8, always, func(m *machine, _ *rapid.T) { m.wait() }},
		{"Connect", 40, hasContext, func(m *machine, t *rapid.T) {
			m.run(connect(m.drawContext(t), m.drawName(t, p, true), drawShare(t), drawProtocols(t)))
		}},
		{"Disconnect", 16, hasCard, func(m *machine, t *rapid.T) {
			card := m.drawCard(t)
			disposition := m.drawDisposition(t, card)
			if disposition == 0 || m.mayWait(card) {
				m.run(disconnect(card, disposition))
			}
		}},
		{"Reconnect", 28, hasCard, func(m *machine, t *rapid.T) {
			card, share, protocols := m.drawStale(t), drawShare(t), drawProtocols(t)
			init := m.drawDisposition(t, card)
			if share == uint32(winscard.ShareExclusive) && m.connections(card.reader) > 1 {
				// It waits, asking every 100 ms. How often it resets the card meanwhile, and when it makes the protocol raw
				// again after the card has lost its power, is a matter of time.
				init, protocols = uint32(winscard.LeaveCard), protocols&^uint32(winscard.ProtocolRaw)
				if m.lockWaiter(card.reader) != nil {
					share = uint32(winscard.ShareShared)
				}
			}
			if m.mayWait(card) {
				m.run(reconnect(card, share, protocols, init))
			}
		}},
		{"BeginTransaction", 24, hasCard, func(m *machine, t *rapid.T) {
			if card := m.drawCard(t); m.mayWait(card) {
				m.run(beginTransaction(card))
			}
		}},
		{"EndTransaction", 28, hasCard, func(m *machine, t *rapid.T) {
			card := m.drawCard(t)
			m.run(endTransaction(card, m.drawDisposition(t, card)))
		}},
		{"Status", 24, hasCard, func(m *machine, t *rapid.T) {
			if card := m.drawCard(t); m.mayWait(card) {
				m.run(status(card, mostly(t, "name size", []int{128, -1}, []int{0, 5, 17, 18, 19}),
					mostly(t, "ATR size", []int{36, -1}, []int{0, 1, 3, 33})))
			}
		}},
		{"Transmit", 50, hasCard, func(m *machine, t *rapid.T) {
			if card := m.drawCard(t); m.mayWait(card) {
				m.run(transmit(card, m.drawPCI(t), drawAPDU(t),
					mostly(t, "size", []int{258, 258, 65538}, []int{5, 4, 2, 1, 0, -1, 70000})))
			}
		}},
		{"Control", 14, hasCard, func(m *machine, t *rapid.T) {
			code := pick(t, "code", ctlEcho, ctlLength, ctlFail, winscard.CtlGetFeatureRequest, 0, 1)
			in := buffer(pick(t, "input", 3, -1, 0, 1, 300, 65548, 65549))
			if code == ctlLength {
				in = pick(t, "length", []byte{0, 0}, []byte{0, 3}, []byte{1, 4}, []byte{0xFF, 0xFF})
			}
			m.run(control(m.drawCard(t), code, in, pick(t, "output", 300, 3, 2, 0, -1, 70000)))
		}},
		{"GetAttrib", 14, hasCard, func(m *machine, t *rapid.T) {
			m.run(getAttrib(m.drawCard(t), pick(t, "attribute", uint32(winscard.AttrATRString),
				uint32(winscard.AttrICCPresence), uint32(winscard.AttrICCInterfaceStatus), uint32(winscard.AttrVendorName),
				uint32(winscard.AttrVendorIFDVersion), uint32(winscard.AttrMaxInput), uint32(winscard.AttrDeviceFriendlyName),
				uint32(winscard.AttrDeviceSystemName), uint32(winscard.AttrVendorIFDSerialNo), 0, 0xFFFFFFFF),
				pick(t, "size", 264, 264, 264, 264, -1, -1, 0, 1, 3, 4, 6, 7, 33, 265)))
		}},
		{"SetAttrib", 8, hasCard, func(m *machine, t *rapid.T) {
			m.run(setAttrib(m.drawCard(t), pick(t, "attribute", attrSettable, attrUnsettable, uint32(winscard.AttrATRString)),
				buffer(mostly(t, "size", []int{1, 264}, []int{-1, 0, 265}))))
		}},
		{"GetStatusChange", 30, hasContext, func(m *machine, t *rapid.T) {
			timeout := pick(t, "timeout", uint32(0), 1, winscard.Infinite, 3600*1000)
			n := mostly(t, "readers", []int{1, 2}, []int{3, 0, 16, 17})
			if slices.ContainsFunc(m.waitings(), (*waiting).forLock) {
				timeout = min(timeout, 1)
			}
			if p.mute() {
				// libpcsclite sleeps for 400 ms each time that it looks at a mute card, and what it sees after that
				// depends on what else happens meanwhile.
				timeout, n = min(timeout, 1), min(n, 2)
			}
			var watch []watched
			for range n {
				name := m.drawName(t, p, false)
				watch = append(watch, watched{name, m.drawState(t, name)})
			}
			m.run(getStatusChange(m.drawContext(t), timeout, watch))
		}},
		{"Cancel", 6, func(m *machine) bool { return len(m.contexts) > 0 }, func(m *machine, t *rapid.T) {
			m.doCancel(choose(t, "context", m.contexts))
		}},
		{"a second call on a context", 1, func(m *machine) bool {
			return slices.ContainsFunc(m.contexts, (*contextHandle).busy)
		}, func(m *machine, t *rapid.T) {
			ctx := m.contexts[slices.IndexFunc(m.contexts, (*contextHandle).busy)]
			m.run(pick(t, "call", listReaders(ctx, nil, 100), listReaderGroups(ctx, 100), releaseContext(ctx), isValidContext(ctx)))
		}},
		{"IsValidContext", 2, hasContext, func(m *machine, t *rapid.T) { m.run(isValidContext(m.drawContext(t))) }},
		{"ListReaders", 6, hasContext, func(m *machine, t *rapid.T) {
			m.run(listReaders(m.drawContext(t), pick(t, "groups", nil, []string{}, []string{winscard.AllReaders},
				[]string{winscard.DefaultReaders, "No Such Group"}, []string{"with\x00NUL"}), pick(t, "size", 100, -1, 0, 1, 38, 39)))
		}},
		{"ListReaderGroups", 2, hasContext, func(m *machine, t *rapid.T) {
			m.run(listReaderGroups(m.drawContext(t), pick(t, "size", 100, -1, 0, 1, 21, 22)))
		}},
		{"ReleaseContext", 6, hasContext, func(m *machine, t *rapid.T) { m.run(releaseContext(m.drawContext(t))) }},
	}
}

// begin makes the connections that a sequence may begin with.
func (m *machine) begin(t *rapid.T, p profile) {
	if !p.connects {
		return
	}
	m.insert(0, choose(t, "kind", p.kinds))
	for range p.contexts {
		m.run(establishContext(uint32(winscard.ScopeSystem)))
	}
	for _, ctx := range m.contexts {
		m.run(connect(ctx, names()[0], uint32(winscard.ShareShared), uint32(winscard.ProtocolAny)))
	}
}

// do does something.
func (m *machine) do(t *rapid.T, all []action) {
	var names []string
	for _, a := range all {
		if a.ready(m) {
			names = append(names, slices.Repeat([]string{a.name}, a.weight)...)
		}
	}
	name := choose(t, "action", names)
	all[slices.IndexFunc(all, func(a action) bool { return a.name == name })].do(m, t)
}

// choose draws one of some values, all with the same chance: rapid's own generators prefer the first ones.
func choose[T any](t *rapid.T, label string, values []T) T {
	x := rapid.Uint64().Draw(t, label)
	x *= 0x9E3779B97F4A7C15
	return values[(x^x>>32)%uint64(len(values))]
}

func pick[T any](t *rapid.T, label string, values ...T) T { return choose(t, label, values) }

// mostly draws one of the usual values, and now and then another one.
func mostly[T any](t *rapid.T, label string, usual, others []T) T {
	if pick(t, label+" is usual", 1, 1, 1, 1, 1, 1, 1, 1, 1, 0) == 1 {
		return choose(t, label, usual)
	}
	return choose(t, label, others)
}

func pickReader(t *rapid.T, ok func(int) bool) int {
	var all []int
	for i := range readers {
		if ok(i) {
			all = append(all, i)
		}
	}
	return choose(t, "reader", all)
}

// free are the contexts that are open and make no call.
func free(contexts []*contextHandle) (free []*contextHandle) {
	for _, ctx := range contexts {
		if ctx.open && ctx.waiting == nil {
			free = append(free, ctx)
		}
	}
	return free
}

func hasContext(m *machine) bool { return len(free(m.contexts)) > 0 }

// usable are the connections on which a call can be made: their context makes none. Those that are closed are at the end.
func (m *machine) usable() (open, closed []*cardHandle) {
	for _, card := range m.cards {
		switch {
		case card.context.waiting != nil:
		case card.open:
			open = append(open, card)
		default:
			closed = append(closed, card)
		}
	}
	return open, closed
}

func hasCard(m *machine) bool { open, _ := m.usable(); return len(open) > 0 }

func (m *machine) drawContext(t *rapid.T) *contextHandle {
	all := free(m.contexts)
	all = slices.Repeat(all, 1+60/len(all))
	for _, ctx := range m.contexts {
		if !ctx.open {
			all = append(all, ctx)
			break
		}
	}
	all = append(all, &contextHandle{n: -1, ids: make([]winscard.Context, len(m.subjects))})
	return choose(t, "context", all)
}

func (m *machine) drawCard(t *rapid.T) *cardHandle {
	open, closed := m.usable()
	all := slices.Repeat(open, 1+60/len(open))
	if len(closed) > 0 {
		all = append(all, closed[len(closed)-1])
	}
	all = append(all, &cardHandle{n: -1, ids: make([]winscard.Card, len(m.subjects)), reader: -1,
		context: &contextHandle{n: -1, ids: make([]winscard.Context, len(m.subjects))}})
	return choose(t, "connection", all)
}

// drawStale draws a connection that has to be renewed, if there is one, more often than not.
func (m *machine) drawStale(t *rapid.T) *cardHandle {
	card := m.drawCard(t)
	open, _ := m.usable()
	for _, c := range open {
		if c.stale && pick(t, "stale", true, true, false) {
			return c
		}
	}
	return card
}

// drawName draws a reader's name; for a call that may have to wait for it, not that of one that is waited for already.
func (m *machine) drawName(t *rapid.T, p profile, wait bool) string {
	others := []string{"No Such Reader 00 00", strings.ToUpper(names()[0]), readers[0], "",
		strings.Repeat("n", 127), strings.Repeat("n", 128), strings.Repeat("n", 129), "with\x00NUL"}
	if !wait {
		others = append(others, slices.Repeat([]string{winscard.PnPNotification}, 10)...)
	}
	var usual []string
	for i, name := range names()[:p.readers] {
		if !wait || m.lockWaiter(i) == nil {
			usual = append(usual, name)
		}
	}
	if len(usual) == 0 {
		usual = others
	}
	return mostly(t, "name", usual, others)
}

func drawShare(t *rapid.T) uint32 {
	return mostly(t, "share", []uint32{2, 2, 2, 2, 2, 1, 1, 3}, []uint32{3, 3, 0, 4})
}

func drawProtocols(t *rapid.T) uint32 {
	return mostly(t, "protocols", []uint32{3, 3, 3, 3, 3, 3, 3, 1, 2, 7}, []uint32{1, 2, 4, 7, 0, 8, 0xB, 0x1000, 0x1002, 0x80000000})
}

// drawDisposition draws what happens to the card. While a Reconnect waits that is nothing: it asks every 100 ms, and
// when it agrees on a protocol with a card that was reset is a matter of time.
func (m *machine) drawDisposition(t *rapid.T, card *cardHandle) uint32 {
	if w := m.lockWaiter(card.reader); w != nil && w.call.op == "Reconnect" {
		return uint32(winscard.LeaveCard)
	}
	return mostly(t, "disposition", []uint32{0, 0, 0, 0, 1, 1, 2}, []uint32{2, 3, 3, 4})
}

// drawPCI draws the protocol of a Transmit, mostly the one in use.
func (m *machine) drawPCI(t *rapid.T) uint32 {
	return mostly(t, "pci", []uint32{m.protocol}, []uint32{1, 2, 4, 0, 3, 8, 0x1000})
}

func drawAPDU(t *rapid.T) []byte {
	return mostly(t, "APDU", [][]byte{{0, insCount, 0, 0}, {0, insCount, 0, 0}, {0, insEcho, 1, 2, 3, 4, 5, 6, 7}}, [][]byte{
		append([]byte{0, insEcho}, buffer(298)...),
		{0, insLength, 0, 0}, {0, insLength, 0, 1}, {0, insLength, 1, 0}, {0, insLength, 1, 3},
		{0, insLength, 0xFF, 0xFF}, {0, insFail, 0, 0}, {0, insEcho}, {}, nil,
		append([]byte{0, insEcho}, buffer(65544)...), append([]byte{0, insLength, 0, 2}, buffer(65544)...),
		append([]byte{0, insLength, 0, 2}, buffer(65545)...),
	})
}

// drawState draws what the caller believes of a reader's state: mostly what is or was so.
func (m *machine) drawState(t *rapid.T, name string) uint32 {
	var is uint32
	if i := slices.Index(names(), name); i >= 0 {
		is = m.states[i] &^ uint32(winscard.StateChanged)
	}
	return mostly(t, "state", []uint32{is, is, is & 0xFFFF}, []uint32{0, 0, is ^ 0x10000, is | 0x20, is ^ 0x30, is | 0x100,
		is | 0x80, is | 0x200, is | 4, is | 8, 1, 2, 0xFFFF, 0xFFFFFFFD})
}

// connections counts the open connections to a reader.
func (m *machine) connections(reader int) (n int) {
	for _, card := range m.cards {
		if card.open && card.reader == reader {
			n++
		}
	}
	return n
}

// mayWait reports whether a call on a connection may be one that waits for the lock. If another call already waits for
// something about the reader it may not, see lockWaiter: then Control tells whether the lock is held by another
// connection, in place of that call.
func (m *machine) mayWait(card *cardHandle) bool {
	if card.reader < 0 || m.lockWaiter(card.reader) == nil {
		return true
	}
	o, _ := m.run(control(card, 0, nil, 0))
	return o.code != winscard.ErrSharingViolation && !m.over && m.lockWaiter(card.reader) != nil
}
