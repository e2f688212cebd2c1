package pcscdtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscclient"
)

// helperEnv tells the test binary which part to play, see [part].
const helperEnv = "PCSCDTEST_HELPER"

func TestMain(m *testing.M) {
	Prepare()
	goleak.VerifyTestMain(m)
}

// A session is a connected card, reached over the raw protocol.
type session struct {
	t *testing.T
	*pcscclient.Client
	card int32
}

func connect(t *testing.T, s *Service, reader string) *session {
	t.Helper()
	c, err := dial(s.Socket(), time.Now().Add(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	ctx, err := c.Establish()
	require.NoError(t, err)
	card, _, err := c.Connect(ctx, reader)
	require.NoError(t, err)
	return &session{t, c, card}
}

func (s *session) transmit(apdu ...byte) []byte {
	s.t.Helper()
	response, err := s.Transmit(s.card, uint32(winscard.ProtocolT1), apdu...)
	require.NoError(s.t, err)
	return response
}

func (s *session) disconnect(disposition uint32) {
	s.t.Helper()
	m := protocol.Disconnect{Card: s.card, Disposition: disposition}
	require.NoError(s.t, s.Call(protocol.CmdDisconnect, &m))
	require.Equal(s.t, winscard.Success, m.RV)
}

func TestReaders(t *testing.T) {
	for _, n := range []int{0, 1, 4, MaxReaders} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			start := time.Now()
			s := Start(t, WithReaders(n))
			t.Logf("started in %v", time.Since(start).Round(time.Millisecond))
			want := []string{}
			for i := range n {
				want = append(want, fmt.Sprintf("Virtual Reader %c 00 00", 'A'+i))
			}
			require.Len(t, s.Readers(), n)
			if s.inst.slots == 1 {
				require.Equal(t, want, s.Readers())
			}
		})
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", 200)
	s := Start(t, WithNames("Ünïcödé 読取 1", long))
	if s.inst.slots != 1 {
		Skip(t, "readers come in pairs")
	}
	require.Equal(t, []string{"Ünïcödé 読取 1 00 00", long[:121] + " 00 00"}, s.Readers())
}

func TestTransmit(t *testing.T) {
	s := Start(t, WithReaders(2))
	card := NewEchoCard(MakeATR("card one"))
	s.Insert(1, card)

	states, err := s.query()
	require.NoError(t, err)
	require.NotZero(t, states[0].State&uint32(winscard.CardAbsent))
	require.NotZero(t, states[1].State&uint32(winscard.CardPresent))
	require.EqualValues(t, 1, states[1].EventCounter)
	require.Equal(t, card.ATR(), states[1].ATR[:states[1].ATRLength])

	c := connect(t, s, s.Readers()[1])
	require.Equal(t, []byte{0x90, 0}, c.transmit(0, 0xA4, 4, 0, 1, 0xA0))
	largest := slices.Concat([]byte{0x80, 0x20, 0, 0, 0, 0xFF, 0xF8}, Pattern(0xFFF8))
	require.Len(t, largest, 0xFFFF)
	require.Equal(t, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(Pattern(0xFFF8))), c.transmit(largest...)[:4])
	require.True(t, bytes.Equal(append(Pattern(MaxPattern), 0x90, 0), c.transmit(0x80, 0x10, 0, 0, 0, 0xFF, 0xFD)))
	require.Equal(t, []byte{0, 0, 0, 4, 0x90, 0}, c.transmit(0x80, 0x40, 0, 0))
	require.Equal(t, 4, card.Counters().APDUs)

	before := card.Counters()
	c.transmit(append([]byte{0, 0x20, 0, 1, 6}, PIN...)...)
	require.True(t, card.Verified())
	c.disconnect(1) // reset
	require.False(t, card.Verified())
	require.Equal(t, before.Resets+1, card.Counters().Resets)
}

func TestInsertRemove(t *testing.T) {
	s := Start(t)
	card := NewEchoCard(nil)
	for range 2 {
		start := time.Now()
		s.Insert(0, card)
		inserted := time.Now()
		connect(t, s, s.Readers()[0]).transmit(0x80, 0x40, 0, 0)
		s.Remove(0)
		t.Logf("inserted in %v, removed in %v",
			inserted.Sub(start).Round(time.Millisecond), time.Since(inserted).Round(time.Millisecond))
	}
	states, err := s.query()
	require.NoError(t, err)
	require.NotZero(t, states[0].State&uint32(winscard.CardAbsent))
	require.EqualValues(t, 4, states[0].EventCounter)
	require.Equal(t, 2, card.Counters().APDUs)
}

