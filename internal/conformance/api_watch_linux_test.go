package conformance

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"
)

func init() {
	watchTests = append(watchTests, apiTest{"Hang", func(t *testing.T, s *apiSuite) {
		// A service that is stopped can't end a wait. The loop is let go.
		service, ok := s.Service.(interface {
			Suspend()
			Resume()
		})
		if !ok {
			return
		}
		w := s.watch(t)
		w.snapshot(s)
		ended := start(func() pulled {
			e, err, ok := w.pull()
			return pulled{e, err, ok}
		})
		requireNotYet(t, ended, "watch")
		service.Suspend()
		begin := time.Now()
		w.cancel()
		p := requireSoon(t, ended, "watch")
		took := time.Since(begin)
		service.Resume()
		require.ErrorIs(t, p.err, context.Canceled)
		require.Less(t, took, 1500*time.Millisecond)
		t.Logf("let go after %v", took)
		w.close()
		requireNoWatcher(t)
	}})
	watchOutageTests = append(watchOutageTests, apiTest{"Refused", func(t *testing.T, s *apiSuite) {
		// Whoever listens ends every connection when it has something to say: so
		// does pcscd to programs that polkit does not allow, and when it has too
		// many clients.
		real, ok := s.Service.(*realService)
		if !ok {
			return
		}
		s.start(t)
		w := s.watch(t)
		w.snapshot(s)
		s.Service.Stop()
		listener, err := net.Listen("unix", real.Socket())
		require.NoError(t, err)
		t.Cleanup(func() { _ = listener.Close() })
		var refused atomic.Int32
		ended := start(func() error {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return err
				}
				refused.Add(1)
				// The header of the first message, and not all of the rest: so the
				// client's connection is reset.
				_, _ = io.ReadFull(conn, make([]byte, 8+1))
				_ = conn.Close()
			}
		})
		w.down()
		other := s.watch(t)
		why := other.down().Err
		require.ErrorIs(t, why, pcsc.ErrSecurityViolation)
		require.ErrorContains(t, why, "polkit")
		began := refused.Load()
		require.Eventually(t, func() bool { return refused.Load() > began+6 }, patience, 10*time.Millisecond)
		w.quiet()
		other.quiet()
		require.NoError(t, listener.Close())
		require.Error(t, await(t, ended, "the end of the listener"))
		s.Service.Restart()
		for _, w := range []*eventWatch{w, other} {
			w.expect(pcsc.ServiceUp, "", nil)
			w.until(pcsc.CardInserted, s.readers[readerB])
			w.close()
		}
		s.Service.Stop()
	}})
}

func (s *realService) Suspend() { _ = syscall.Kill(s.PID(), syscall.SIGSTOP) }
func (s *realService) Resume()  { _ = syscall.Kill(s.PID(), syscall.SIGCONT) }

// idleEnv is set in the process that is measured, and says how its watch idles.
const idleEnv = "CONFORMANCE_IDLE_WATCH"

// idleLimit is what a watch that has nothing to tell may use of the processor in
// idleTime.
const (
	idleLimit = 10 * time.Millisecond
	idleTime  = 30 * time.Second
)

// idleTries is how often a watch can try: whatever else the machine does makes
// a process slower in processor time too, by emptying its caches. Some machines
// always do: there a watch may use idleFactor times what a loop of the bare calls
// uses in the same time.
const (
	idleTries  = 3
	idleFactor = 2
)

