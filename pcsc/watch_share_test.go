package pcsc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// running is the number of native contexts that are open.
func (s *watchService) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// More watches than the service serves native contexts.
func TestWatchShares(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		b := s.AddReader("B")
		watches := []*watch{}
		for i := range 300 {
			opts := []WatchOption{WithScope(ScopeSystem), WithPollInterval(0)} // the defaults
			if i%2 == 0 {
				opts = append(opts, WithReaders("A 00 00"))
			}
			watches = append(watches, s.watch(opts...))
		}
		all := func(forA, forB []string) {
			t.Helper()
			for i, w := range watches {
				w.want(forA...)
				if i%2 != 0 {
					w.want(forB...)
				}
			}
		}
		all([]string{"+A 00 initial"}, []string{"+B 01 initial"})
		require.Equal(t, 1, s.count("EstablishContext"))
		r.Insert(numbered(1))
		b.Insert(numbered(2))
		all([]string{"in A 00 1"}, []string{"in B 01 2"})
		s.Stop()
		s.Start()
		for i, w := range watches {
			if i%2 == 0 {
				w.want("out A 00 1 outage", "-A 00 outage", "down outage", "up", "+A 00 initial", "in A 00 1 initial")
			} else {
				w.want("out A 00 1 outage", "-A 00 outage", "out B 01 2 outage", "-B 01 outage", "down outage", "up",
					"+A 00 initial", "in A 00 1 initial", "+B 01 initial", "in B 01 2 initial")
			}
		}
		require.Equal(t, 2, s.count("EstablishContext"))

		// Each ends for itself, at once.
		for i, w := range watches[:299] {
			begin := time.Now()
			if i%3 == 0 {
				w.cancel()
				require.ErrorIs(t, w.error(), context.Canceled)
			}
			w.stop()
			require.Zero(t, time.Since(begin))
		}
		r.Remove()
		watches[299].want("out A 00 1")
		watches[299].stop()
		s.requireNothingOpen()
	})
}

// Watches share if nothing that matters to native calls differs.
func TestWatchSharesWith(t *testing.T) {
	type unknowable struct {
		*watchService
		_ []int
	}
	for name, test := range map[string]struct {
		opts   func(s *watchService) []WatchOption
		shares bool
	}{
		"readers":  {func(*watchService) []WatchOption { return []WatchOption{WithReaders("B")} }, true},
		"snapshot": {func(*watchService) []WatchOption { return []WatchOption{WithoutSnapshot()} }, true},
		"scope":    {func(*watchService) []WatchOption { return []WatchOption{WithScope(ScopeUser)} }, false},
		"poll":     {func(*watchService) []WatchOption { return []WatchOption{WithPollInterval(time.Hour)} }, false},
		"first":    {func(*watchService) []WatchOption { return []WatchOption{WithBackoff(time.Second, 0)} }, false},
		"longest":  {func(*watchService) []WatchOption { return []WatchOption{WithBackoff(0, time.Hour)} }, false},
		"tracer": {func(*watchService) []WatchOption {
			return []WatchOption{WithTracer(TracerFunc(func(TraceCall) {}))}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watchService) {
				s.AddReader("A")
				s.watch().want("+A 00 initial")
				s.watch(test.opts(s)...)
				w := s.watch(test.opts(s)...)
				go func() { _, _, _ = w.next() }()
				synctest.Wait()
				require.Equal(t, test.shares, s.running() == 1)
				w.cancel()
				synctest.Wait()
			})
		})
	}
	// A backend that can't be compared: each watch is alone.
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		for i := range 3 {
			w := pull(t, Watch(cancellable(t), WithBackend(unknowable{watchService: s})))
			w.want("+A 00 initial")
			require.Equal(t, i+1, s.running())
		}
	})
	// The watches of a Context share with each other, and with the function's if there is no tracer.
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		var waits atomic.Int32
		for i, opts := range [][]Option{nil, {WithTracer(TracerFunc(func(c TraceCall) {
			if c.Op == opGetStatusChange {
				waits.Add(1)
			}
		}))}} {
			s.watch().want("+A 00 initial")
			c, err := EstablishContext(ScopeSystem, append(opts, WithBackend(s))...)
			require.NoError(t, err)
			before := s.running()
			for range 3 {
				pull(t, c.Watch(t.Context())).want("+A 00 initial")
			}
			require.Equal(t, before+i, s.running())
			t.Cleanup(func() { require.NoError(t, c.Close()) })
		}
		require.NotZero(t, waits.Load())
	})
}

