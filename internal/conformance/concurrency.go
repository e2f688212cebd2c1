package conformance

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// pressure collects garbage without a break until it is stopped.
//
// On arm a timer ticks meanwhile. Under qemu-arm the runtime of Go 1.26 was seen to leave goroutines alone that could run, from a
// collection on and with a call into C under way, until the next timer was due: 40 seconds in a test that had no other.
func pressure() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	if runtime.GOARCH == "arm" {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-quit:
					return
				case <-tick.C:
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				runtime.GC()
			}
		}
	})
	return sync.OnceFunc(func() { close(quit); wg.Wait() })
}

// deepen calls f with n more frames of about 100 bytes on the stack. In a fresh
// goroutine, some n makes the stack grow at any given place of the call, and
// all pointers into it move.
//
//go:noinline
func deepen(n int, f func()) byte {
	var pad [64]byte
	pad[n%len(pad)] = byte(n)
	if n == 0 {
		f()
		return 0
	}
	return deepen(n-1, f) + pad[(n+1)%len(pad)]
}

// clone makes a string that only its user refers to.
func clone(s string) string { return strings.Clone(s) }

// A failure list collects what goes wrong in goroutines, which must not end
// the test themselves.
type failures struct {
	mu   sync.Mutex
	list []string
}

func (f *failures) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) < 20 {
		f.list = append(f.list, fmt.Sprintf(format, args...))
	}
}

func (f *failures) check(want, got winscard.Code, call string) bool {
	if want != got {
		f.add("%s: got %s, want %s", call, show(got), show(want))
	}
	return want == got
}

func (f *failures) require(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) > 0 {
		t.Fatal(strings.Join(f.list, "\n"))
	}
}

// together runs n goroutines and waits for them.
func together(t *testing.T, n int, run func(i int)) {
	t.Helper()
	done := start(func() struct{} {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { run(i) })
		}
		wg.Wait()
		return struct{}{}
	})
	select {
	case <-done:
	case <-time.After(2 * patience):
		t.Fatalf("goroutines hang\n%s", stacks())
	}
}

