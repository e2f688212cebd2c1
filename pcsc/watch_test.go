package pcsc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// watchService is the virtual service with hooks. It fails the test when a handle is used that is not open, or twice at
// a time.
type watchService struct {
	*virtual.Service
	t testing.TB

	mu     sync.Mutex
	open   map[winscard.Context]int // calls under way
	counts map[string]int

	// Hooks, which may call next, the service itself. While a watch runs they are set by set.
	establish    func() winscard.Code // before; Success goes on
	listReaders  func() winscard.Code // before; Success goes on
	statusChange func(next func() winscard.Code, timeout uint32, states []winscard.ReaderState) winscard.Code
	cancel       func() bool // false loses it
	release      func()
}

func newWatchService(t testing.TB) *watchService {
	s := &watchService{
		Service: virtual.New(),
		t:       t,
		open:    map[winscard.Context]int{},
		counts:  map[string]int{},
	}
	t.Cleanup(s.requireNothingOpen) // the last of all cleanups
	return s
}

// reader finds the reader whose name begins so.
func (s *watchService) reader(name string) *virtual.Reader {
	for _, r := range s.Readers() {
		if strings.HasPrefix(r.Name(), name) {
			return r
		}
	}
	s.t.Errorf("no reader %s", name)
	return &virtual.Reader{}
}

func (s *watchService) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[name]
}

// set sets hooks while a watch runs.
func (s *watchService) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func get[T any](s *watchService, hook *T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *hook
}

func (s *watchService) enter(name string, h winscard.Context) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[name]++
	n, ok := s.open[h]
	if !ok {
		s.t.Errorf("%s on a context that is not open", name)
	}
	if name == "Cancel" {
		return func() {}
	}
	if n > 0 {
		s.t.Errorf("%s while another call is under way", name)
	}
	s.open[h]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.open[h]; ok {
			s.open[h]--
		}
	}
}

func (s *watchService) EstablishContext(scope uint32) (winscard.Context, winscard.Code) {
	s.mu.Lock()
	s.counts["EstablishContext"]++
	establish := s.establish
	s.mu.Unlock()
	if establish != nil {
		if rc := establish(); rc != winscard.Success {
			return 0, rc
		}
	}
	h, rc := s.Service.EstablishContext(scope)
	if rc == winscard.Success {
		s.mu.Lock()
		s.open[h] = 0
		s.mu.Unlock()
	}
	return h, rc
}

func (s *watchService) ReleaseContext(h winscard.Context) winscard.Code {
	s.enter("ReleaseContext", h)
	if hook := get(s, &s.release); hook != nil {
		hook()
	}
	s.mu.Lock()
	delete(s.open, h)
	s.mu.Unlock()
	return s.Service.ReleaseContext(h)
}

func (s *watchService) ListReaders(h winscard.Context, groups []string, buf []byte) (int, winscard.Code) {
	defer s.enter("ListReaders", h)()
	if hook := get(s, &s.listReaders); hook != nil {
		if rc := hook(); rc != winscard.Success {
			return 0, rc
		}
	}
	return s.Service.ListReaders(h, groups, buf)
}

func (s *watchService) GetStatusChange(h winscard.Context, timeout uint32, states []winscard.ReaderState) winscard.Code {
	name := "wait"
	if timeout == 0 {
		name = "ask"
	}
	defer s.enter(name, h)()
	next := func() winscard.Code { return s.Service.GetStatusChange(h, timeout, states) }
	if hook := get(s, &s.statusChange); hook != nil {
		return hook(next, timeout, states)
	}
	return next()
}

func (s *watchService) Cancel(h winscard.Context) winscard.Code {
	s.enter("Cancel", h)
	if hook := get(s, &s.cancel); hook != nil && !hook() {
		return winscard.Success
	}
	return s.Service.Cancel(h)
}

func (s *watchService) requireNothingOpen() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Empty(s.t, s.open, "native contexts left open")
}

// watch pulls the events of a watch one by one, each after everything that has happened was noticed.
type watch struct {
	t      testing.TB
	next   func() (Event, error, bool)
	stop   func()
	cancel func() // ends the context, if there is one of its own
}

func pull(t testing.TB, seq iter.Seq2[Event, error]) *watch {
	next, stop := iter.Pull2(seq)
	t.Cleanup(stop)
	return &watch{t: t, next: next, stop: stop}
}

// watch begins a watch that ends with the test.
func (s *watchService) watch(opts ...WatchOption) *watch {
	ctx, cancel := context.WithCancel(bg)
	s.t.Cleanup(cancel)
	w := pull(s.t, Watch(ctx, append(opts, WithBackend(s))...))
	w.cancel = cancel
	return w
}

func (w *watch) event() Event {
	w.t.Helper()
	synctest.Wait()
	e, err, ok := w.next()
	require.True(w.t, ok, "the watch has ended")
	require.NoError(w.t, err)
	require.False(w.t, e.Time.IsZero())
	return e
}

// error is the one with which the watch ends.
func (w *watch) error() error {
	w.t.Helper()
	e, err, ok := w.next()
	require.True(w.t, ok, "the watch has ended")
	require.Error(w.t, err)
	require.Equal(w.t, Event{}, e)
	_, _, ok = w.next()
	require.False(w.t, ok, "goes on after an error")
	return err
}

// want requires the next events, as brief makes them.
func (w *watch) want(events ...string) {
	w.t.Helper()
	for i, want := range events {
		require.Equal(w.t, want, brief(w.event()), "event %d of %v", i, events)
	}
}

// quiet requires that nothing comes for d. It ends the watch.
func (w *watch) quiet(d time.Duration) {
	w.t.Helper()
	timer := time.AfterFunc(d, w.cancel)
	defer timer.Stop()
	e, err, _ := w.next()
	require.ErrorIs(w.t, err, context.Canceled, "came: %v", brief(e))
}

// brief is an event in few words: + and - are readers, in and out are cards. Reader names are shortened.
func brief(e Event) string {
	var b strings.Builder
	switch e.Kind {
	case ReaderAdded:
		b.WriteString("+")
	case ReaderRemoved:
		b.WriteString("-")
	case CardInserted:
		b.WriteString("in ")
	case CardRemoved:
		b.WriteString("out ")
	case ServiceDown:
		b.WriteString("down")
	case ServiceUp:
		b.WriteString("up")
	default:
		fmt.Fprint(&b, e.Kind)
	}
	b.WriteString(strings.TrimSuffix(e.Reader, " 00"))
	if e.ATR != nil {
		fmt.Fprintf(&b, " %d", e.ATR[len(e.ATR)-1])
	}
	for _, flag := range []struct {
		is   bool
		name string
	}{{e.Initial, "initial"}, {e.Inferred, "inferred"}, {e.Err != nil, "outage"}} {
		if flag.is {
			b.WriteString(" " + flag.name)
		}
	}
	return b.String()
}