// deaf makes waits end for no reader.
func (s *watchService) deaf() {
	s.set(func() {
		s.statusChange = func(next func() winscard.Code, timeout uint32, states []winscard.ReaderState) winscard.Code {
			for i := range states {
				if timeout != 0 && states[i].Reader != PnPNotification {
					states[i].CurrentState |= uint32(StateIgnore)
				}
			}
			rc := next()
			for i := range states { // as it was
				if timeout != 0 && states[i].Reader != PnPNotification {
					states[i].EventState = states[i].CurrentState &^ uint32(StateIgnore)
				}
			}
			return rc
		}
	})
}

// A watch begins with what there is, and not with what another one was told last.
func TestWatchFreshSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.deaf()
		r := s.AddReader("A")
		first := s.watch()
		first.want("+A 00 initial")
		time.Sleep(time.Minute)
		synctest.Wait() // in a long wait
		for i := range byte(20) {
			r.Insert(numbered(i))
			begin := time.Now()
			w := s.watch()
			w.want("+A 00 initial", fmt.Sprintf("in A 00 %d initial", i))
			require.Zero(t, time.Since(begin))
			first.want(fmt.Sprintf("in A 00 %d", i))
			r.Remove()
			c := s.context()
			require.NoError(t, c.WaitRemoved(bg, "A 00 00"), "there is none")
			first.want(fmt.Sprintf("out A 00 %d", i))
			require.Zero(t, time.Since(begin))
			w.stop()
		}
		first.quiet(time.Hour)
	})
	// Where there is nothing to wait for.
	bubble(t, func(t *testing.T, s *watchService) {
		s.refusePnP(noPnP["unknown reader"])
		first := s.watch(WithPollInterval(time.Hour))
		go func() { _, _, _ = first.next() }()
		synctest.Wait()
		s.AddReader("A")
		begin := time.Now()
		s.watch(WithPollInterval(time.Hour)).want("+A 00 initial")
		require.Zero(t, time.Since(begin))
		first.cancel()
		synctest.Wait()
	})
	// While the service is down and will be tried again much later.
	bubble(t, func(t *testing.T, s *watchService) {
		s.Stop()
		slow := WithBackoff(time.Hour, 1000*time.Hour)
		first := s.watch(slow)
		first.want("down outage")
		begin := time.Now()
		for range 10 {
			w := s.watch(slow)
			w.want("down outage")
			w.stop()
		}
		s.AddReader("A")
		s.Start()
		s.watch(slow).want("+A 00 initial")
		first.want("up", "+A 00 initial")
		require.Zero(t, time.Since(begin))
		// Those that begin do not make the others wait longer.
		s.Stop()
		first.want("-A 00 outage", "down outage")
		for range 10 {
			w := s.watch(slow)
			w.want("down outage")
			w.stop()
		}
		s.Start()
		first.want("up", "+A 00 initial")
		require.LessOrEqual(t, time.Since(begin), 2*time.Hour)
	})
}

// Watches that have begun do not shorten the pauses of an outage that comes later.
func TestWatchPausesAfterOthersBegan(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		for range 3 {
			s.watch().want("+A 00 initial")
		}
		s.Stop()
		synctest.Wait()
		require.Equal(t, 1, s.count("EstablishContext"), "not tried again at once")
	})
}

// A cancellation that comes too early is lost, and repeated.
func TestWatchFreshSnapshotCancelLost(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.deaf()
		r := s.AddReader("A")
		var lost atomic.Int32
		s.cancel = func() bool { return lost.Add(-1) < 0 }
		s.watch().want("+A 00 initial")
		time.Sleep(time.Minute)
		r.Insert(numbered(1))
		lost.Store(4)
		begin := time.Now()
		s.watch().want("+A 00 initial", "in A 00 1 initial")
		require.LessOrEqual(t, time.Since(begin), 31*time.Millisecond)
	})
}

