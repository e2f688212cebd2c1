package conformance

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
)

func TestWatchReal(t *testing.T) {
	testWatch(t, Environment{Service: RealService(t), Features: Features{Outages: true}})
}

func TestWatchVirtual(t *testing.T) {
	env := Virtual()
	testWatch(t, env, pcsc.WithBackend(env.Backend))
}

func testWatch(t *testing.T, env Environment, options ...pcsc.Option) {
	s := &apiSuite{suite{Environment: env}, options}
	s.prepare(t)
	// Here services come and go, and with them goroutines and descriptors that
	// are not the watch's.
	for _, test := range watchOutageTests {
		before := descriptors(t)
		t.Run(test.name, func(t *testing.T) {
			watch(t)
			test.run(t, s)
		})
		requireNoWatcher(t)
		requireDescriptors(t, before)
	}
	s.start(t)
	for _, test := range watchTests {
		s.runClean(t, test.name, func(t *testing.T) { test.run(t, s) })
	}
	env.Service.Stop()
}

// requireNoWatcher requires that no goroutine of a watch is left.
func requireNoWatcher(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		return !strings.Contains(stacks(), "pcsc.(*watcher)")
	}, patience, 10*time.Millisecond, "goroutines of a watch are left")
}

// An eventWatch pulls the events of a watch one by one.
type eventWatch struct {
	t      *testing.T
	pull   func() (pcsc.Event, error, bool)
	stop   func()
	cancel func()
	under  <-chan pulled // a pull that was given up
}

type pulled struct {
	event pcsc.Event
	err   error
	ok    bool
}

// watch begins a watch that needs no Context. The test's end ends it.
func (s *apiSuite) watch(t *testing.T, opts ...pcsc.WatchOption) *eventWatch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	for _, o := range s.options {
		opts = append(opts, o)
	}
	return newEventWatch(t, cancel, pcsc.Watch(ctx, opts...))
}

// watchOf begins a watch of a Context.
func (s *apiSuite) watchOf(t *testing.T, c *pcsc.Context, opts ...pcsc.WatchOption) *eventWatch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	return newEventWatch(t, cancel, c.Watch(ctx, opts...))
}

func newEventWatch(t *testing.T, cancel func(), seq iter.Seq2[pcsc.Event, error]) *eventWatch {
	w := &eventWatch{t: t, cancel: cancel}
	w.pull, w.stop = iter.Pull2(seq)
	t.Cleanup(w.close)
	return w
}

func (w *eventWatch) close() {
	w.cancel()
	if w.under != nil {
		<-w.under
		w.under = nil
	}
	w.stop()
}

// begin pulls the next event in the background.
func (w *eventWatch) begin() <-chan pulled {
	if w.under == nil {
		w.under = start(func() (p pulled) {
			p.event, p.err, p.ok = w.pull()
			return p
		})
	}
	return w.under
}

func (w *eventWatch) next() pcsc.Event {
	w.t.Helper()
	p := await(w.t, w.begin(), "event")
	w.under = nil
	require.True(w.t, p.ok, "the watch has ended")
	require.NoError(w.t, p.err)
	return p.event
}

// expect requires the next event to be of a kind, from a reader, and to have an
// ATR if there is one.
func (w *eventWatch) expect(kind pcsc.EventKind, reader string, atr []byte) pcsc.Event {
	w.t.Helper()
	e := w.next()
	require.Equal(w.t, fmt.Sprintf("%v %s % X", kind, reader, atr), fmt.Sprintf("%v %s % X", e.Kind, e.Reader, e.ATR))
	return e
}

// quiet requires that nothing comes for now.
func (w *eventWatch) quiet() {
	w.t.Helper()
	requireNotYet(w.t, w.begin(), "event")
}

// snapshot takes the events that tell what the shared service begins with.
func (w *eventWatch) snapshot(s *apiSuite) {
	w.t.Helper()
	for i, name := range s.readers {
		require.True(w.t, w.expect(pcsc.ReaderAdded, name, nil).Initial)
		for reader, card := range map[int]*Card{readerA: s.a, readerB: s.b} {
			if i == reader {
				require.True(w.t, w.expect(pcsc.CardInserted, name, card.ATR()).Initial)
			}
		}
	}
}