// numbered makes a card whose ATR ends with n.
func numbered(n byte) virtual.Card { return virtual.NewCard([]byte{0x3B, 0x02, 0x00, n}, nil) }

// A start is when something began, and how often SCardCancel had been called by then.
type start struct {
	s       *watchService
	at      time.Time
	cancels int
}

func (s *watchService) start() start { return start{s, time.Now(), s.count("Cancel")} }

// requireTook requires that exactly so much time has passed, and a millisecond more if SCardCancel was repeated: the end
// of a watch that has just been told of something can come right before its next wait is in the service, where the first
// one is lost.
func (b start) requireTook(want time.Duration) {
	b.s.t.Helper()
	if b.s.count("Cancel")-b.cancels > 1 {
		want += cancelFirst
	}
	require.Equal(b.s.t, want, time.Since(b.at))
}

// bubble runs a test in a bubble, where nothing can be left behind.
func bubble(t *testing.T, f func(t *testing.T, s *watchService)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWatchService(t)) })
}

func TestWatchSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A").Insert(numbered(1))
		s.AddReader("B")
		begin := time.Now()
		w := s.watch()
		e := w.event()
		require.Equal(t, Event{Kind: ReaderAdded, Reader: "A 00 00", State: StatePresent, Initial: true, Time: begin}, e)
		e = w.event()
		require.Equal(t, Event{Kind: CardInserted, Reader: "A 00 00", ATR: []byte{0x3B, 0x02, 0x00, 1},
			State: StatePresent, Initial: true, Time: begin}, e)
		e = w.event()
		require.Equal(t, Event{Kind: ReaderAdded, Reader: "B 01 00", State: StateEmpty, Initial: true, Time: begin}, e)
		w.quiet(time.Hour)
	})
}

func TestWatchChanges(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		w := s.watch() // with no reader
		after := func(f func()) { time.AfterFunc(time.Minute, f) }
		at := func() time.Duration { return time.Minute }
		begin := time.Now()
		for _, step := range []struct {
			do   func()
			want []string
		}{
			{func() { s.AddReader("A") }, []string{"+A 00"}},
			{func() { s.reader("A").Insert(numbered(1)) }, []string{"in A 00 1"}},
			{func() { s.reader("A").Remove() }, []string{"out A 00 1"}},
			{func() { s.AddReader("B").Insert(numbered(2)) }, []string{"+B 01", "in B 01 2"}},
			{func() { s.reader("A").Insert(numbered(3)); s.reader("B").Remove() }, []string{"in A 00 3", "out B 01 2"}},
			{func() { s.RemoveReader(s.reader("A")) }, []string{"out A 00 3", "-A 00"}},
			{func() { s.RemoveReader(s.reader("B")) }, []string{"-B 01"}},
			{func() { s.AddReader("C").Insert(numbered(4)) }, []string{"+C 00", "in C 00 4"}},
			{func() { s.reader("C").Insert(virtual.NewCard(nil, nil)) }, []string{"out C 00 4", "in C 00"}}, // mute
			{func() { s.reader("C").Insert(numbered(5)) }, []string{"out C 00", "in C 00 5"}},
		} {
			after(step.do)
			w.want(step.want...)
			require.Equal(t, at(), time.Since(begin), "%v", step.want)
			begin = time.Now()
		}
		w.quiet(time.Hour)
	})
}

func TestWatchStates(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		w := s.watch()
		w.want("+A 00 initial")
		r.Insert(virtual.NewCard(nil, nil))
		e := w.event()
		require.Equal(t, StatePresent|StateMute, e.State)
		require.Nil(t, e.ATR)
		r.Remove()
		require.Equal(t, StateEmpty, w.event().State)
		r.Insert(numbered(1))
		require.Equal(t, StatePresent, w.event().State)
		s.RemoveReader(r)
		require.Equal(t, StateUnknown, w.event().State)
		require.Equal(t, StateUnknown, w.event().State)
		s.Stop()
		require.Zero(t, w.event().State)
	})
}

// What happens while the loop's body is at work is told afterwards, all of it and in order.
func TestWatchSlowConsumer(t *testing.T) {
	for _, before := range []int{0, 1, 7, 65533} { // events before, for the counter wraps around
		bubble(t, func(t *testing.T, s *watchService) {
			r := s.AddReader("A")
			for range before / 2 {
				r.Insert(numbered(1))
				r.Remove()
			}
			if before%2 != 0 {
				r.Insert(numbered(1))
			}
			w := s.watch()
			w.want("+A 00 initial")
			if before%2 == 0 {
				r.Insert(numbered(1))
				w.want("in A 00 1")
			} else {
				w.want("in A 00 1 initial")
			}
			// Pulled and put back.
			r.Remove()
			r.Insert(numbered(1))
			w.want("out A 00 1", "in A 00 1")
			// Another card.
			r.Insert(numbered(2))
			w.want("out A 00 1", "in A 00 2")
			// Others between.
			for i := range 3 {
				r.Insert(numbered(byte(3 + i)))
			}
			w.want("out A 00 2", "in A 00 inferred", "out A 00 inferred", "in A 00 inferred", "out A 00 inferred", "in A 00 5")
			r.Insert(numbered(6))
			r.Remove()
			w.want("out A 00 5", "in A 00 inferred", "out A 00 inferred")
			// A visit.
			r.Insert(numbered(7))
			r.Remove()
			w.want("in A 00 inferred", "out A 00 inferred")
			w.quiet(time.Hour)
		})
	}
}

// However much happens: what has not been told takes no memory.
func TestWatchVerySlowConsumer(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		r.Insert(numbered(1))
		w := s.watch()
		w.want("+A 00 initial", "in A 00 1 initial")
		const swaps = 16000
		for range swaps {
			r.Insert(numbered(2))
		}
		for i := range swaps {
			out, in := w.event(), w.event()
			require.Equal(t, CardRemoved, out.Kind)
			require.Equal(t, CardInserted, in.Kind)
			require.Equal(t, i > 0, out.Inferred)
			require.Equal(t, i < swaps-1, in.Inferred)
		}
		w.quiet(time.Hour)
	})
}