func TestRemoveDuringTransmit(t *testing.T) {
	s := Start(t)
	s.Insert(0, NewEchoCard(nil))
	c := connect(t, s, s.Readers()[0])
	removed := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() { defer close(removed); s.Remove(0) })
	start := time.Now()
	_, err := c.Transmit(c.card, uint32(winscard.ProtocolT1), 0x80, 0x30, 0xFF, 0xFF)
	took := time.Since(start)
	<-removed
	t.Logf("SCardTransmit: %v after %v", err, took.Round(time.Millisecond))
	require.ErrorAs(t, err, new(winscard.Code))
	require.Less(t, took, 30*time.Second)
}

// TestMistakes has a service report to a recorder instead of the test.
func TestMistakes(t *testing.T) {
	s := Start(t)
	rec := &recorder{TB: t}
	s.tb = rec
	defer func() { s.tb = t }()
	wrong := func(want string, f func()) {
		t.Helper()
		rec.errors = nil
		f()
		require.Len(t, rec.errors, 1)
		require.Contains(t, rec.errors[0], want)
	}
	wrong("reader 1 of 1", func() { s.Insert(1, NewEchoCard(nil)) })
	wrong("reader 0 has no card", func() { s.Remove(0) })
	s.Insert(0, NewEchoCard(nil))
	wrong("reader 0 has a card", func() { s.Insert(0, NewEchoCard(nil)) })
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGKILL))
	wrong("pcscd has ended", func() { s.Remove(0) })
	wrong("pcscd had ended by itself", s.Kill)
	wrong("the service is down", s.Stop)
	wrong("the service is down", func() { s.Insert(0, NewEchoCard(nil)) })
}

type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestKillRestart(t *testing.T) {
	s := Start(t, WithReaders(1))
	card := NewEchoCard(nil)
	s.Insert(0, card)
	socket, pid := s.Socket(), s.PID()
	connect(t, s, s.Readers()[0]).transmit(0, 0xA4, 4, 0)

	s.Kill()
	require.Zero(t, s.PID())
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	_, err := dial(socket, time.Now().Add(patience))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	start := time.Now()
	s.Restart()
	t.Logf("restarted with a card in %v", time.Since(start).Round(time.Millisecond))
	require.Equal(t, socket, s.Socket())
	require.NotEqual(t, pid, s.PID())
	connect(t, s, s.Readers()[0]).transmit(0, 0xA4, 4, 0)

	s.Stop()
	_, err = dial(socket, time.Now().Add(patience))
	require.ErrorIs(t, err, os.ErrNotExist)

	s.Restart(WithReaders(3))
	require.Len(t, s.Readers(), 3)
	connect(t, s, s.Readers()[0]).transmit(0, 0xA4, 4, 0)
	require.Equal(t, 3, card.Counters().APDUs)

	s.Restart(WithReaders(0)) // from up
	require.Empty(t, s.Readers())
	require.Equal(t, 4, strings.Count(s.Log(), "daemon ready"), "%s", s.Log())
}

// TestSocketFromC makes sure that the variable is in the environment that the C
// library sees, not only in Go's copy.
func TestSocketFromC(t *testing.T) {
	env, err := os.ReadFile("/proc/self/environ")
	require.NoError(t, err)
	require.Contains(t, strings.Split(string(env), "\x00"), fmt.Sprintf("PCSCLITE_CSOCK_NAME=/proc/%d/fd/%d/pcscd.comm", os.Getpid(), socketDir))
}

func TestNoService(t *testing.T) {
	_, err := dial(new(Service).Socket(), time.Now().Add(patience))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestOneAtATime(t *testing.T) {
	s := Start(t)
	var failure string
	done := make(chan struct{})
	go func() {
		defer close(done)
		Start(&fatalRecorder{TB: t, failure: &failure})
	}()
	<-done
	require.Contains(t, failure, "still active")
	require.NotEmpty(t, s.Readers())
}

type fatalRecorder struct {
	testing.TB
	failure *string
}

func (r *fatalRecorder) Fatalf(format string, args ...any) {
	*r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestIsolation makes sure that nothing of the service shows outside.
func TestIsolation(t *testing.T) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	s := Start(t)
	now, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.Equal(t, string(mounts), string(now))
	require.NoDirExists(t, filesDir)
	for _, ns := range []string{"mnt", "net"} {
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		require.NoError(t, err)
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", s.PID(), ns))
		require.NoError(t, err)
		require.NotEqual(t, ours, its)
	}
}

// TestProcesses runs services in several processes at the same time.
func TestProcesses(t *testing.T) {
	needService(t)
	const n = 4
	var cmds [n]*exec.Cmd
	var out [n]bytes.Buffer
	for i := range cmds {
		cmds[i] = helper(t, "TestHelperTransmit", "transmit")
		cmds[i].Stdout, cmds[i].Stderr = &out[i], &out[i]
		require.NoError(t, cmds[i].Start())
	}
	for i := range cmds {
		require.NoError(t, cmds[i].Wait(), "%s", &out[i])
		require.Contains(t, out[i].String(), "--- PASS: TestHelperTransmit")
	}
}

// TestDeath makes sure that the service ends with the process, however that
// ends, and that the exit code is the tests'.
func TestDeath(t *testing.T) {
	needService(t)
	for _, test := range []struct {
		how     string
		message string
		code    int
	}{
		{"fail", "pcscd's output:", 1},
		{"panic", "panic: on purpose", 2},
		{"exit", "", 7},
		{"kill", "", -1},
	} {
		t.Run(test.how, func(t *testing.T) {
			cmd := helper(t, "TestHelperDie", test.how)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s", out)
			require.Equal(t, test.code, exit.ExitCode(), "%s", out)
			require.Contains(t, string(out), test.message)
			_, rest, found := strings.Cut(string(out), "service is ")
			require.True(t, found, "%s", out)
			pid, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				return !isPCSCD(pid)
			}, patience, interval, "pcscd %d has outlived its test", pid)
		})
	}
}