// Somebody else's cancellation is none of the watch's business.
func TestWatchCancelledByOther(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		var cancelled atomic.Bool
		s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
			if timeout != 0 && !cancelled.Swap(true) {
				return winscard.ErrCancelled
			}
			return next()
		}
		w := s.watch()
		w.want("+A 00 initial")
		require.True(t, cancelled.Load())
		r.Insert(numbered(1))
		w.want("in A 00 1")
		w.quiet(time.Hour)
	})
}

// The memory of an event is its receiver's.
func TestWatchOwnATR(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		r.Insert(numbered(1))
		a, b := s.watch(), s.watch()
		both := func(want string) {
			t.Helper()
			for _, w := range []*watch{a, b} {
				e := w.event()
				require.Equal(t, want, brief(e))
				clear(e.ATR)
			}
		}
		both("+A 00 initial")
		both("in A 00 1 initial")
		r.Remove()
		both("out A 00 1")
		r.Insert(numbered(2))
		both("in A 00 2")
		for i := range byte(3) { // without a look in between
			r.Insert(numbered(3 + i))
		}
		both("out A 00 2")
		for range 4 {
			a.event()
			b.event()
		}
		both("in A 00 5")
		s.RemoveReader(r)
		both("out A 00 5")
		both("-A 00")
	})
}

// What a reader goes through while the loop's body is at work.
func TestWatchBusyReplugged(t *testing.T) {
	replug := func(s *watchService, cards ...virtual.Card) {
		synctest.Wait()
		s.RemoveReader(s.reader("A"))
		synctest.Wait()
		r := s.AddReader("A")
		for _, card := range cards {
			if card == nil {
				r.Remove()
			} else {
				r.Insert(card)
			}
			synctest.Wait()
		}
	}
	for _, test := range []struct {
		name string
		do   func(s *watchService)
		want []string
	}{
		{"with its card", func(s *watchService) { replug(s, numbered(1)) },
			[]string{"out A 00 1", "-A 00", "+A 00", "in A 00 1"}},
		{"without", func(s *watchService) { replug(s) },
			[]string{"out A 00 1", "-A 00", "+A 00"}},
		{"and gone", func(s *watchService) { s.RemoveReader(s.reader("A")) },
			[]string{"out A 00 1", "-A 00"}},
		{"after another card", func(s *watchService) {
			s.reader("A").Insert(numbered(2))
			replug(s, numbered(3))
		}, []string{"out A 00 1", "in A 00 2", "out A 00 2", "-A 00", "+A 00", "in A 00 3"}},
		{"twice", func(s *watchService) { replug(s, numbered(2), nil); replug(s, numbered(3)) },
			[]string{"out A 00 1", "-A 00", "+A 00", "in A 00 inferred", "out A 00 inferred", "-A 00", "+A 00", "in A 00 3"}},
		{"often", func(s *watchService) {
			for i := range byte(5) {
				replug(s, numbered(i))
			}
			replug(s)
		}, []string{"out A 00 1", "-A 00",
			"+A 00", "in A 00 inferred", "out A 00 inferred", "in A 00 inferred", "out A 00 inferred", "in A 00 inferred",
			"out A 00 inferred", "in A 00 inferred", "out A 00 inferred", "in A 00 0", "out A 00 0", "-A 00",
			"+A 00"}},
		{"another one", func(s *watchService) {
			s.AddReader("B").Insert(numbered(2))
			synctest.Wait()
			s.RemoveReader(s.reader("B"))
		}, []string{"+B 01", "in B 01 2", "out B 01 2", "-B 01"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watchService) {
				s.AddReader("A").Insert(numbered(1))
				w := s.watch()
				w.want("+A 00 initial", "in A 00 1 initial")
				synctest.Wait()
				test.do(s)
				w.want(test.want...)
				w.quiet(time.Hour)
			})
		})
	}
}