// libpcsclite compares no counter with 0, so the first visit of a card to a reader does not end a wait that begins after
// it.
func TestWatchFirstVisit(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
			if timeout != 0 { // after the look and before the wait
				s.set(func() { s.statusChange = nil })
				r.Insert(numbered(1))
				r.Remove()
			}
			return next()
		}
		w := s.watch()
		begin := time.Now()
		w.want("+A 00 initial")
		w.want("in A 00 inferred", "out A 00 inferred")
		require.LessOrEqual(t, time.Since(begin), sliceFirst)
	})
}

// Before 2.3, libpcsclite takes the number of readers when the wait begins.
func TestWatchReaderBetweenLookAndWait(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		addBeforeWait := func(name string) {
			s.set(func() {
				s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
					if timeout != 0 {
						s.set(func() { s.statusChange = nil })
						s.AddReader(name)
					}
					return next()
				}
			})
		}
		addBeforeWait("A")
		w := s.watch()
		begin := time.Now()
		w.want("+A 00")
		require.LessOrEqual(t, time.Since(begin), sliceFirst)
		time.AfterFunc(time.Minute, func() { // as with a hub whose readers come one after the other
			addBeforeWait("C")
			s.AddReader("B")
		})
		w.want("+B 01")
		begin = time.Now()
		w.want("+C 02")
		require.LessOrEqual(t, time.Since(begin), sliceFirst)
		w.quiet(time.Hour)
	})
}

func TestWatchReadersOnly(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A").Insert(numbered(1))
		b := s.AddReader("B")
		w := s.watch(WithReaders("C 02 00", "B 01 00"))
		w.want("+B 01 initial")
		s.Readers()[0].Remove()
		s.AddReader("C").Insert(numbered(2))
		b.Insert(numbered(3))
		s.AddReader("D")
		w.want("in B 01 3", "+C 02", "in C 02 2")
		w.quiet(time.Hour)
	})
}

func TestWatchWithoutSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		r.Insert(numbered(1))
		w := s.watch(WithoutSnapshot())
		time.AfterFunc(time.Second, func() { r.Insert(numbered(2)) })
		w.want("out A 00 1", "in A 00 2")
		s.Stop()
		w.want("out A 00 2 outage", "-A 00 outage", "down outage")
		s.Start()
		w.want("up", "+A 00 initial", "in A 00 2 initial")
	})
}

// A service that is not there when the watch begins is no part of the snapshot.
func TestWatchWithoutSnapshotAndService(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		s.Stop()
		w := s.watch(WithoutSnapshot())
		w.want("down outage")
		s.Start()
		w.want("up", "+A 00 initial")
	})
}

func TestWatchService(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		s.Stop()
		w := s.watch()
		e := w.event()
		require.Equal(t, ServiceDown, e.Kind)
		requireCode(t, e.Err, opEstablishContext, ErrNoService)
		for i := range 3 {
			time.AfterFunc(time.Hour, func() {
				r.Insert(numbered(byte(i)))
				s.Start()
			})
			begin := time.Now()
			w.want("up", "+A 00 initial", fmt.Sprintf("in A 00 %d initial", i))
			require.Less(t, time.Since(begin), time.Hour+watchBackoffMax)
			time.AfterFunc(time.Hour, s.Stop)
			begin = time.Now()
			w.want(fmt.Sprintf("out A 00 %d outage", i), "-A 00 outage")
			require.Equal(t, time.Hour, time.Since(begin))
			e := w.event()
			require.Equal(t, ServiceDown, e.Kind)
			require.ErrorContains(t, e.Err, "SCardGetStatusChange")
		}
	})
}

// A short outage is told too, though the service is back before the watch has noticed.
func TestWatchRestartBetween(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		r.Insert(numbered(1))
		w := s.watch()
		w.want("+A 00 initial", "in A 00 1 initial")
		s.Stop()
		r.Insert(numbered(2))
		s.Start()
		begin := time.Now()
		w.want("out A 00 1 outage", "-A 00 outage", "down outage", "up", "+A 00 initial", "in A 00 2 initial")
		require.LessOrEqual(t, time.Since(begin), watchBackoffMin)
	})
}

func TestWatchBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.Stop()
		var tries []time.Duration
		begin := time.Now()
		s.establish = func() winscard.Code {
			tries = append(tries, time.Since(begin))
			begin = time.Now()
			return winscard.Success
		}
		w := s.watch(WithBackoff(100*time.Millisecond, 3*time.Second))
		w.want("down outage")
		time.AfterFunc(time.Minute, func() { s.Start() })
		w.want("up")
		longest := 100 * time.Millisecond
		for i, d := range tries[1 : len(tries)-1] {
			require.LessOrEqual(t, d, longest, "try %d", i)
			require.GreaterOrEqual(t, d, longest*3/4, "try %d", i)
			longest = min(2*longest, 3*time.Second)
		}
		require.Greater(t, len(tries), 20)
		require.Less(t, len(tries), 60)

		// After an hour of service the pauses are short again, after a moment they are not.
		for _, up := range []time.Duration{time.Hour, time.Millisecond} {
			time.AfterFunc(up, s.Stop)
			w.want("down outage")
			s.Start()
			begin := time.Now()
			w.want("up")
			if up == time.Hour {
				require.LessOrEqual(t, time.Since(begin), 100*time.Millisecond)
			} else {
				require.Greater(t, time.Since(begin), 50*time.Millisecond)
			}
		}
	})
}

// Whatever a service answers that is on its way out, the watch comes back.
func TestWatchOutageCodes(t *testing.T) {
	codes := []Code{ErrNoService, ErrServiceStopped, ErrInvalidHandle, ErrCommError, ErrShutdown, ErrSystemCancelled,
		ErrNoMemory, ErrInternalError, ErrServerTooBusy, ErrReaderUnavailable,
		ErrSecurityViolation, 6 /* ERROR_INVALID_HANDLE */, 109 /* ERROR_BROKEN_PIPE */, 1722 /* RPC_S_SERVER_UNAVAILABLE */, 0x12345678}
	for _, code := range codes {
		for _, where := range []string{"establish", "probe", "list", "ask", "wait"} {
			if code == ErrReaderUnavailable && where != "list" && where != "establish" {
				continue // there it means a reader
			}
			bubble(t, func(t *testing.T, s *watchService) {
				s.AddReader("A")
				var failing atomic.Bool
				failing.Store(true)
				fail := func(here bool) winscard.Code {
					if failing.Load() && here {
						return code
					}
					return winscard.Success
				}
				s.establish = func() winscard.Code { return fail(where == "establish") }
				s.listReaders = func() winscard.Code { return fail(where == "list") }
				s.statusChange = func(next func() winscard.Code, timeout uint32, states []winscard.ReaderState) winscard.Code {
					at := "ask"
					if timeout != 0 {
						at = "wait"
					} else if states[0].Reader == PnPNotification {
						at = "probe"
					}
					if rc := fail(where == at); rc != winscard.Success {
						return rc
					}
					return next()
				}
				w := s.watch()
				if where == "wait" {
					w.want("+A 00 initial", "-A 00 outage")
				}
				e := w.event()
				require.Equal(t, ServiceDown, e.Kind)
				require.ErrorIs(t, e.Err, code)
				failing.Store(false)
				w.want("up", "+A 00 initial")
				w.quiet(time.Hour)
			})
		}
	}
}

