package differential

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

func TestMain(m *testing.M) { pcscdtest.Prepare(); os.Exit(m.Run()) }

var steps = flag.Int("differential.steps", 10_000, "how many steps to run, without the race detector")

// newSubjects returns the subjects. The first is the one that knows whether a call waits.
func newSubjects(t *testing.T) []subject {
	return []subject{newBubble(t), newPCSCD(t), newSocket(t)}
}

// TestDisagreements plays what shows the entries of the table.
func TestDisagreements(t *testing.T) {
	subjects := newSubjects(t)
	for _, e := range disagreements {
		if e.show == nil {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			count := newTally()
			m := newMachine(t, subjects, count, func(_ *machine, message string) { t.Fatal(message) })
			defer m.stop()
			e.show(m)
			require.NotZero(t, count.seen[e.name], "%s: there is no such disagreement any more; take it off the table\n%s",
				e.name, strings.Join(m.story, "\n"))
		})
	}
}

// TestDisconnectEndsWait: a connection that waits for a lock can be closed by another call on its context, in both. The
// random sequences make no second call on a context while a call waits, but for those that disagree.
func TestDisconnectEndsWait(t *testing.T) {
	m := newMachine(t, newSubjects(t), newTally(), func(_ *machine, message string) { t.Fatal(message) })
	defer m.stop()
	m.insert(0, 0)
	for range 2 {
		m.run(establishContext(uint32(winscard.ScopeSystem)))
		m.run(connect(m.contexts[len(m.contexts)-1], names()[0], uint32(winscard.ShareShared), uint32(winscard.ProtocolAny)))
	}
	m.run(beginTransaction(m.cards[0]))
	_, returned := m.run(beginTransaction(m.cards[1]))
	require.False(t, returned)
	m.run(disconnect(m.cards[1], uint32(winscard.LeaveCard)))
	require.Empty(t, m.waitings())
	m.end()
}

// TestReconnectAgreesWhileItWaits: a Reconnect that waits to be the only connection has agreed on a protocol by then, or
// does so when a lock ends that it waited for first.
func TestReconnectAgreesWhileItWaits(t *testing.T) {
	m := newMachine(t, newSubjects(t), newTally(), func(_ *machine, message string) { t.Fatal(message) })
	defer m.stop()
	m.insert(0, 0)
	for range 3 {
		m.run(establishContext(uint32(winscard.ScopeSystem)))
		m.run(connect(m.contexts[len(m.contexts)-1], names()[0], uint32(winscard.ShareShared), uint32(winscard.ProtocolAny)))
	}
	m.remove(0)
	m.insert(0, 0)
	m.run(establishContext(uint32(winscard.ScopeSystem)))
	m.run(connect(m.contexts[3], names()[0], uint32(winscard.ShareDirect), uint32(winscard.ProtocolAny)))
	m.run(beginTransaction(m.cards[3]))
	_, returned := m.run(reconnect(m.cards[0], uint32(winscard.ShareExclusive), uint32(winscard.ProtocolT0), uint32(winscard.LeaveCard)))
	require.False(t, returned)
	m.run(endTransaction(m.cards[3], uint32(winscard.LeaveCard)))
	m.run(reconnect(m.cards[1], uint32(winscard.ShareShared), uint32(winscard.ProtocolAny), uint32(winscard.LeaveCard)))
	m.end()
}

// TestDifferential runs random sequences.
func TestDifferential(t *testing.T) {
	const (
		length = 60 // of a sequence, on average
		whole  = 75 // with its beginning and its end
	)
	subjects := newSubjects(t)
	count, want, share := newTally(), *steps, 1
	if raceDetector {
		want = min(want, 2000) // what it looks for is the same in every sequence
	}
	if testing.Short() {
		want, share = min(want, 1000), 5 // rapid makes a fifth of the checks then
	}
	var (
		failed []step
		how    string
	)
	random := func(rt *rapid.T) {
		p := drawProfile(rt)
		all := actions(p)
		m := newMachine(rt, subjects, count, func(m *machine, message string) {
			failed, how = m.script, message
			rt.Fatalf("the services disagree")
		})
		defer m.stop()
		m.begin(rt, p)
		rt.Repeat(map[string]func(*rapid.T){"do": func(rt *rapid.T) {
			if m.t = rt; !m.over {
				m.do(rt, all)
			}
		}})
		m.t = rt
		m.end()
	}
	for name, value := range map[string]string{"steps": fmt.Sprint(length), "shrinktime": "0s", "nofailfile": "true"} {
		require.NoError(t, flag.Set("rapid."+name, value))
	}
	for count.steps < want && !t.Failed() {
		require.NoError(t, flag.Set("rapid.checks", fmt.Sprint(share*((want-count.steps)/whole+1))))
		t.Run("sequences", func(t *testing.T) { rapid.Check(t, random) })
	}
	if t.Failed() {
		r := &replayer{t: t, subjects: subjects, deadline: time.Now().Add(time.Minute)}
		if message := r.shorten(failed); message != "" {
			t.Fatal(message)
		}
		t.Fatalf("played again the sequence does not fail.\n%s", how)
	}
	require.GreaterOrEqual(t, count.steps, want)
	for name, n := range count.seen {
		t.Logf("disagreement, met %d times: %s", n, name)
	}
	t.Logf("%d steps, %d calls that waited", count.steps, count.waits)
	var lines []string
	for name, n := range count.calls {
		lines = append(lines, fmt.Sprintf("%s: %d", name, n))
	}
	slices.Sort(lines)
	t.Log(strings.Join(lines, "\n"))
}