// Readers without end take no memory without end.
func TestWatchBusyEndless(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A").Insert(numbered(1))
		w := s.watch()
		w.want("+A 00 initial", "in A 00 1 initial")
		const many = 2000
		for i := range many {
			r := s.AddReader(fmt.Sprintf("R%d", i))
			synctest.Wait()
			s.RemoveReader(r)
			synctest.Wait()
			if i%100 == 0 {
				s.reader("A").Insert(numbered(byte(i / 100)))
			}
		}
		s.AddReader("Z")
		synctest.Wait()
		entries := 0
		watchers.Lock()
		for key, w := range watchers.by {
			for sub := range w.subscriptions {
				if key.backend == s {
					entries += len(sub.entries)
				}
			}
		}
		watchers.Unlock()
		require.Equal(t, 1+visitsKept+1, entries)
		w.want("out A 00 1")
		for range 2*many/100 - 2 {
			require.True(t, w.event().Inferred)
		}
		w.want("in A 00 19")
		for i := range visitsKept {
			name := fmt.Sprintf("R%d 01", many-visitsKept+i)
			w.want("+"+name, "-"+name)
		}
		w.want("+Z 01")
		w.quiet(time.Hour)
	})
}

// Outages while the loop's body is at work.
func TestWatchBusyOutage(t *testing.T) {
	restart := func(s *watchService) {
		synctest.Wait()
		s.Stop()
		time.Sleep(time.Minute)
		s.Start()
		time.Sleep(time.Minute)
	}
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		r.Insert(numbered(1))
		w := s.watch()
		w.want("+A 00 initial", "in A 00 1 initial")
		begin := time.Now()
		restart(s)
		e := w.event()
		require.Equal(t, "out A 00 1 outage", brief(e))
		require.Equal(t, begin, e.Time)
		require.Equal(t, StateUnavailable, e.State)
		w.want("-A 00 outage", "down outage")
		e = w.event()
		require.Equal(t, "up", brief(e))
		require.WithinDuration(t, begin.Add(time.Minute), e.Time, watchBackoffMax)
		w.want("+A 00 initial", "in A 00 1 initial")

		// Several are one.
		b := s.AddReader("B")
		for range 5 {
			restart(s)
			b.Insert(numbered(2))
			time.Sleep(time.Minute)
		}
		w.want("out A 00 1 outage", "-A 00 outage", "+B 01", "-B 01 outage", "down outage", "up", "+A 00 initial",
			"in A 00 1 initial", "+B 01 initial", "in B 01 initial inferred", "out B 01 inferred", "in B 01 2")
	})
	// While it is known to be down.
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A").Insert(numbered(1))
		w := s.watch()
		w.want("+A 00 initial", "in A 00 1 initial")
		s.Stop()
		w.want("out A 00 1 outage", "-A 00 outage", "down outage")
		for range 5 {
			time.Sleep(time.Minute)
			s.Start()
			time.Sleep(time.Minute)
			s.Stop()
		}
		w.want("up", "+A 00 initial", "in A 00 1 initial", "out A 00 1 outage", "-A 00 outage", "down outage")
		s.Start()
		w.want("up", "+A 00 initial", "in A 00 1 initial")
		w.quiet(time.Hour)
	})
}