// A service that fails right after each start is not asked all the time.
func TestWatchFlapping(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
			if timeout != 0 {
				return winscard.ErrNoService
			}
			return next()
		}
		w := s.watch()
		begin := time.Now()
		for time.Since(begin) < time.Minute {
			w.want("down outage", "up")
		}
		require.Less(t, s.count("EstablishContext"), 130)
	})
}

func TestWatchFatal(t *testing.T) {
	for _, code := range []Code{ErrNoAccess, ErrUnavailable, ErrUnsupportedFunction, ErrInvalidValue} {
		bubble(t, func(t *testing.T, s *watchService) {
			s.establish = func() winscard.Code { return code }
			requireCode(t, s.watch().error(), opEstablishContext, code)
		})
	}
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		s.listReaders = func() winscard.Code { return winscard.ErrUnsupportedFunction }
		requireCode(t, s.watch().error(), opListReaders, ErrUnsupportedFunction)
	})
	requireCode(t, pull(t, Watch(bg, WithBackend(winscard.Unimplemented{}))).error(), opEstablishContext,
		ErrUnsupportedFunction)
	requireCode(t, pull(t, Watch(bg, WithBackend(nil))).error(), opEstablishContext, ErrInvalidParameter)
	requireCode(t, pull(t, Watch(bg, WithLibrary("./x"))).error(), opEstablishContext, ErrInvalidParameter)
	var none context.Context
	requireCode(t, pull(t, Watch(none)).error(), opEstablishContext, ErrInvalidParameter)
	require.ErrorIs(t, pull(t, Watch(endedContext())).error(), context.Canceled)
	requireCode(t, pull(t, Watch(bg, WithBackend(virtual.New()), WithReaders("A\x00"))).error(), opGetStatusChange,
		ErrInvalidParameter)
	requireCode(t, pull(t, Watch(bg, WithBackend(virtual.New()), WithReaders(""))).error(), opGetStatusChange,
		ErrUnknownReader)
	requireCode(t, pull(t, Watch(bg, WithBackend(virtual.New()), WithScope(77))).error(), opEstablishContext,
		ErrInvalidValue)
}

// Ways in which libraries say that they do not know the pseudo reader.
var noPnP = map[string]func(state *winscard.ReaderState) winscard.Code{
	"unknown reader": func(*winscard.ReaderState) winscard.Code { return winscard.ErrUnknownReader },
	"untouched":      func(*winscard.ReaderState) winscard.Code { return winscard.ErrTimeout },
	"unknown state": func(s *winscard.ReaderState) winscard.Code {
		s.EventState = uint32(winscard.StateUnknown | winscard.StateChanged)
		return winscard.Success
	},
	"invalid":     func(*winscard.ReaderState) winscard.Code { return winscard.ErrInvalidValue },
	"unsupported": func(*winscard.ReaderState) winscard.Code { return winscard.ErrUnsupportedFeature },
}

// refusePnP makes the service refuse the pseudo reader, alone or among others.
func (s *watchService) refusePnP(how func(*winscard.ReaderState) winscard.Code) {
	s.statusChange = func(next func() winscard.Code, _ uint32, states []winscard.ReaderState) winscard.Code {
		for i := range states {
			if states[i].Reader == PnPNotification {
				if len(states) > 1 {
					s.t.Error("waits for the pseudo reader though it was refused")
				}
				return how(&states[i])
			}
		}
		return next()
	}
}

func TestWatchWithoutPnP(t *testing.T) {
	for name, how := range noPnP {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watchService) {
				s.refusePnP(how)
				w := s.watch(WithPollInterval(3 * time.Second))
				soon := func(want ...string) {
					t.Helper()
					begin := time.Now()
					w.want(want...)
					require.LessOrEqual(t, time.Since(begin), 4*time.Second)
				}
				time.AfterFunc(time.Second, func() { s.AddReader("A") })
				soon("+A 00")
				begin := time.Now()
				time.AfterFunc(time.Second, func() { s.reader("A").Insert(numbered(1)) })
				w.want("in A 00 1")
				require.Equal(t, time.Second, time.Since(begin), "cards are not polled for")
				time.AfterFunc(time.Second, func() { s.AddReader("B") })
				soon("+B 01")
				begin = time.Now()
				time.AfterFunc(time.Second, func() { s.RemoveReader(s.reader("B")) })
				w.want("-B 01")
				require.Equal(t, time.Second, time.Since(begin), "nor are readers that go")
				s.Stop()
				w.want("out A 00 1 outage", "-A 00 outage", "down outage")
				s.RemoveReader(s.reader("A"))
				s.Start()
				w.want("up")
				before := s.count("ListReaders")
				w.quiet(time.Minute)
				require.LessOrEqual(t, s.count("ListReaders")-before, 22)
			})
		})
	}
}

// countReaders makes the pseudo reader what it is on Windows: the number of readers is in the upper 16 bits of its state,
// and the wait ends at once if the caller believes in another number. token makes a count of readers.
func (s *watchService) countReaders(token func(n int) int) {
	s.statusChange = func(next func() winscard.Code, timeout uint32, states []winscard.ReaderState) winscard.Code {
		i := slices.IndexFunc(states, func(s winscard.ReaderState) bool { return s.Reader == PnPNotification })
		if i < 0 {
			return next()
		}
		saved := states[i].CurrentState
		n := token(len(s.Readers()))
		if int(saved>>16) != n {
			states[i].EventState = uint32(winscard.StateChanged) | uint32(n)<<16
			return winscard.Success
		}
		rc := next()
		states[i].EventState = states[i].EventState&0xFFFF | uint32(token(len(s.Readers())))<<16
		return rc
	}
}