// isPCSCD reports whether a process is pcscd and not just a zombie of it.
func isPCSCD(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(cmdline), "pcscd")
}

func TestMustRun(t *testing.T) {
	cmd := helper(t, "TestHelperSkip", "skip")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- SKIP")
	cmd = helper(t, "TestHelperSkip", "skip")
	cmd.Env = append(cmd.Env, "PCSC_MUST_RUN=1")
	out, err = cmd.CombinedOutput()
	require.Error(t, err, "%s", out)
	require.Contains(t, string(out), "must not be skipped (PCSC_MUST_RUN=1): no 7")
}

// TestQuickAck only reports: the time is the machine's.
func TestQuickAck(t *testing.T) {
	s := Start(t)
	s.Insert(0, NewEchoCard(nil))
	c := connect(t, s, s.Readers()[0])
	const n = 500
	start := time.Now()
	for range n {
		c.transmit(0x80, 0x10, 0, 0, 16)
	}
	t.Logf("%v for an APDU", time.Since(start)/n)
}

// needService skips the test where a service cannot exist.
func needService(t *testing.T) {
	t.Helper()
	Start(t).cleanupNow(t)
}

// cleanupNow ends the service before the test ends.
func (s *Service) cleanupNow(t *testing.T) {
	t.Helper()
	s.cleanup()
	s.proc, s.thread, s.log = nil, nil, nil
}

func helper(t *testing.T, test, how string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "PCSC_MUST_RUN=")
	})
	cmd.Env = append(cmd.Env, helperEnv+"="+how)
	return cmd
}

// part returns what a helper process is to do, or nothing in an ordinary run:
// the helpers then pass at once.
func part() string { return os.Getenv(helperEnv) }

func TestHelperTransmit(t *testing.T) {
	if part() == "" {
		return
	}
	s := Start(t)
	card := NewEchoCard(nil)
	s.Insert(0, card)
	c := connect(t, s, s.Readers()[0])
	for range 100 {
		c.transmit(0x80, 0x40, 0, 0)
	}
	require.Equal(t, 100, card.Counters().APDUs)
}

func TestHelperDie(t *testing.T) {
	how := part()
	if how == "" {
		return
	}
	s := Start(t)
	s.Insert(0, NewEchoCard(nil))
	fmt.Printf("service is %d\n", s.PID())
	switch how {
	case "fail":
		t.Fatal("on purpose")
	case "panic":
		panic("on purpose")
	case "exit":
		os.Exit(7)
	case "kill":
		require.NoError(t, unix.Kill(os.Getpid(), unix.SIGKILL))
	}
	require.Fail(t, "not reached")
}

func TestHelperSkip(t *testing.T) {
	if part() == "" {
		return
	}
	Skip(t, "no %d", 7)
}

var errNone = errors.New("none")

func TestLockThread(t *testing.T) {
	// With one processor, a goroutine that blocks leaves its thread to the one
	// that it has just started.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	onFirst := 0
	for deadline := time.Now().Add(5 * time.Second); onFirst < 10 && time.Now().Before(deadline); {
		if unix.Gettid() == unix.Getpid() {
			onFirst++
		} else {
			time.Sleep(time.Microsecond)
		}
		tid := make(chan int)
		lockThread(func() { tid <- unix.Gettid() })
		require.NotEqual(t, os.Getpid(), <-tid)
	}
	t.Logf("%d times from the first thread", onFirst)
	th, err := newThread()
	if errors.Is(err, unix.EPERM) {
		Skip(t, "%v", err)
	}
	require.NoError(t, err)
	require.ErrorIs(t, th.do(func() error { return errNone }), errNone)
	th.end()
}