// A consumer that is busy for any time knows in the end what there is, and has heard of every card, whatever happens.
func TestWatchBusyRandom(t *testing.T) {
	for seed := range uint64(200) {
		bubble(t, func(t *testing.T, s *watchService) {
			random := rand.New(rand.NewPCG(seed, 0))
			ctx, cancel := context.WithCancel(bg)
			var consumers []*busyConsumer
			for _, names := range [][]string{nil, nil, {"A 00 00", "C 01 00"}} {
				consumers = append(consumers, consume(ctx, s, names))
			}
			synctest.Wait()
			happened := map[string]int{} // events of cards
			var there [3]*virtual.Reader
			for range 100 {
				i := random.IntN(len(there))
				r := there[i]
				switch {
				case r == nil:
					there[i] = s.AddReader(string(rune('A' + i)))
				case random.IntN(3) == 0:
					if r.Card() != nil {
						happened[r.Name()]++
					}
					s.RemoveReader(r)
					there[i] = nil
				case random.IntN(3) == 0 && r.Card() != nil:
					r.Remove()
					happened[r.Name()]++
				default:
					if r.Card() != nil {
						happened[r.Name()]++
					}
					r.Insert(numbered(byte(i)))
					happened[r.Name()]++
				}
				synctest.Wait()
				consumers[0].take(t)
				if random.IntN(20) == 0 {
					for consumers[1].take(t) {
					}
				}
			}
			for _, c := range consumers {
				for c.take(t) {
				}
				for name, n := range happened {
					if len(c.names) == 0 || slices.Contains(c.names, name) {
						require.Equal(t, n, c.cards[name], "seed %d: %s", seed, name)
					} else {
						require.NotContains(t, c.told, name)
					}
				}
				for _, r := range there {
					if r != nil && (len(c.names) == 0 || slices.Contains(c.names, r.Name())) {
						require.Equal(t, readerAndCard{true, r.Card() != nil}, c.told[r.Name()], "seed %d: %s", seed, r.Name())
						delete(c.told, r.Name())
					}
				}
				for name, k := range c.told {
					require.Zero(t, k, "seed %d: %s", seed, name)
				}
			}
			cancel()
			for _, c := range consumers {
				<-c.ended
			}
			s.requireNothingOpen()
		})
	}
}

// busyConsumer is the loop of a watch whose body is busy with every event until it is taken.
type busyConsumer struct {
	names  []string
	events chan Event
	ended  chan struct{}
	told   map[string]readerAndCard
	cards  map[string]int // events
}

type readerAndCard struct{ reader, card bool }

func consume(ctx context.Context, s *watchService, names []string) *busyConsumer {
	c := &busyConsumer{
		names:  names,
		events: make(chan Event),
		ended:  make(chan struct{}),
		told:   map[string]readerAndCard{},
		cards:  map[string]int{},
	}
	go func() {
		defer close(c.ended)
		for e, err := range Watch(ctx, WithBackend(s), WithReaders(names...)) {
			if err == nil {
				c.events <- e
			}
		}
	}()
	return c
}

// take takes an event, which must be possible after those before it, or says that there is none.
func (c *busyConsumer) take(t *testing.T) bool {
	t.Helper()
	synctest.Wait()
	var e Event
	select {
	case e = <-c.events:
	default:
		return false
	}
	k := c.told[e.Reader]
	require.True(t, map[EventKind]bool{
		ReaderAdded:   !k.reader,
		ReaderRemoved: k.reader && !k.card,
		CardInserted:  k.reader && !k.card,
		CardRemoved:   k.reader && k.card,
	}[e.Kind], "%v after %+v", e, k)
	switch e.Kind {
	case ReaderAdded, ReaderRemoved:
		k.reader = e.Kind == ReaderAdded
	default:
		k.card = e.Kind == CardInserted
		c.cards[e.Reader]++
	}
	c.told[e.Reader] = k
	return true
}

// A watch that begins while the last one ends.
func TestWatchHandOver(t *testing.T) {
	for _, where := range []string{"look", "release"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watchService) {
				s.AddReader("A")
				w := s.watch()
				w.want("+A 00 initial")
				synctest.Wait()
				g := newGate()
				once := func() winscard.Code {
					s.set(func() { s.listReaders, s.release = nil, nil })
					g.pass()
					return winscard.Success
				}
				if where == "look" {
					s.set(func() { s.listReaders = once })
					s.AddReader("B")
					<-g.reached
				} else {
					s.set(func() { s.release = func() { once() } })
				}
				go w.stop()
				synctest.Wait()
				require.Equal(t, 1, s.running(), "still about to end")
				next := s.watch(WithReaders("A 00 00", "C 02 00"))
				next.want("+A 00 initial")
				require.Equal(t, 2, s.running())
				close(g.open)
				synctest.Wait()
				require.Equal(t, 1, s.running())
				s.watch(WithReaders("A 00 00")).want("+A 00 initial")
				require.Equal(t, 1, s.running(), "they share")
				if where == "release" {
					s.AddReader("B")
				}
				s.AddReader("C")
				next.want("+C 02")
			})
		})
	}
}