var concurrencyTests = []subtest{
	{"MixedCalls", func(t *testing.T, s *suite) {
		const contexts, perContext = 8, 3
		const duration = 2 * time.Second
		stop := pressure()
		defer stop()
		var f failures
		ctxs := make([]winscard.Context, contexts)
		cards := make([]winscard.Card, contexts)
		for i := range ctxs {
			ctxs[i] = s.establish(t)
			cards[i] = s.connect(t, ctxs[i], readerA, shared, anyT)
		}
		end := time.Now().Add(duration)
		together(t, contexts*perContext, func(i int) {
			ctx, card := ctxs[i%contexts], cards[i%contexts]
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for time.Now().Before(end) && s.mixedCall(&f, r, ctx, card) {
			}
		})
		f.require(t)
	}},
	{"GrowingStacks", func(t *testing.T, s *suite) {
		stop := pressure()
		defer stop()
		var f failures
		_, card := s.session(t, readerA)
		ctx := s.establish(t)
		for round := range 6 {
			together(t, 64, func(i int) {
				r := rand.New(rand.NewPCG(uint64(i), uint64(round)))
				depth := round + 6*i
				deepen(depth, func() { s.mixedCall(&f, r, ctx, card) })
			})
		}
		f.require(t)
	}},
	{"OneContextManyCards", func(t *testing.T, s *suite) {
		// One context's calls are one after another, in whatever goroutines.
		var f failures
		ctx := s.establish(t)
		together(t, 8, func(i int) {
			for range 10 {
				card, protocol, rc := s.Backend.Connect(ctx, clone(s.readers[i%2]), shared, anyT)
				if !f.check(winscard.Success, rc, "Connect") {
					return
				}
				s.exchange(&f, card, protocol, 20+i, 30+i)
				f.check(winscard.Success, s.Backend.Disconnect(card, leave), "Disconnect")
			}
		})
		f.require(t)
	}},
	{"ContextsComeAndGo", func(t *testing.T, s *suite) {
		var f failures
		together(t, 8, func(int) {
			for range 25 {
				ctx, rc := s.Backend.EstablishContext(user)
				if !f.check(winscard.Success, rc, "EstablishContext") {
					return
				}
				buf := make([]byte, 4096)
				n, rc := s.listReaders(ctx, nil, buf)
				f.check(winscard.Success, rc, "ListReaders")
				if got := string(buf[:n]); got != strings.Join(s.readers, "\x00")+"\x00\x00" {
					f.add("ListReaders: %q", got)
				}
				f.check(winscard.Success, s.Backend.ReleaseContext(ctx), "ReleaseContext")
			}
		})
		f.require(t)
	}},
	{"ManyWaitersOnOneReader", func(t *testing.T, s *suite) {
		// A backend that shares or frees a name too early shows here: the
		// library says UNKNOWN_READER, or tells of another reader.
		const waiters = 24
		var f failures
		stop := pressure()
		defer stop()
		ctxs := make([]winscard.Context, waiters)
		for i := range ctxs {
			ctxs[i] = s.establish(t)
		}
		known := s.current(t, ctxs[0], s.readers[readerSlot])[0]
		var ready sync.WaitGroup
		ready.Add(waiters)
		type result struct {
			rc winscard.Code
			st winscard.ReaderState
		}
		results := make([]<-chan result, waiters)
		for i := range ctxs {
			results[i] = start(func() result {
				// Short waits first: every one passes the name anew.
				for range 20 {
					st := []winscard.ReaderState{{Reader: clone(known.Reader), CurrentState: known.CurrentState}}
					f.check(winscard.ErrTimeout, s.Backend.GetStatusChange(ctxs[i], uint32(i%3), st), "short wait")
				}
				ready.Done()
				st := []winscard.ReaderState{{Reader: clone(known.Reader), CurrentState: known.CurrentState}}
				rc := s.Backend.GetStatusChange(ctxs[i], winscard.Infinite, st)
				return result{rc, st[0]}
			})
		}
		await(t, start(func() struct{} { ready.Wait(); return struct{}{} }), "short waits")
		card, _ := s.insert(t)
		for _, c := range results {
			r := await(t, c, "the insertion")
			requireOK(t, r.rc)
			require.Equal(t, known.Reader, r.st.Reader)
			require.True(t, has(r.st.EventState, winscard.StateChanged, winscard.StatePresent), "%#x", r.st.EventState)
			require.Equal(t, card.ATR(), r.st.ATR[:r.st.ATRLen])
		}
		f.require(t)
	}},
	{"Texts", func(t *testing.T, s *suite) {
		// The library's text is valid until the thread's next call: a binding
		// that comes back from C before it copies may find another's text.
		codes := []winscard.Code{
			winscard.Success, winscard.ErrNoSmartcard, winscard.ErrRemovedCard, winscard.ErrTimeout,
			winscard.ErrInvalidHandle, winscard.ErrSharingViolation, 0x12345678, 0x7FFFFFFF,
		}
		texts := make([]string, len(codes))
		for i, c := range codes {
			texts[i] = s.Backend.StringifyError(c)
		}
		stop := pressure()
		defer stop()
		var f failures
		together(t, len(codes), func(i int) {
			for range 20_000 {
				if got := s.Backend.StringifyError(codes[i]); got != texts[i] {
					f.add("StringifyError(%#x): %q, want %q", uint32(codes[i]), got, texts[i])
					return
				}
			}
		})
		f.require(t)
	}},
	{"CancelStorm", func(t *testing.T, s *suite) {
		const waiters, rounds = 8, 15
		stop := pressure()
		defer stop()
		var f failures
		ctxs := make([]winscard.Context, waiters)
		states := make([][]winscard.ReaderState, waiters)
		for i := range ctxs {
			ctxs[i] = s.establish(t)
			states[i] = s.current(t, ctxs[i], s.readers...)
		}
		together(t, waiters, func(i int) {
			for range rounds {
				done := make(chan struct{})
				var cancelling sync.WaitGroup
				cancelling.Go(func() {
					for {
						select {
						case <-done:
							return
						case <-time.After(time.Millisecond):
							s.Backend.Cancel(ctxs[i])
						}
					}
				})
				rc := s.Backend.GetStatusChange(ctxs[i], winscard.Infinite, slices.Clone(states[i]))
				close(done)
				cancelling.Wait() // the context is not to be released under a cancel
				f.check(winscard.ErrCancelled, rc, "GetStatusChange")
			}
		})
		f.require(t)
	}},
	{"TransactionsTakeTurns", func(t *testing.T, s *suite) {
		// Whoever has the transaction has the flag of the card for himself.
		const owners, turns = 4, 3
		var f failures
		cards := make([]winscard.Card, owners)
		for i := range cards {
			_, cards[i] = s.session(t, readerA)
		}
		s.a.Log()
		together(t, owners, func(i int) {
			for range turns {
				if !f.check(winscard.Success, s.Backend.BeginTransaction(cards[i]), "BeginTransaction") {
					return
				}
				for range 5 {
					_, rc := s.Backend.Transmit(cards[i], t1, mark('0'+byte(i)), make([]byte, 258))
					f.check(winscard.Success, rc, "Transmit")
					runtime.Gosched()
				}
				f.check(winscard.Success, s.Backend.EndTransaction(cards[i], leave), "EndTransaction")
			}
		})
		f.require(t)
		log := s.a.Log()
		require.Len(t, log, owners*turns*5)
		for chunk := range slices.Chunk([]byte(log), 5) {
			require.Equal(t, strings.Repeat(string(chunk[:1]), 5), string(chunk), "in %s", log)
		}
	}},
}