// TestWatchIdle measures the processor time of watches that have nothing to
// tell, in processes of their own without the race detector.
func TestWatchIdle(t *testing.T) {
	duration := idleTime
	if testing.Short() {
		duration = idleTime / 10
	}
	if how := os.Getenv(idleEnv); how != "" {
		idle(t, how, duration)
		return
	}
	program, err := os.Executable()
	require.NoError(t, err)
	if raceEnabled {
		program = filepath.Join(t.TempDir(), "conformance.test")
		args := []string{"test", "-c", "-o", program}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, setting := range info.Settings {
				if setting.Key == "-tags" {
					args = append(args, "-tags="+setting.Value)
				}
			}
		}
		out, err := exec.Command("go", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	ways := []string{"up", "down", "no PnP", "many", bareWay}
	passed := map[string]bool{}
	for try := 1; try <= idleTries && len(passed) < len(ways)-1; try++ {
		used := make([]time.Duration, len(ways))
		var all sync.WaitGroup
		for i, how := range ways {
			all.Go(func() {
				cmd := exec.Command(program, "-test.run=^TestWatchIdle$", "-test.v=true",
					fmt.Sprintf("-test.short=%v", testing.Short()))
				cmd.Env = append(os.Environ(), idleEnv+"="+how)
				out, err := cmd.CombinedOutput()
				_, figure, ok := strings.Cut(string(out), "IDLE ")
				if err != nil || !ok {
					t.Errorf("%s: %v\n%s", how, err, out)
					return
				}
				figure, _, _ = strings.Cut(figure, "\n")
				t.Logf("%s: %s", how, figure)
				used[i], err = time.ParseDuration(strings.Fields(figure)[0])
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		limit := max(idleLimit, idleFactor*used[len(ways)-1])
		for i, how := range ways[:len(ways)-1] {
			if used[i] < limit {
				passed[how] = true
			}
		}
	}
	for _, how := range ways[:len(ways)-1] {
		if !passed[how] {
			t.Errorf("%s: an idle watch uses more than %v of processor time, and more than %d times what a loop of the bare calls does, in each of %d tries",
				how, idleLimit, idleFactor, idleTries)
		}
	}
}

// bareWay is no watch but a loop that lists the readers, asks for their state
// and waits for two seconds, over and over.
const bareWay = "bare calls"

// bare polls for the readers, without package pcsc.
func bare(t *testing.T, ctx context.Context) {
	b, err := openBackend()
	require.NoError(t, err)
	c, rc := b.EstablishContext(uint32(winscard.ScopeSystem))
	requireOK(t, rc)
	defer b.ReleaseContext(c)
	buf := make([]byte, 4096)
	for ctx.Err() == nil {
		n, rc := b.ListReaders(c, nil, buf)
		requireOK(t, rc)
		var states []winscard.ReaderState
		for _, name := range cstring.Split(buf[:n]) {
			states = append(states, winscard.ReaderState{Reader: name})
		}
		requireOK(t, b.GetStatusChange(c, 0, states))
		for i := range states {
			states[i].CurrentState = states[i].EventState
		}
		b.GetStatusChange(c, 2000, states) // ends with ErrTimeout
	}
}

func idle(t *testing.T, how string, d time.Duration) {
	var opts []pcsc.WatchOption
	svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
	switch how {
	case "down":
		svc.Kill()
	case "no PnP":
		backend, err := openBackend()
		require.NoError(t, err)
		opts = append(opts, pcsc.WithBackend(noPnP{backend}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watches := 1
	if how == "many" {
		watches = 300
	}
	var events atomic.Int32
	var ended sync.WaitGroup
	first := int32(2) // events of each watch: its readers
	if how == "down" {
		first = 1
	}
	if how == bareWay {
		watches = 0
		ended.Go(func() { bare(t, ctx) })
	}
	for range watches {
		ended.Go(func() {
			for range pcsc.Watch(ctx, opts...) {
				events.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return events.Load() >= first*int32(watches) }, patience, time.Millisecond, "the watches begin")
	time.Sleep(time.Second / 2) // for what else is done once
	before := cpu(t)
	time.Sleep(d)
	used := cpu(t) - before
	cancel()
	ended.Wait()
	t.Logf("IDLE %v of processor time in %v, %d watches, %d events", used, d, watches, events.Load())
}

// cpu is the processor time that the process has used.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// noPnP is a backend that does not know the pseudo reader.
type noPnP struct{ winscard.Backend }

func (b noPnP) GetStatusChange(ctx winscard.Context, timeout uint32, states []winscard.ReaderState) winscard.Code {
	for i := range states {
		if states[i].Reader == winscard.PnPNotification {
			return winscard.ErrUnknownReader
		}
	}
	return b.Backend.GetStatusChange(ctx, timeout, states)
}