// A service that hangs holds up the last watch alone, and nothing that begins.
func TestWatchSharedHang(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		g := newGate()
		s.AddReader("A")
		a, b := s.watch(), s.watch()
		a.want("+A 00 initial")
		b.want("+A 00 initial")
		s.set(func() { s.listReaders = func() winscard.Code { g.pass(); return winscard.Success } })
		s.AddReader("B")
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		require.ErrorIs(t, pull(t, Watch(ctx, WithBackend(s))).error(), context.DeadlineExceeded)
		a.stop()
		require.Equal(t, time.Minute, time.Since(begin))
		begin = time.Now()
		b.stop()
		require.Equal(t, cancelPatience, time.Since(begin))
		close(g.open)
		synctest.Wait()
	})
}

// An error that ends the watches ends all, after what there was to tell, and not those that begin later.
func TestWatchSharedFatal(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		watches := []*watch{s.watch(), s.watch(), s.watch()}
		for _, w := range watches {
			w.want("+A 00 initial")
		}
		s.set(func() { s.establish = func() winscard.Code { return winscard.ErrNoAccess } })
		s.Stop()
		synctest.Wait()
		end := func(w *watch) {
			w.want("-A 00 outage", "down outage")
			time.Sleep(time.Second)
			requireCode(t, w.error(), opEstablishContext, ErrNoAccess)
		}
		end(watches[0])
		end(watches[1])
		s.requireNothingOpen()
		s.set(func() { s.establish = nil })
		s.Start()
		s.watch().want("+A 00 initial")
		end(watches[2])
		s.watch().want("+A 00 initial")
		require.Equal(t, 1, s.running(), "they share")
	})
}

// libpcsclite says ErrSecurityViolation of a service that refuses the program (polkit, or too many clients), and of one
// that was killed at that moment. However long it does, it may be another time.
func TestWatchRefused(t *testing.T) {
	for _, from := range []string{"the beginning", "an outage"} {
		bubble(t, func(t *testing.T, s *watchService) {
			s.AddReader("A").Insert(numbered(1))
			c := s.context()
			w := s.watch()
			refuse := func() { s.establish = func() winscard.Code { return winscard.ErrSecurityViolation } }
			if from == "an outage" {
				w.want("+A 00 initial", "in A 00 1 initial")
				s.set(refuse)
				s.Stop()
				s.Start()
				w.want("out A 00 1 outage", "-A 00 outage", "down outage")
				ctx, cancel := context.WithTimeout(bg, time.Minute)
				defer cancel()
				err := third(c.WaitCard(ctx))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorContains(t, err, "SCARD_W_SECURITY_VIOLATION", "it says why")
				require.ErrorContains(t, err, "polkit", "it says what to do")
			} else {
				s.set(refuse)
				e := w.event()
				require.Equal(t, ServiceDown, e.Kind)
				requireCode(t, e.Err, opEstablishContext, ErrSecurityViolation)
			}
			time.Sleep(time.Hour)
			tried := s.count("EstablishContext")
			time.Sleep(time.Minute)
			require.Less(t, s.count("EstablishContext")-tried, 42, "it is asked now and then")
			s.set(func() { s.establish = nil })
			begin := time.Now()
			w.want("up", "+A 00 initial", "in A 00 1 initial")
			require.LessOrEqual(t, time.Since(begin), watchBackoffMax)
			require.NoError(t, third(c.WaitCard(bg)))
		})
	}
}

// The last ServiceDown says what the reason is now, and not what it was.
func TestWatchDownReason(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		var code atomic.Uint32
		s.establish = func() winscard.Code { return winscard.Code(code.Load()) }
		for _, want := range []Code{ErrNoService, ErrSecurityViolation, ErrNoService} {
			code.Store(uint32(want))
			w := s.watch()
			require.ErrorIs(t, w.event().Err, want)
		}
	})
}