func TestWatchCountedReaders(t *testing.T) {
	for name, token := range map[string]func(int) int{
		"Windows":            func(n int) int { return n },
		"other users' too":   func(n int) int { return n + 2 },
		"comings and goings": func(n int) int { return 10 - n },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watchService) {
				s.countReaders(token)
				s.AddReader("A")
				w := s.watch()
				w.want("+A 00 initial")
				// Between look and wait: known from the number.
				var added time.Time
				s.set(func() {
					inner := s.statusChange
					s.statusChange = func(next func() winscard.Code, timeout uint32, states []winscard.ReaderState) winscard.Code {
						if timeout != 0 {
							s.set(func() { s.statusChange = inner })
							s.AddReader("B")
							added = time.Now()
						}
						return inner(next, timeout, states)
					}
				})
				w.want("+B 01")
				require.Equal(t, added, time.Now())
				time.AfterFunc(time.Hour, func() { s.AddReader("C") })
				before := s.count("wait")
				w.want("+C 02")
				require.Less(t, s.count("wait")-before, 400, "an hour in slices of 10 seconds")
			})
		})
	}
}

// wine's GetStatusChange ignores what the caller knows and returns at once. The watch works, and does not spin.
func TestWatchThatDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.statusChange = func(next func() winscard.Code, timeout uint32, states []winscard.ReaderState) winscard.Code {
			if timeout == 0 {
				return next()
			}
			for i := range states {
				states[i].EventState |= uint32(winscard.StateChanged)
			}
			return winscard.Success
		}
		r := s.AddReader("A")
		w := s.watch()
		w.want("+A 00 initial")
		time.AfterFunc(time.Hour, func() { r.Insert(numbered(1)) })
		begin := time.Now()
		w.want("in A 00 1")
		require.LessOrEqual(t, time.Since(begin), time.Hour+idlePauseMax)
		require.Less(t, s.count("wait"), 3600*6)
	})
}

// Another program that connects over and over ends each wait, but tells nothing. The watch stays calm.
func TestWatchBusyReader(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		r.Insert(numbered(1))
		w := s.watch()
		w.want("+A 00 initial", "in A 00 1 initial")
		stop := make(chan struct{})
		var other sync.WaitGroup
		other.Go(func() {
			h, _ := s.Service.EstablishContext(uint32(ScopeSystem))
			defer s.Service.ReleaseContext(h)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				card, _, rc := s.Connect(h, r.Name(), uint32(ShareShared), uint32(ProtocolAny))
				if rc == winscard.Success {
					time.Sleep(time.Millisecond)
					s.Disconnect(card, uint32(LeaveCard))
				}
			}
		})
		before := s.count("wait")
		time.AfterFunc(time.Minute, func() { r.Insert(numbered(2)) })
		begin := time.Now()
		w.want("out A 00 1", "in A 00 2")
		require.LessOrEqual(t, time.Since(begin), time.Minute+idlePauseMax)
		require.Less(t, s.count("wait")-before, 400)
		close(stop)
		other.Wait()
	})
}

// Readers that go between the list and what follows.
func TestWatchReaderGoes(t *testing.T) {
	for _, at := range []string{"ask", "wait"} {
		bubble(t, func(t *testing.T, s *watchService) {
			a := s.AddReader("A")
			b := s.AddReader("B")
			b.Insert(numbered(1))
			w := s.watch()
			w.want("+A 00 initial", "+B 01 initial", "in B 01 1 initial")
			s.set(func() {
				s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
					if (timeout == 0) == (at == "ask") {
						s.set(func() { s.statusChange = nil })
						s.RemoveReader(a)
					}
					return next()
				}
			})
			b.Remove()
			begin := time.Now()
			w.want("-A 00", "out B 01 1")
			require.Zero(t, time.Since(begin))
			w.quiet(time.Hour)
		})
	}
}

// A reader that is listed but unknown to the rest of the service, for ever.
func TestWatchPhantom(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		s.AddReader("B")
		s.statusChange = func(next func() winscard.Code, _ uint32, states []winscard.ReaderState) winscard.Code {
			for _, st := range states {
				if st.Reader == "A 00 00" {
					return winscard.ErrUnknownReader
				}
			}
			return next()
		}
		w := s.watch()
		w.want("+B 01 initial")
		w.quiet(time.Hour)
		require.Less(t, s.count("ask"), 5*400)
	})
}

// As many readers as fit into a call, the pseudo reader not included.
func TestWatchManyReaders(t *testing.T) {
	for _, limit := range []int{winscard.MaxReaders, 12, queryStates} {
		bubble(t, func(t *testing.T, s *watchService) {
			s.statusChange = func(next func() winscard.Code, timeout uint32, states []winscard.ReaderState) winscard.Code {
				if len(states) > limit {
					return winscard.ErrInvalidParameter
				}
				return next()
			}
			w := s.watch()
			for i := range winscard.MaxReaders {
				time.AfterFunc(time.Second, func() { s.AddReader("A") })
				w.want(fmt.Sprintf("+A %02X", i))
				time.AfterFunc(time.Second, func() { s.Readers()[i].Insert(numbered(byte(i))) })
				begin := time.Now()
				w.want(fmt.Sprintf("in A %02X %d", i, i))
				if limit == winscard.MaxReaders {
					require.Equal(t, time.Second, time.Since(begin), "not polled for")
				}
			}
			before := s.count("wait")
			time.AfterFunc(time.Hour, func() { s.Readers()[5].Insert(numbered(5)) })
			w.want("out A 05 5", "in A 05 5")
			require.LessOrEqual(t, s.count("wait")-before, int(time.Hour/watchPoll)+20)
			for i, r := range s.Readers() {
				begin := time.Now()
				s.RemoveReader(r)
				w.want(fmt.Sprintf("out A %02X %d", i, i), fmt.Sprintf("-A %02X", i))
				require.LessOrEqual(t, time.Since(begin), watchPoll)
			}
			w.quiet(time.Hour)
		})
	}
}

// A reader that does not answer has no counter either.
func TestWatchUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		r.Insert(numbered(1))
		var broken atomic.Bool
		s.statusChange = func(next func() winscard.Code, _ uint32, states []winscard.ReaderState) winscard.Code {
			rc := next()
			if broken.Load() && states[0].Reader != PnPNotification {
				states[0].EventState = uint32(winscard.StateUnavailable | winscard.StateChanged)
				states[0].ATRLen = 0
			}
			return rc
		}
		w := s.watch()
		w.want("+A 00 initial", "in A 00 1 initial")
		broken.Store(true)
		e := w.event()
		require.Equal(t, "out A 00 1", brief(e))
		require.Equal(t, StateUnavailable, e.State)
		broken.Store(false)
		w.want("in A 00 1")
		r.Insert(numbered(2))
		w.want("out A 00 1", "in A 00 2")
		w.quiet(time.Hour)
	})
}