// down takes the events that tell that the service is gone, its readers' first.
func (w *eventWatch) down() pcsc.Event {
	w.t.Helper()
	for {
		switch e := w.next(); e.Kind {
		case pcsc.ServiceDown:
			require.Error(w.t, e.Err)
			return e
		case pcsc.CardRemoved, pcsc.ReaderRemoved:
			require.Error(w.t, e.Err)
		default:
			require.Fail(w.t, "not part of an outage", e.String())
		}
	}
}

// until takes events until one is of a kind and from a reader.
func (w *eventWatch) until(kind pcsc.EventKind, reader string) pcsc.Event {
	w.t.Helper()
	for {
		if e := w.next(); e.Kind == kind && e.Reader == reader {
			return e
		}
	}
}

// up takes the events that tell of the shared service's readers and cards when it has come up again, one by one in any
// order, and that it is up before them.
func (w *eventWatch) up(s *apiSuite) pcsc.Event {
	w.t.Helper()
	up := w.expect(pcsc.ServiceUp, "", nil)
	var want, got []string
	for _, name := range s.readers {
		want = append(want, fmt.Sprint(pcsc.ReaderAdded, " ", name))
	}
	for _, reader := range []int{readerA, readerB} {
		want = append(want, fmt.Sprint(pcsc.CardInserted, " ", s.readers[reader]))
	}
	for range want {
		e := w.next()
		got = append(got, fmt.Sprint(e.Kind, " ", e.Reader))
	}
	require.ElementsMatch(w.t, want, got)
	return up
}

var watchOutageTests = []apiTest{
	{"NoService", func(t *testing.T, s *apiSuite) {
		w := s.watch(t)
		require.ErrorIs(t, w.down().Err, pcsc.ErrNoService)
		w.quiet()
		s.start(t)
		w.until(pcsc.ServiceUp, "")
		w.until(pcsc.CardInserted, s.readers[readerB])
		w.close()
		s.Service.Stop()
	}},
	{"NoReaders", func(t *testing.T, s *apiSuite) {
		s.Service.Start(0)
		w := s.watch(t)
		w.quiet()
		if s.Features.HotPlug {
			plug := s.Service.(HotPlugger)
			for i := range 3 {
				plug.AddReader()
				w.expect(pcsc.ReaderAdded, s.Service.Readers()[i], nil)
			}
			names := s.Service.Readers()
			for i := range 3 {
				plug.RemoveReader()
				w.expect(pcsc.ReaderRemoved, names[2-i], nil)
			}
		}
		s.start(t) // restarts the service
		w.down()
		w.until(pcsc.CardInserted, s.readers[readerB])
		w.close()
		s.Service.Stop()
	}},
	{"Killed", func(t *testing.T, s *apiSuite) { s.watchOutages(t, s.Service.Kill) }},
	{"Stopped", func(t *testing.T, s *apiSuite) { s.watchOutages(t, s.Service.Stop) }},
	{"KilledWhileTheBodyIsBusy", func(t *testing.T, s *apiSuite) {
		s.start(t)
		w := s.watch(t)
		w.snapshot(s)
		for range 3 {
			s.Service.Kill()
			s.Service.Restart()
			w.down()
			w.up(s)
		}
		w.close()
		s.Service.Stop()
	}},
	{"WaitCard", func(t *testing.T, s *apiSuite) {
		// On a Context from before the outage.
		s.start(t)
		c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
		require.NoError(t, err)
		require.NoError(t, second(c.ListReaders(t.Context())))
		removed := start(func() error { return c.WaitRemoved(t.Context(), s.readers[readerA]) })
		requireNotYet(t, removed, "WaitRemoved")
		s.Service.Kill()
		require.Error(t, requireSoon(t, removed, "WaitRemoved"), "nobody knows")
		found := start(func() string {
			name, _, err := c.WaitCard(t.Context(), s.readers[readerB])
			return fmt.Sprint(name, err)
		})
		requireNotYet(t, found, "WaitCard")
		s.Service.Restart()
		require.Equal(t, fmt.Sprint(s.readers[readerB], nil), requireSoon(t, found, "WaitCard"))
		_ = c.Close()
		s.Service.Stop()
	}},
}

func second[T any](_ T, err error) error { return err }