// A Context that is closed in the loop's body ends the watch, whatever there is yet to tell; other watches go on.
func TestContextWatchClosedInBody(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		for range 5 {
			s.AddReader("A").Insert(numbered(1))
		}
		other := s.watch()
		other.event()
		c := s.context()
		n := 0
		var last error
		for _, err := range c.Watch(bg) {
			if last = err; err == nil {
				n++
				require.NoError(t, c.Close())
			}
		}
		require.Equal(t, 1, n)
		requireCode(t, last, opGetStatusChange, ErrInvalidHandle)
		other.event()
	})
}

// A watch that begins while the watcher looks, or when a wait has just ended, waits for the next look, and not longer.
func TestWatchFreshSnapshotAtAnyTime(t *testing.T) {
	for _, where := range []string{"look", "wait"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watchService) {
				a, b := s.AddReader("A"), s.AddReader("B")
				s.watch().want("+A 00 initial", "+B 01 initial")
				time.Sleep(time.Minute)
				var begin time.Time
				snapshot := make(chan string, 2)
				s.set(func() {
					s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
						rc := next()
						if (where == "look") == (timeout == 0) && (timeout == 0 || rc == winscard.ErrTimeout) {
							s.deaf() // so that nothing else ends the next wait
							begin = time.Now()
							a.Insert(numbered(1))
							w := s.watch(WithReaders("A 00 00"))
							go func() {
								for range cap(snapshot) {
									e, _, _ := w.next()
									snapshot <- brief(e)
								}
							}()
							time.Sleep(time.Millisecond) // the goroutine waits for the snapshot
						}
						return rc
					}
				})
				if where == "look" {
					b.Insert(numbered(2))
				}
				require.Equal(t, "+A 00 initial", <-snapshot)
				require.Equal(t, "in A 00 1 initial", <-snapshot)
				require.Equal(t, time.Millisecond, time.Since(begin))
			})
		})
	}
}

// However many begin, those that were there miss nothing, and what comes next is noticed at once.
func TestWatchBeginnersDisturbNobody(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		first := s.watch()
		first.want("+A 00 initial")
		time.Sleep(time.Hour)
		begin := func() {
			w := s.watch()
			w.event()
			w.stop()
		}
		for range 20 {
			begin()
		}
		now := time.Now()
		r.Insert(numbered(1))
		first.want("in A 00 1")
		require.Equal(t, now, time.Now())

		// Between look and wait, as in TestWatchReaderBetweenLookAndWait.
		time.Sleep(time.Hour)
		s.set(func() {
			s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
				if timeout != 0 {
					s.set(func() { s.statusChange = nil })
					s.AddReader("B")
				}
				return next()
			}
		})
		begin()
		first.want("+B 01")
		require.LessOrEqual(t, time.Since(now)-time.Hour, sliceFirst)
	})
}

// The last watch ends while the watcher looks.
func TestWatchEndsDuringLook(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		w := s.watch()
		w.want("+A 00 initial")
		time.Sleep(time.Minute)
		s.set(func() {
			s.listReaders = func() winscard.Code { time.Sleep(10 * time.Millisecond); return winscard.Success }
		})
		begin := time.Now()
		r.Insert(numbered(1))
		time.Sleep(time.Millisecond)
		w.stop()
		require.Equal(t, 10*time.Millisecond, time.Since(begin))
		s.requireNothingOpen()
	})
}

// No SCardCancel is under way on a native context that is released.
func TestWatchLateCancel(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		w := s.watch()
		w.want("+A 00 initial")
		synctest.Wait()
		s.set(func() {
			s.cancel = func() bool {
				time.Sleep(10 * time.Millisecond)
				require.Equal(t, 1, s.running())
				return true
			}
		})
		time.AfterFunc(5*time.Millisecond, func() { r.Insert(numbered(1)) }) // ends the wait
		w.stop()
		s.requireNothingOpen()
	})
}