// Without counters only what is seen is told, and another ATR is another card.
func TestWatchWithoutCounters(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.statusChange = func(next func() winscard.Code, _ uint32, states []winscard.ReaderState) winscard.Code {
			rc := next()
			for i := range states {
				states[i].EventState &= 0xFFFF
			}
			return rc
		}
		r := s.AddReader("A")
		w := s.watch()
		w.want("+A 00 initial")
		for i := range byte(5) {
			r.Insert(numbered(i))
			w.want(fmt.Sprintf("in A 00 %d", i))
			r.Insert(numbered(i + 100))
			w.want(fmt.Sprintf("out A 00 %d", i), fmt.Sprintf("in A 00 %d", i+100))
			r.Remove()
			w.want(fmt.Sprintf("out A 00 %d", i+100))
		}
		w.quiet(time.Hour)
	})
}

// A reader that was unplugged and plugged in again while nobody looked has counted anew.
func TestWatchOtherReaderOfThatName(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		for i := range byte(4) {
			r.Insert(numbered(i))
		}
		var offset atomic.Uint32
		s.statusChange = func(next func() winscard.Code, _ uint32, states []winscard.ReaderState) winscard.Code {
			rc := next()
			for i := range states {
				states[i].EventState -= offset.Load() << 16
			}
			return rc
		}
		w := s.watch()
		w.want("+A 00 initial", "in A 00 3 initial")
		offset.Store(5)
		w.want("out A 00 3", "-A 00", "+A 00", "in A 00 3")
		w.quiet(time.Hour)
	})
}

// A reader that comes back before it is missed.
func TestWatchReplugged(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		a := s.AddReader("A")
		w := s.watch()
		w.want("+A 00 initial")
		s.set(func() {
			s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
				if timeout == 0 {
					return next()
				}
				time.AfterFunc(time.Millisecond, func() { s.RemoveReader(a) })
				rc := next()
				s.AddReader("A").Insert(numbered(1))
				s.set(func() { s.statusChange = nil })
				return rc
			}
		})
		w.want("-A 00", "+A 00", "in A 00 1")
		w.quiet(time.Hour)
	})
}

func TestEventCounter(t *testing.T) {
	now := time.Now()
	type reading struct {
		read    uint16
		changed bool
		want    int
	}
	for _, test := range []struct {
		name     string
		readings []reading // the first one is only read
	}{
		{"nothing", []reading{{read: 5}, {5, false, 0}, {5, false, 0}}},
		{"one by one", []reading{{read: 5}, {6, true, 1}, {7, true, 1}, {8, true, 1}}},
		{"several", []reading{{read: 5}, {7, false, 2}, {10, true, 3}, {110, false, 100}}},
		{"wraps", []reading{{read: 65534}, {65535, true, 1}, {0, true, 1}, {2, false, 2}}},
		{"wraps at once", []reading{{read: 65534}, {1, true, 3}}},
		{"state first", []reading{{read: 5}, {5, true, 1}, {6, false, 0}, {7, true, 1}}},
		{"state first, then several", []reading{{read: 5}, {5, true, 1}, {8, false, 2}, {8, false, 0}}},
		{"several, then state first", []reading{{read: 5}, {6, true, 1}, {8, true, 3}, {9, false, 0}, {10, true, 1}}},
		{"first reading was ahead", []reading{{read: 5}, {6, false, 0}, {7, true, 1}}},
		{"first reading was ahead, then one", []reading{{read: 5}, {7, true, 1}, {8, true, 1}}},
		{"only the first can be", []reading{{read: 5}, {6, false, 0}, {7, false, 2}, {8, false, 0}}},
		{"at 65535", []reading{{read: 65535}, {65535, true, 1}, {0, false, 0}, {1, true, 1}}},
		{"does not count", []reading{{}, {0, true, 1}, {0, false, 0}, {0, true, 1}, {0, true, 1}, {0, true, 1}}},
		{"went back", []reading{{read: 5}, {4, false, -1}}},
		{"went back and changed", []reading{{read: 5}, {2, true, -1}}},
		{"went back when ahead", []reading{{read: 5}, {5, true, 1}, {2, true, -1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c eventCounter
			c.start(test.readings[0].read, now)
			for i, r := range test.readings[1:] {
				require.Equal(t, r.want, c.advance(r.read, r.changed, now), "reading %d", i+1)
			}
		})
	}
	var c eventCounter
	c.start(5, now)
	require.Equal(t, 2, c.advance(6, false, now.Add(settleTime)), "too late for the first reading")
}

// Readings at any moment, also between the service's two writes, lose nothing.
func TestEventCounterRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var (
			c       eventCounter
			count   = uint16(random.Uint32())
			present bool
			late    bool // the state is written, the counter is not
			now     = time.Now()
			known   bool
		)
		events, told := 0, 0
		c.start(count, now)
		for range 100 {
			now = now.Add(time.Millisecond)
			for range random.IntN(4) {
				if late {
					count++
					late = false
				}
				present = !present
				events++
				count++
			}
			if random.IntN(4) == 0 && !late {
				present = !present
				events++
				late = true
			} else if late && random.IntN(2) == 0 {
				count++
				late = false
			}
			n := c.advance(count, present != known, now)
			require.GreaterOrEqual(t, n, 0)
			require.Equal(t, present != known, n%2 != 0)
			known = present
			told += n
			require.LessOrEqual(t, told, events)
			// What a reading between the two writes does not show, the next one does.
			require.LessOrEqual(t, events-told, 2)
		}
		if late {
			count++
		}
		require.Equal(t, events, told+c.advance(count, false, now.Add(time.Hour)))
	}
}

// Leaving the loop at any event leaves nothing behind.
func TestWatchBreak(t *testing.T) {
	for n := range 8 {
		bubble(t, func(t *testing.T, s *watchService) {
			r := s.AddReader("A")
			s.AddReader("B").Insert(numbered(1))
			time.AfterFunc(time.Second, func() { r.Insert(numbered(2)) })
			time.AfterFunc(2*time.Second, s.Stop)
			for range Watch(cancellable(t), WithBackend(s)) {
				if n--; n < 0 {
					break
				}
			}
			s.requireNothingOpen()
		})
	}
}

func TestWatchPanic(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		require.Panics(t, func() {
			for range Watch(bg, WithBackend(s)) {
				panic("in the body")
			}
		})
		s.requireNothingOpen()
	})
}