// watchOutages lets the service end, and start again some time later. The
// program does nothing but listen.
func (s *apiSuite) watchOutages(t *testing.T, end func()) {
	s.start(t)
	w := s.watch(t)
	w.snapshot(s)
	// Others, on a Context that dies with the service.
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...)
	require.NoError(t, err)
	const others = 4
	var mu sync.Mutex
	var seen [others]string
	var ended sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range others {
		ended.Go(func() {
			for e, err := range c.Watch(ctx) {
				if err == nil {
					mu.Lock()
					seen[i] += e.Kind.String() + " " + e.Reader + "\n"
					mu.Unlock()
				}
			}
		})
	}
	told := func(n int, what string) {
		t.Helper()
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, all := range seen {
				if strings.Count(all, what) != n {
					return false
				}
			}
			return true
		}, patience, time.Millisecond, "%d times %s", n, what)
	}
	for i := range 4 {
		w.quiet()
		told(i+1, "card inserted "+s.readers[readerA])
		told(i+1, "reader added "+s.readers[readerEmpty])
		ending := start(func() time.Time { end(); return time.Now() })
		noticed := w.down().Time.Sub(await(t, ending, "the end"))
		w.begin()
		time.Sleep(time.Duration(i*i*150) * time.Millisecond)
		up := start(func() time.Time { return s.answers(t) })
		s.Service.Restart()
		since := await(t, up, "the service")
		recovered := w.up(s).Time.Sub(since)
		t.Logf("end noticed %v after the process was gone; up again %v after it answered", noticed, recovered)
		require.Less(t, recovered, 5*time.Second)
	}
	told(5, "card inserted "+s.readers[readerA])
	told(4, "service down")
	told(4, "service up")
	cancel()
	ended.Wait()
	_ = c.Close()
	w.close()
	s.Service.Stop()
}

// answers says when the service first answers.
func (s *apiSuite) answers(t *testing.T) time.Time {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if c, err := pcsc.EstablishContext(pcsc.ScopeSystem, s.options...); err == nil {
			now := time.Now()
			_ = c.Close()
			return now
		}
	}
	t.Error("the service does not answer")
	return time.Now()
}