// exchange is requireExchange for goroutines. Others use the card too, so only
// the answer is looked at, which proves the command as well.
func (s *suite) exchange(f *failures, card winscard.Card, pci uint32, send, recv int) bool {
	apdu := exchange(send, recv)
	buf := make([]byte, recv)
	n, rc := s.Backend.Transmit(card, pci, apdu, buf)
	if !f.check(winscard.Success, rc, "Transmit") {
		return false
	}
	if n != recv || !slices.Equal(buf, Answer(apdu)) {
		f.add("Transmit: another answer for %d bytes of %d", n, recv)
		return false
	}
	return true
}

// mixedCall makes some call and reports whether it answered as it must.
func (s *suite) mixedCall(f *failures, r *rand.Rand, ctx winscard.Context, card winscard.Card) bool {
	b := s.Backend
	switch r.IntN(10) {
	case 0, 1, 2:
		return s.exchange(f, card, t1, 4+r.IntN(3000), 2+r.IntN(3000))
	case 3:
		name, atr := make([]byte, 512), make([]byte, 36)
		n, _, protocol, atrLen, rc := b.Status(card, name, atr)
		if !f.check(winscard.Success, rc, "Status") {
			return false
		}
		if got := s.name(name[:n]); got != s.readers[readerA] ||
			protocol != t1 || !slices.Equal(atr[:atrLen], s.a.ATR()) {
			f.add("Status: %q, protocol %d, ATR % x", got, protocol, atr[:atrLen])
			return false
		}
	case 4:
		buf := make([]byte, 2048)
		n, rc := s.listReaders(ctx, []string{clone(winscard.DefaultReaders)}, buf)
		if !f.check(winscard.Success, rc, "ListReaders") {
			return false
		}
		if got := string(buf[:n]); got != strings.Join(s.readers, "\x00")+"\x00\x00" {
			f.add("ListReaders: %q", got)
			return false
		}
	case 5:
		states := make([]winscard.ReaderState, 1+r.IntN(8))
		for i := range states {
			states[i].Reader = clone(s.readers[r.IntN(len(s.readers))])
		}
		if !f.check(winscard.Success, b.GetStatusChange(ctx, 1000, states), "GetStatusChange") {
			return false
		}
		for _, st := range states {
			want := winscard.StateEmpty
			var atr []byte
			switch st.Reader {
			case s.readers[readerA]:
				want, atr = winscard.StatePresent, s.a.ATR()
			case s.readers[readerB]:
				want, atr = winscard.StatePresent, s.b.ATR()
			}
			if !has(st.EventState, want, winscard.StateChanged) || !slices.Equal(atr, st.ATR[:st.ATRLen]) {
				f.add("GetStatusChange: %q: %#x, ATR % x", st.Reader, st.EventState, st.ATR[:st.ATRLen])
				return false
			}
		}
	case 6:
		buf := make([]byte, 200)
		n, rc := b.GetAttrib(card, uint32(s.Quirks.ATRAttribute), buf)
		if !f.check(winscard.Success, rc, "GetAttrib") {
			return false
		}
		if !slices.Equal(s.a.ATR(), buf[:n]) {
			f.add("GetAttrib: % x", buf[:n])
			return false
		}
	case 7:
		_, rc := b.Control(card, unknownControl, make([]byte, r.IntN(500)), make([]byte, r.IntN(500)))
		return f.check(s.Quirks.Control, rc, "Control")
	case 8:
		_, _, rc := b.Connect(ctx, clone("no such reader"), shared, anyT)
		return f.check(winscard.ErrUnknownReader, rc, "Connect")
	case 9:
		return f.check(winscard.Success, b.IsValidContext(ctx), "IsValidContext") &&
			f.check(winscard.Success, b.Cancel(ctx), "Cancel")
	}
	return true
}