// The context ends while the watch waits.
func TestWatchEndsWithContext(t *testing.T) {
	for _, lost := range []int{0, 1, 5} {
		bubble(t, func(t *testing.T, s *watchService) {
			s.AddReader("A")
			s.cancel = func() bool { lost--; return lost < 0 }
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("enough")
			w := pull(t, Watch(ctx, WithBackend(s)))
			w.want("+A 00 initial")
			time.AfterFunc(time.Hour, func() { cancel(reason) })
			begin := time.Now()
			err := w.error()
			requireCode(t, err, opGetStatusChange, ErrCancelled)
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, reason)
			require.Less(t, time.Since(begin), time.Hour+100*time.Millisecond)
			s.requireNothingOpen()
		})
	}
}

// The context ends while the service is down, while there is nothing to wait for, and between two events.
func TestWatchEndsAnywhere(t *testing.T) {
	end := func(w *watch, s *watchService, begin time.Time) {
		require.ErrorIs(w.t, w.error(), context.DeadlineExceeded)
		require.Equal(w.t, time.Hour, time.Since(begin))
		s.requireNothingOpen()
	}
	bubble(t, func(t *testing.T, s *watchService) {
		s.Stop()
		ctx, cancel := context.WithTimeout(bg, time.Hour)
		defer cancel()
		begin := time.Now()
		w := pull(t, Watch(ctx, WithBackend(s)))
		w.want("down outage")
		end(w, s, begin)
	})
	bubble(t, func(t *testing.T, s *watchService) {
		s.refusePnP(noPnP["unknown reader"])
		ctx, cancel := context.WithTimeout(bg, time.Hour)
		defer cancel()
		begin := time.Now()
		end(pull(t, Watch(ctx, WithBackend(s))), s, begin)
	})
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A").Insert(numbered(1))
		ctx, cancel := context.WithTimeout(bg, time.Hour)
		defer cancel()
		begin := time.Now()
		w := pull(t, Watch(ctx, WithBackend(s)))
		w.want("+A 00 initial")
		time.Sleep(time.Hour)
		synctest.Wait()
		end(w, s, begin)
	})
}

// A service that hangs holds the loop for a second, and then a goroutine until it goes on.
func TestWatchHangingService(t *testing.T) {
	for _, where := range []string{"establish", "list", "ask", "wait", "release"} {
		bubble(t, func(t *testing.T, s *watchService) {
			g := newGate()
			hang := func(here bool) {
				if here {
					g.pass()
				}
			}
			s.AddReader("A")
			s.establish = func() winscard.Code { hang(where == "establish"); return winscard.Success }
			s.listReaders = func() winscard.Code { hang(where == "list"); return winscard.Success }
			s.release = func() { hang(where == "release") }
			s.statusChange = func(next func() winscard.Code, timeout uint32, _ []winscard.ReaderState) winscard.Code {
				hang(where == "ask" && timeout == 0 || where == "wait" && timeout != 0)
				return next()
			}
			ctx, cancel := context.WithTimeout(bg, time.Hour)
			defer cancel()
			begin := time.Now()
			for _, err := range Watch(ctx, WithBackend(s)) {
				if err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
			}
			require.LessOrEqual(t, time.Since(begin), time.Hour+cancelPatience+cancelLast)
			close(g.open)
			time.Sleep(time.Minute)
			s.requireNothingOpen()
		})
	}
}

func (s *watchService) context() *Context {
	c, err := EstablishContext(ScopeSystem, WithBackend(s))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestContextWatch(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		r := s.AddReader("A")
		c := s.context()
		seq := c.Watch(t.Context(), WithReaders("A 00 00"), nil, Option(nil))
		// Any number of iterations, one after the other and at once.
		for range 3 {
			for e, err := range seq {
				require.NoError(t, err)
				require.Equal(t, "+A 00 initial", brief(e))
				break
			}
		}
		var watches []*watch
		for range 50 {
			watches = append(watches, pull(t, seq))
		}
		for _, w := range watches {
			w.want("+A 00 initial")
		}
		for i := range byte(5) {
			r.Insert(numbered(i))
			for _, w := range watches {
				w.want(fmt.Sprintf("in A 00 %d", i))
			}
			r.Remove()
			for _, w := range watches {
				w.want(fmt.Sprintf("out A 00 %d", i))
			}
		}
		// The context's own connection dies with the service. The watches come back.
		s.Stop()
		s.Start()
		for _, w := range watches {
			w.want("-A 00 outage", "down outage", "up", "+A 00 initial")
			w.stop()
		}
		for e, err := range c.Watch(bg) { // with a context that can't end
			require.NoError(t, err)
			require.Equal(t, "+A 00 initial", brief(e))
			break
		}
	})
}

func TestContextWatchEnds(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		c := s.context()
		// In a wait.
		for _, end := range []func() error{c.Cancel, c.Close} {
			w := pull(t, c.Watch(bg))
			w.want("+A 00 initial")
			time.AfterFunc(time.Hour, func() { require.NoError(t, end()) })
			begin := time.Now()
			err := w.error()
			requireCode(t, err, opGetStatusChange, ErrCancelled)
			require.NotErrorIs(t, err, context.Canceled)
			require.Less(t, time.Since(begin), time.Hour+100*time.Millisecond)
		}
		require.Empty(t, c.s.waits)
		requireCode(t, pull(t, c.Watch(bg)).error(), opGetStatusChange, ErrInvalidHandle)
	})
	bubble(t, func(t *testing.T, s *watchService) {
		s.AddReader("A")
		c := s.context()
		// In the body.
		begin := s.start()
		var last error
		for _, err := range c.Watch(bg) {
			if last = err; err == nil {
				require.NoError(t, c.Close())
			}
		}
		requireCode(t, last, opGetStatusChange, ErrInvalidHandle)
		begin.requireTook(0)
	})
	bubble(t, func(t *testing.T, s *watchService) {
		c := s.context()
		w := pull(t, c.Watch(bg))
		s.Stop()
		w.want("down outage")
		time.AfterFunc(time.Hour, func() { _ = c.Close() })
		requireCode(t, w.error(), opGetStatusChange, ErrCancelled)
	})
	var none *Context
	requireCode(t, pull(t, none.Watch(bg)).error(), opGetStatusChange, ErrInvalidHandle)
	c := newWatchService(t).context()
	var noContext context.Context
	requireCode(t, pull(t, c.Watch(noContext)).error(), opGetStatusChange, ErrInvalidParameter)
	require.ErrorIs(t, pull(t, c.Watch(endedContext())).error(), context.Canceled)
	for _, opt := range []Option{WithBackend(nil), WithLibrary("/lib/x.so")} {
		requireCode(t, pull(t, c.Watch(bg, opt)).error(), opEstablishContext, ErrInvalidParameter)
	}
}