var watchTests = []apiTest{
	{"Sequence", func(t *testing.T, s *apiSuite) {
		w := s.watch(t)
		w.snapshot(s)
		for range 3 {
			w.quiet()
			card, remove := s.insert(t)
			w.expect(pcsc.CardInserted, s.readers[readerSlot], card.ATR())
			w.quiet()
			remove()
			w.expect(pcsc.CardRemoved, s.readers[readerSlot], card.ATR())
		}
	}},
	{"SlowBody", func(t *testing.T, s *apiSuite) {
		// Everything happens while the loop's body is busy. Another watch tells
		// when it was noticed.
		w, other := s.watch(t), s.watch(t)
		w.snapshot(s)
		other.snapshot(s)
		slot := s.readers[readerSlot]
		insert := func() (*Card, func()) {
			card, remove := s.insert(t)
			other.until(pcsc.CardInserted, slot)
			return card, func() {
				remove()
				other.until(pcsc.CardRemoved, slot)
			}
		}
		_, remove := insert()
		remove()
		require.True(t, w.expect(pcsc.CardInserted, slot, nil).Inferred)
		require.True(t, w.expect(pcsc.CardRemoved, slot, nil).Inferred)
		first, remove := insert()
		w.expect(pcsc.CardInserted, slot, first.ATR())
		remove()
		last, remove := insert()
		w.expect(pcsc.CardRemoved, slot, first.ATR())
		w.expect(pcsc.CardInserted, slot, last.ATR())
		remove()
		_, remove = insert()
		remove()
		w.expect(pcsc.CardRemoved, slot, last.ATR())
		require.True(t, w.expect(pcsc.CardInserted, slot, nil).Inferred)
		require.True(t, w.expect(pcsc.CardRemoved, slot, nil).Inferred)
		w.quiet()
	}},
	{"Many", func(t *testing.T, s *apiSuite) {
		// More than pcscd serves clients; half of them are a Context's.
		c := s.context(t)
		const many = 300
		var watches []*eventWatch
		before := runtime.NumGoroutine()
		for i := range many {
			opts := []pcsc.WatchOption{}
			if i%3 != 0 {
				opts = append(opts, pcsc.WithReaders(s.readers[readerSlot]))
			}
			of := s.watch
			if i%2 == 0 {
				of = func(t *testing.T, opts ...pcsc.WatchOption) *eventWatch { return s.watchOf(t, c, opts...) }
			}
			w := of(t, opts...)
			if i%3 != 0 {
				require.True(t, w.expect(pcsc.ReaderAdded, s.readers[readerSlot], nil).Initial)
			} else {
				w.snapshot(s)
			}
			watches = append(watches, w)
		}
		// The runtime's cleanups count while they run.
		for end := time.Now().Add(patience); runtime.NumGoroutine()-before > many+1 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		t.Logf("%d watches with their loops are %d goroutines", many, runtime.NumGoroutine()-before)
		require.LessOrEqual(t, runtime.NumGoroutine()-before, many+1, "one for each loop, and one")
		slot := s.readers[readerSlot]
		for range 2 {
			card, remove := s.insert(t)
			for _, w := range watches {
				w.expect(pcsc.CardInserted, slot, card.ATR())
			}
			remove()
			for _, w := range watches {
				w.expect(pcsc.CardRemoved, slot, card.ATR())
			}
		}
		// There is room for others.
		other := s.context(t)
		require.NoError(t, second(other.ListReaders(t.Context())))
		for _, w := range watches[:many-1] {
			w.close()
		}
		card, remove := s.insert(t)
		watches[many-1].expect(pcsc.CardInserted, slot, card.ATR())
		remove()
	}},
	{"Latency", func(t *testing.T, s *apiSuite) {
		// Against a plain wait, which is the least that is possible.
		c := s.context(t)
		w := s.watch(t, pcsc.WithReaders(s.readers[readerSlot]))
		w.next()
		for range 5 {
			states := s.known(t, c, s.readers[readerSlot])
			noticed := start(func() time.Time {
				require.NoError(t, c.GetStatusChange(t.Context(), states))
				return time.Now()
			})
			came := start(func() time.Time { w.next(); return time.Now() })
			_, remove := s.insert(t)
			late := (await(t, came, "event")).Sub(await(t, noticed, "wait"))
			t.Logf("told %v after a plain wait's end", late)
			require.Less(t, late, time.Second)
			remove()
			w.next()
		}
	}},
	{"EndAnywhere", func(t *testing.T, s *apiSuite) {
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*20)*time.Microsecond)
			opts := []pcsc.WatchOption{}
			for _, o := range s.options {
				opts = append(opts, o)
			}
			var last error
			for _, err := range pcsc.Watch(ctx, opts...) {
				last = err
			}
			require.ErrorIs(t, last, context.DeadlineExceeded)
			cancel()
		}
		for n := range 6 {
			c := s.context(t)
			for range c.Watch(t.Context()) {
				if n--; n < 0 {
					break
				}
			}
		}
	}},
	{"EndsAtOnce", func(t *testing.T, s *apiSuite) {
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			ended := start(func() time.Time {
				for range s.context(t).Watch(ctx) {
				}
				return time.Now()
			})
			requireNotYet(t, ended, "watch")
			begin := time.Now()
			cancel()
			took := requireSoon(t, ended, "watch").Sub(begin)
			t.Logf("ended after %v", took)
			require.Less(t, took, time.Second)
		}
	}},
	{"Close", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		var ended []<-chan error
		for range 5 {
			ended = append(ended, start(func() (last error) {
				for _, err := range c.Watch(context.Background()) {
					last = err
				}
				return last
			}))
		}
		requireNotYet(t, ended[0], "watch")
		require.NoError(t, requireSoon(t, start(c.Close), "Close"))
		for _, done := range ended {
			require.ErrorIs(t, requireSoon(t, done, "watch"), pcsc.ErrCancelled)
		}
	}},
	{"WaitCard", func(t *testing.T, s *apiSuite) {
		c := s.context(t)
		name, atr, err := c.WaitCard(t.Context())
		require.NoError(t, err)
		require.Equal(t, s.readers[readerA], name)
		require.Equal(t, s.a.ATR(), atr)
		slot := s.readers[readerSlot]
		require.NoError(t, c.WaitRemoved(t.Context(), slot))

		found := start(func() string {
			name, atr, err := c.WaitCard(t.Context(), slot, s.readers[readerEmpty])
			return fmt.Sprint(name, atr, err)
		})
		requireNotYet(t, found, "WaitCard")
		card, remove := s.insert(t)
		require.Equal(t, fmt.Sprint(slot, card.ATR(), nil), requireSoon(t, found, "WaitCard"))
		removed := start(func() error { return c.WaitRemoved(t.Context(), slot) })
		requireNotYet(t, removed, "WaitRemoved")
		remove()
		require.NoError(t, requireSoon(t, removed, "WaitRemoved"))
	}},
}
