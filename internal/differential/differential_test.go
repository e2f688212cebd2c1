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

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

func TestMain(m *testing.M) { pcscdtest.Prepare(); os.Exit(m.Run()) }

var steps = flag.Int("differential.steps", 10000, "how many steps to run")

func newTally() *tally { return &tally{calls: map[string]int{}, seen: map[string]int{}} }

// TestDifferential runs random sequences.
func TestDifferential(t *testing.T) {
	const length = 60 // of a sequence, on average
	subjects := newSubjects(t)
	count := newTally()
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
	for count.steps < *steps && !t.Failed() {
		require.NoError(t, flag.Set("rapid.checks", fmt.Sprint((*steps-count.steps)/length+1)))
		t.Run("sequences", func(t *testing.T) { rapid.Check(t, random) })
	}
	if t.Failed() {
		r := &replayer{t: t, subjects: subjects, deadline: time.Now().Add(time.Minute)}
		if message := r.shorten(failed); message != "" {
			t.Fatal(message)
		}
		t.Fatalf("played again the sequence does not fail.\n%s", how)
	}
	t.Logf("%d steps, %d calls that waited", count.steps, count.waits)
	var lines []string
	for name, n := range count.calls {
		lines = append(lines, fmt.Sprintf("%s: %d", name, n))
	}
	slices.Sort(lines)
	t.Log(strings.Join(lines, "\n"))
}