func TestWaitCard(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		a := s.AddReader("A")
		b := s.AddReader("B")
		c := s.context()
		wait := func(want string, readers ...string) {
			t.Helper()
			name, atr, err := c.WaitCard(t.Context(), readers...)
			require.NoError(t, err)
			require.Equal(t, want, name+fmt.Sprint(atr))
		}
		b.Insert(numbered(1))
		wait("B 01 00[59 2 0 1]")
		wait("B 01 00[59 2 0 1]", "A 00 00", "B 01 00")
		a.Insert(virtual.NewCard(nil, nil))
		wait("A 00 00[]")
		begin := s.start()
		time.AfterFunc(time.Hour, func() { s.AddReader("C").Insert(numbered(2)) })
		wait("C 02 00[59 2 0 2]", "C 02 00")
		begin.requireTook(time.Hour)
		// Nor need the service be there.
		s.Stop()
		time.AfterFunc(time.Hour, s.Start)
		wait("C 02 00[59 2 0 2]", "C 02 00")

		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		require.ErrorIs(t, third(c.WaitCard(ctx, "D")), context.DeadlineExceeded)
		requireCode(t, third(c.WaitCard(bg, "D\x00")), opGetStatusChange, ErrInvalidParameter)
		requireCode(t, third(c.WaitCard(bg, "")), opGetStatusChange, ErrUnknownReader)
		requireCode(t, third(c.WaitCard(bg, "A 00 00", "")), opGetStatusChange, ErrUnknownReader)
		requireCode(t, c.WaitRemoved(bg, ""), opGetStatusChange, ErrUnknownReader)
		_ = c.Close() // the service that it knew is gone
		requireCode(t, third(c.WaitCard(bg)), opGetStatusChange, ErrInvalidHandle)
	})
}

func third[A, B any](_ A, _ B, err error) error { return err }

func TestWaitRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, s *watchService) {
		a := s.AddReader("A")
		c := s.context()
		begin := s.start()
		require.NoError(t, c.WaitRemoved(t.Context(), "A 00 00"), "no card")
		begin.requireTook(0)
		begin = s.start()
		require.NoError(t, c.WaitRemoved(t.Context(), "B"), "no reader")
		begin.requireTook(0)

		a.Insert(numbered(1))
		for _, end := range []func(){
			a.Remove,
			func() { a.Insert(numbered(1)) },
			func() { s.RemoveReader(a) },
		} {
			a.Insert(numbered(1))
			begin := s.start()
			time.AfterFunc(time.Hour, end)
			require.NoError(t, c.WaitRemoved(t.Context(), "A 00 00"))
			begin.requireTook(time.Hour)
		}
		s.AddReader("A").Insert(numbered(2))
		time.AfterFunc(time.Hour, s.Stop)
		var e *Error
		require.ErrorAs(t, c.WaitRemoved(t.Context(), "A 00 00"), &e)
		require.Contains(t, []Code{ErrNoService, ErrCommError}, e.Code)
		require.ErrorIs(t, c.WaitRemoved(t.Context(), "A 00 00"), ErrNoService)
		s.Start()
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		require.ErrorIs(t, c.WaitRemoved(ctx, "A 00 00"), context.DeadlineExceeded)
		_ = c.Close() // the service that it knew is gone
		requireCode(t, c.WaitRemoved(bg, "A 00 00"), opGetStatusChange, ErrInvalidHandle)
	})
}

// A quiet watch makes few calls.
func TestWatchIdleCalls(t *testing.T) {
	for name, set := range map[string]struct {
		up   func(s *watchService)
		most int
	}{
		"up":     {func(s *watchService) { s.AddReader("A").Insert(numbered(1)) }, 40},
		"no PnP": {func(s *watchService) { s.refusePnP(noPnP["untouched"]) }, 2 * 35},
		"down":   {func(s *watchService) { s.Stop() }, 70},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *watchService) {
				set.up(s)
				ctx, cancel := context.WithTimeout(bg, 30*time.Second)
				defer cancel()
				for range Watch(ctx, WithBackend(s)) {
				}
				total := 0
				for _, n := range s.counts {
					total += n
				}
				require.Less(t, total, set.most, "%v", s.counts)
				require.LessOrEqual(t, s.counts["ask"], 2, "the waits' answers do")
			})
		})
	}
}

// Watches that come and go while everything changes, for the race detector.
func TestWatchStorm(t *testing.T) {
	s := newWatchService(t)
	c := s.context()
	stop := make(chan struct{})
	var changing, watching sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			r := s.AddReader("A")
			r.Insert(numbered(byte(i)))
			time.Sleep(time.Millisecond)
			r.Insert(numbered(byte(i)))
			if i%20 == 0 {
				s.Stop()
				s.Start()
			}
			s.RemoveReader(r)
		}
	})
	for i := range 8 {
		watching.Go(func() {
			for j := range 40 {
				ctx, cancel := context.WithTimeout(bg, time.Duration(i*j)*100*time.Microsecond)
				n := 0
				for range c.Watch(ctx) {
					if n++; n == 10+j {
						break
					}
				}
				cancel()
			}
		})
	}
	watching.Wait()
	close(stop)
	changing.Wait()
	_ = c.Close()
	// A watch does not wait for ever for its end.
	require.Eventually(t, func() bool { return s.running() == 0 }, patience, time.Millisecond)
}

func TestEventString(t *testing.T) {
	for _, test := range []struct {
		event Event
		want  string
	}{
		{Event{Kind: ReaderAdded, Reader: "A"}, `reader added "A"`},
		{Event{Kind: ReaderRemoved, Reader: "A"}, `reader removed "A"`},
		{Event{Kind: CardInserted, Reader: "A", ATR: []byte{0x3B, 0}}, `card inserted "A" 3B 00`},
		{Event{Kind: CardRemoved, Reader: "A", Err: errors.New("why")}, `card removed "A": why`},
		{Event{Kind: ServiceDown, Err: errors.New("why")}, "service down: why"},
		{Event{Kind: ServiceUp}, "service up"},
		{Event{}, "EventKind(0)"},
	} {
		require.Equal(t, test.want, test.event.String())
	}
}

func TestWatchOptions(t *testing.T) {
	o := newWatchOptions([]WatchOption{WithBackoff(time.Minute, time.Second), WithPollInterval(time.Hour)})
	require.Equal(t, time.Minute, o.backoffMin)
	require.Equal(t, time.Minute, o.backoffMax)
	require.Equal(t, time.Hour, o.poll)
	o = newWatchOptions([]WatchOption{WithBackoff(0, -1), WithPollInterval(0)})
	require.Equal(t, watchBackoffMin, o.backoffMin)
	require.Equal(t, watchBackoffMax, o.backoffMax)
	require.Equal(t, watchPoll, o.poll)
}
