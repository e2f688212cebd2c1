package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

const (
	// patience is how long anything may take that has to happen.
	patience = 20 * time.Second
	// hang is how long a subtest may take before it counts as hung. A call
	// into C can't be ended, so the process is.
	hang = 60 * time.Second
)

// Readers of the shared service.
const (
	readerA     = iota // has a card that offers T=0 and T=1
	readerB            // has a card that offers T=0
	readerSlot         // is for insertions, and empty between subtests
	readerEmpty        // stays empty
	sharedReaders
)

type suite struct {
	Environment
	left    map[string]bool // of Missing, what was come across
	readers []string        // names
	a, b    *Card
}

// Run runs the suite.
func Run(t *testing.T, env Environment) {
	require.NotNil(t, env.Backend)
	s := &suite{Environment: env, left: map[string]bool{}}
	s.prepare(t)
	before := descriptors(t)

	if env.Features.Outages {
		s.run(t, "Absent", testAbsent)
	}
	for _, n := range []int{0, 1, winscard.MaxReaders} {
		env.Service.Start(n)
		s.readers = env.Service.Readers()
		require.Len(t, s.readers, n)
		s.run(t, fmt.Sprintf("%dReaders", n), testList)
		if n == winscard.MaxReaders && !s.missing(t, "AllReadersAtOnce") {
			s.run(t, "AllReadersAtOnce", testManyStates)
		}
	}

	s.start(t)
	for _, group := range []struct {
		name  string
		tests []subtest
	}{
		{"Context", contextTests},
		{"Names", nameTests},
		{"Handles", handleTests},
		{"Connect", connectTests},
		{"Status", statusTests},
		{"Transmit", transmitTests},
		{"Transaction", transactionTests},
		{"Disposition", dispositionTests},
		{"Attributes", attributeTests},
		{"Control", controlTests},
		{"StatusChange", statusChangeTests},
		{"Removal", removalTests},
		{"Concurrency", concurrencyTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				if !s.missing(t, group.name+"/"+test.name) {
					s.run(t, test.name, test.run)
				}
			}
		})
	}
	if env.Features.HotPlug {
		s.run(t, "HotPlug", testHotPlug)
	}
	if env.Features.Outages {
		t.Run("Outage", func(t *testing.T) {
			for _, test := range outageTests {
				if s.missing(t, "Outage/"+test.name) {
					continue
				}
				s.start(t)
				s.runUnchecked(t, test.name, test.run)
			}
		})
		s.Service.Stop()
	} else {
		s.Service.Start(0)
	}
	requireDescriptors(t, before)
	s.requireKnown(t, env.Missing)
}

// requireKnown requires that what is listed as missing exists.
func (s *suite) requireKnown(t *testing.T, missing map[string]string) {
	t.Helper()
	for name := range missing {
		require.True(t, s.left[name], "%q is listed as missing, and there is no such subtest", name)
	}
}

// missing says whether the service can't pass a subtest.
func (s *suite) missing(t *testing.T, name string) bool { return s.missingOf(t, s.Missing, name) }

func (s *suite) missingOf(t *testing.T, list map[string]string, name string) bool {
	reason, missing := list[name]
	if missing {
		s.left[name] = true
		t.Logf("left out: %s: %s", name, reason)
	}
	return missing
}

// prepare lets the runtime open the descriptors that it opens with its first
// pipe or socket.
func (s *suite) prepare(t *testing.T) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, w.Close())
}

type subtest struct {
	name string
	run  func(*testing.T, *suite)
}

// start makes the shared service.
func (s *suite) start(t *testing.T) {
	t.Helper()
	s.Service.Start(sharedReaders)
	s.readers = s.Service.Readers()
	require.Len(t, s.readers, sharedReaders)
	s.a, s.b = newCard(offerBoth), newCard(offerT0)
	s.Service.Insert(readerA, s.a)
	s.Service.Insert(readerB, s.b)
}

// run runs a subtest, which begins with cards whose protocol is not yet chosen.
func (s *suite) run(t *testing.T, name string, run func(*testing.T, *suite)) {
	s.runClean(t, name, func(t *testing.T) {
		if s.a != nil {
			ctx := s.establish(t)
			s.forget(t, ctx, readerA)
			s.forget(t, ctx, readerB)
			requireOK(t, s.Backend.ReleaseContext(ctx))
		}
		run(t, s)
	})
}

// runClean runs a subtest which must leave behind neither a goroutine nor a
// descriptor.
func (s *suite) runClean(t *testing.T, name string, run func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		before := descriptors(t)
		goroutines := goleak.IgnoreCurrent()
		// Cleanups run last in, first out: this comes after all others.
		t.Cleanup(func() {
			if t.Failed() {
				return
			}
			requireGoroutines(t, goroutines)
			requireDescriptors(t, before)
		})
		watch(t)
		defer s.unhang(t)
		run(t)
	})
}

// requireGoroutines requires that no goroutines are left but those that were known before. Those of calls that were given up
// end when the service is done with them, for which goleak by itself has less than half a second.
func requireGoroutines(t *testing.T, known goleak.Option) {
	t.Helper()
	err := goleak.Find(known)
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); {
		err = goleak.Find(known)
	}
	require.NoError(t, err)
}

// unhang is deferred by a subtest. If it fails, calls may hang that its cleanups
// would wait for; the service's end ends them.
func (s *suite) unhang(t *testing.T) {
	if t.Failed() && s.Features.Outages {
		s.Service.Restart()
	}
}

// runUnchecked is run for a subtest that restarts the service, which has
// goroutines and descriptors of its own.
func (s *suite) runUnchecked(t *testing.T, name string, run func(*testing.T, *suite)) {
	t.Run(name, func(t *testing.T) {
		watch(t)
		defer s.unhang(t)
		run(t, s)
	})
}

// watch ends the process with all stacks if the test hangs.
func watch(t *testing.T) {
	name := t.Name()
	timer := time.AfterFunc(hang, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s hangs", name))
	})
	t.Cleanup(func() { timer.Stop() })
}

// await waits for something that has to happen.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing for %v\n%s", what, patience, stacks())
		panic("unreachable")
	}
}

func stacks() string {
	buf := make([]byte, 64<<10)
	return string(buf[:runtime.Stack(buf, true)])
}

// start begins a call in a goroutine of its own.
func start[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

// descriptors lists the open file descriptors, where that is possible.
func descriptors(t *testing.T) []string {
	t.Helper()
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || strings.HasPrefix(target, "/proc/") {
			continue // that of the listing itself
		}
		// Number and inode would tell descriptors apart that only replaced
		// others.
		if kind, _, ok := strings.Cut(target, ":["); ok {
			target = kind
		}
		open = append(open, target)
	}
	slices.Sort(open)
	return open
}

// requireDescriptors requires that no more descriptors are open than before.
func requireDescriptors(t *testing.T, before []string) {
	t.Helper()
	var now []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if now = descriptors(t); len(now) <= len(before) {
			return
		}
	}
	require.Equal(t, before, now, "open file descriptors")
}
