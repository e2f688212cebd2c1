package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/ifdtest"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"

	// What the programs are made of, so that go test does not take an older result for one of today's.
	_ "github.com/gopcsc/gopcsc/backend_cgo"
	_ "github.com/gopcsc/gopcsc/backend_purego"
)

// builds are the ways to build the program.
var builds = []struct {
	backend string
	cgo     string
	args    []string
}{
	{"cgo", "1", []string{"-tags", "cgo"}},
	{"purego", "0", nil},
}

// program is the real program, built with one of the backends.
type program struct {
	t    *testing.T
	path string
}

func TestReal(t *testing.T) {
	if runtime.GOOS != "linux" {
		pcscdtest.Skip(t, "the real program would find the machine's own PC/SC service")
	}
	for _, build := range builds {
		t.Run(build.backend, func(t *testing.T) {
			if build.cgo == "1" {
				if _, err := exec.LookPath("cc"); err != nil {
					pcscdtest.Skip(t, "no C compiler")
				}
			}
			path := filepath.Join(t.TempDir(), "pcsc")
			cmd := exec.Command("go", append(append([]string{"build", "-buildvcs=false", "-o", path}, build.args...), ".")...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED="+build.cgo)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			for _, test := range realTests {
				t.Run(test.name, func(t *testing.T) { test.f(t, &program{t, path}) })
			}
			t.Run("Doctor", func(t *testing.T) { testDoctor(t, &program{t, path}) })
			t.Run("Version", func(t *testing.T) { testVersion(t, &program{t, path}, build.backend) })
		})
	}
}

// command prepares a run of the program.
func (p *program) command(args ...string) (cmd *exec.Cmd, finish func(error) result) {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	p.t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, p.path, args...)
	cmd.Dir = p.t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	return cmd, func(err error) result {
		if err != nil {
			var exit *exec.ExitError
			require.ErrorAs(p.t, err, &exit)
		}
		require.NotContains(p.t, stderr.String(), "goroutine ")
		return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
}

func (p *program) run(args ...string) result { return p.runWith("", args...) }

func (p *program) runWith(stdin string, args ...string) result {
	p.t.Helper()
	cmd, finish := p.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	return finish(cmd.Run())
}

// watched is a run of pcsc watch.
type watched struct {
	*program
	cmd    *exec.Cmd
	out    *bufio.Reader
	finish func(error) result
}

func (p *program) watch(args ...string) *watched {
	cmd, finish := p.command(append([]string{"watch"}, args...)...)
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, cmd.Start())
	return &watched{p, cmd, bufio.NewReader(out), finish}
}

// event waits for the next event.
func (w *watched) event() (e jsonEvent) {
	w.t.Helper()
	line, err := w.out.ReadBytes('\n')
	require.NoError(w.t, err)
	require.NoError(w.t, json.Unmarshal(line, &e), "%s", line)
	return e
}

func (w *watched) next(kind, reader, atr string, initial bool) jsonEvent {
	w.t.Helper()
	e := w.event()
	require.Equal(w.t, kind, e.Kind)
	require.Equal(w.t, reader, e.Reader)
	require.Equal(w.t, atr, e.ATR)
	require.Equal(w.t, initial, e.Initial)
	require.WithinDuration(w.t, time.Now(), e.Time, time.Minute)
	return e
}

func (w *watched) interrupt() result {
	w.t.Helper()
	require.NoError(w.t, w.cmd.Process.Signal(os.Interrupt))
	return w.end()
}

// end waits for the program's end and returns what was left to read.
func (w *watched) end() result {
	w.t.Helper()
	rest, err := io.ReadAll(w.out)
	require.NoError(w.t, err)
	r := w.finish(w.cmd.Wait())
	r.stdout = string(rest)
	return r
}

var realTests = []struct {
	name string
	f    func(t *testing.T, p *program)
}{
	{"Serve", testServe},
	{"NoService", func(t *testing.T, p *program) {
		for _, args := range [][]string{{"list"}, {"apdu", "0", "00A40400"}, {"status", "0"}, {"attr"}, {"feature", "0"}, {"atr"}} {
			r := p.run(args...)
			require.Equal(t, exitNoService, r.exit)
			require.Empty(t, r.stdout)
			require.Contains(t, r.stderr, "pcsc: contacting the smart card service: the smart card service is not running (SCARD_E_NO_SERVICE)\n  start it: ")
		}
		var got listReport
		r := p.run("list", "--json")
		require.Equal(t, exitNoService, r.exit)
		r.decode(t, &got)
		require.Equal(t, exitNoService, got.Error.Exit)

		requireVirtual(t, p.run("demo"), "the smart card service is not running")
		require.Equal(t, exitOK, p.run("atr", "3B8001").exit)
		require.Equal(t, exitUsage, p.run("bogus").exit)
		require.Equal(t, exitOK, p.run("--help").exit)
	}},
	{"NoReader", func(t *testing.T, p *program) {
		pcscdtest.Start(t, pcscdtest.WithReaders(0))
		r := p.run("list")
		require.Equal(t, exitNoReader, r.exit)
		require.Empty(t, r.stdout)
		require.Contains(t, r.stderr, "pcsc: there is no reader\n  plug in a reader")
		r = p.run("apdu", "0", "00A40400")
		require.Equal(t, exitNoReader, r.exit)
		var got listReport
		r = p.run("list", "--json")
		require.Equal(t, exitNoReader, r.exit)
		r.decode(t, &got)
		require.Equal(t, []jsonReader{}, got.Readers)
		requireVirtual(t, p.run("demo"), "has no reader")
	}},
	{"List", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t, pcscdtest.WithNames("Ünïcödé 読取", "B"))
		svc.Insert(1, pcscdtest.NewEchoCard(nil))
		names := svc.Readers()
		r := p.run("list")
		require.Equal(t, result{exitOK, fmt.Sprintf("0: %s\n   no card\n1: %s\n   card\n   ATR % X\n",
			names[0], names[1], pcscdtest.DefaultATR()), ""}, r)
		r = p.run("list", "--json")
		require.Equal(t, exitOK, r.exit)
		var got listReport
		r.decode(t, &got)
		require.Equal(t, []jsonReader{
			{0, names[0], []string{"empty"}, false, 0, ""},
			{1, names[1], []string{"present"}, true, 1, fmt.Sprintf("%X", pcscdtest.DefaultATR())},
		}, got.Readers)
	}},
	{"APDU", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(1, card)
		reader := svc.Readers()[1]

		// A short one, the largest response, and a count.
		r := p.run("apdu", "1", "00A4 0400 00", fmt.Sprintf("80100000 00%04X", pcscdtest.MaxPattern), "80:40:00:00")
		require.Empty(t, r.stderr)
		require.Equal(t, exitOK, r.exit)
		require.Equal(t, fmt.Sprintf("9000\n%X 9000\n00000003 9000\n", pcscdtest.Pattern(pcscdtest.MaxPattern)), r.stdout)

		// The largest command, on standard input.
		data := pcscdtest.Pattern(0xFFF8)
		crc := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
		r = p.runWith(fmt.Sprintf("# large\n80200000 00FFF8 % X\n80400000", data), "apdu", "--json", "reader b", "-")
		require.Equal(t, exitOK, r.exit, r.stderr)
		var got apduReport
		r.decode(t, &got)
		require.Equal(t, reader, got.Reader)
		require.Equal(t, "T1", got.Protocol)
		require.Equal(t, []jsonResponse{{fmt.Sprintf("%X", crc), "9000", true}, {"00000005", "9000", true}}, got.Responses)

		r = p.run("apdu", "--json", "--protocol", "T0", "--share", "exclusive", reader, "80FF0000", "8040000000")
		require.Equal(t, exitStatusWord, r.exit)
		got = apduReport{}
		r.decode(t, &got)
		require.Equal(t, "T0", got.Protocol)
		require.Equal(t, []jsonResponse{{"", "6D00", false}, {"00000007", "9000", true}}, got.Responses)
		require.Equal(t, exitStatusWord, got.Error.Exit)
		require.Equal(t, 7, card.Counters().APDUs, "each was sent once")
	}},
	{"Status", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		svc.Insert(1, pcscdtest.NewEchoCard(nil))
		names, atr := svc.Readers(), fmt.Sprintf("%X", pcscdtest.DefaultATR())
		var got statusReport
		r := p.run("status", "--json", "1")
		require.Equal(t, exitOK, r.exit, r.stdout)
		r.decode(t, &got)
		require.Equal(t, []string{names[1]}, got.Readers)
		require.Contains(t, got.State, "present")
		require.True(t, got.Card)
		require.Equal(t, "T1", got.Protocol)
		require.Equal(t, atr, got.ATR)
		require.EqualValues(t, 1, got.Events)
		r = p.run("status", "1")
		require.Equal(t, exitOK, r.exit, r.stderr)
		require.Contains(t, r.stdout, "reader    "+names[1]+"\nstate     present, ")

		got = statusReport{}
		r = p.run("status", "--json", "0")
		require.Equal(t, exitOK, r.exit, r.stdout)
		r.decode(t, &got)
		require.Equal(t, statusReport{Readers: []string{names[0]}, State: []string{"absent"}, Protocol: "undefined"}, got)

		var explained atrReport
		p.run("atr", "--json").decode(t, &explained)
		require.Equal(t, names[1], explained.Reader)
		require.Equal(t, atr, explained.ATR)
	}},
	{"Attr", func(t *testing.T, p *program) {
		driver := ifdtest.Build(t)
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(1), pcscdtest.WithDriver(driver, "PIN Pad"))
		name := svc.Readers()[1]
		var status statusReport
		p.run("status", "--json", "pad").decode(t, &status)
		require.NotEmpty(t, status.ATR)

		var got attrReport
		r := p.run("attr", "--json", "pad")
		require.Equal(t, exitOK, r.exit, r.stdout)
		r.decode(t, &got)
		require.Equal(t, name, got.Reader)
		require.NotZero(t, got.Absent)
		values := map[string]any{}
		for _, v := range got.Attributes {
			values[v.Name] = v.Value
		}
		require.Equal(t, status.ATR, values["SCARD_ATTR_ATR_STRING"])
		require.Equal(t, name, values["SCARD_ATTR_DEVICE_FRIENDLY_NAME"])
		require.Equal(t, result{exitOK, name + "\n", ""}, p.run("attr", "pad", "device-friendly-name"))
		r = p.run("attr", "pad")
		require.Equal(t, exitOK, r.exit)
		require.Contains(t, r.stdout, "  "+name+"\n")

		r = p.run("attr", "--all", "0") // without a card; vpcd has no attributes
		require.Equal(t, exitOK, r.exit, r.stderr)
		require.Contains(t, r.stdout, "  (absent)\n")
		r = p.run("attr", "0", "0x7FFE7FFE")
		require.Equal(t, exitError, r.exit)
		require.Empty(t, r.stdout)
	}},
	{"Feature", func(t *testing.T, p *program) {
		driver := ifdtest.Build(t)
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(1), pcscdtest.WithDriver(driver, "PIN Pad"))
		var got featureReport
		r := p.run("feature", "--json", "pad")
		require.Equal(t, exitOK, r.exit, r.stdout)
		r.decode(t, &got)
		require.Contains(t, got.Features, jsonFeature{ifdtest.VerifyPINDirect, "FEATURE_VERIFY_PIN_DIRECT",
			fmt.Sprintf("0x%08X", ifdtest.FeatureCode(ifdtest.VerifyPINDirect))})
		require.NotEmpty(t, got.Properties)
		require.NotNil(t, got.PINProperties)
		require.Empty(t, got.Problems)
		r = p.run("feature", "0")
		require.Equal(t, exitOK, r.exit, r.stderr)
		require.Contains(t, r.stdout, "The reader "+svc.Readers()[0]+" has no PC/SC part 10 features.\n")
	}},
	{"LeavesCard", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		echo := pcscdtest.NewEchoCard(nil)
		svc.Insert(1, echo)
		pc, err := pcsc.EstablishContext(pcsc.ScopeSystem)
		require.NoError(t, err)
		defer pc.Close()
		card, err := pc.Connect(t.Context(), svc.Readers()[1], pcsc.ShareShared, pcsc.ProtocolAny)
		require.NoError(t, err)
		defer card.Close()
		_, err = card.Transmit(t.Context(), append([]byte{0, 0x20, 0, 1, byte(len(pcscdtest.PIN))}, pcscdtest.PIN...))
		require.NoError(t, err)
		before := echo.Counters()
		for _, args := range [][]string{{"status", "1"}, {"attr", "1"}, {"feature", "1"}, {"feature", "0"}, {"atr", "1"}} {
			r := p.run(args...)
			require.Equal(t, exitOK, r.exit, r.stderr)
			require.True(t, echo.Verified(), args)
		}
		require.Equal(t, before, echo.Counters())

		// Nor is it reset by a program that gives up while another holds a transaction.
		tx, err := card.BeginTransaction(t.Context())
		require.NoError(t, err)
		r := p.run("status", "--timeout", "1s", "1")
		require.Equal(t, exitTimeout, r.exit)
		require.NoError(t, tx.End(pcsc.LeaveCard))
		_, err = card.Transmit(t.Context(), []byte{0x80, 0x50, 0, 0, 0})
		require.NoError(t, err)
		require.True(t, echo.Verified())
	}},
	{"Watch", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		name, atr := svc.Readers()[1], fmt.Sprintf("%X", pcscdtest.DefaultATR())
		w := p.watch("--json", name)
		w.next("reader-added", name, "", true)
		for range 2 {
			svc.Insert(1, pcscdtest.NewEchoCard(nil))
			w.next("card-inserted", name, atr, false)
			svc.Remove(1)
			w.next("card-removed", name, atr, false)
		}
		svc.Insert(0, pcscdtest.NewEchoCard(nil)) // is not shown
		svc.Insert(1, pcscdtest.NewEchoCard(nil))
		w.next("card-inserted", name, atr, false)
		svc.Kill()
		require.NotEmpty(t, w.next("card-removed", name, atr, false).Reason)
		require.NotEmpty(t, w.next("reader-removed", name, "", false).Reason)
		require.NotEmpty(t, w.next("service-down", "", "", false).Reason)
		svc.Restart()
		w.next("service-up", "", "", false)
		// It may be up before it has seen the card, so what follows need not be marked initial.
		require.Equal(t, "reader-added", w.event().Kind)
		require.Equal(t, "card-inserted", w.event().Kind)
		require.Equal(t, result{exitOK, "", ""}, w.interrupt())

		r := p.run("watch", "--timeout", "5s")
		require.Equal(t, exitTimeout, r.exit)
		require.Regexp(t, `(?m)^.+  `+name+`  card inserted  .+  \(initial\)$`, r.stdout)
		require.Equal(t, "pcsc: --timeout 5s is over\n", r.stderr)

		w = p.watch("--json", "-n", "1", "1")
		w.next("reader-added", name, "", true)
		w.next("card-inserted", name, atr, true)
		svc.Remove(1)
		w.next("card-removed", name, atr, false)
		require.Equal(t, result{exitOK, "", ""}, w.end())
	}},
	{"PIN", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t)
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(0, card)
		verify := fmt.Sprintf("0020000106%X", pcscdtest.PIN)
		r := p.runWith(verify+"\n", "apdu", "0", "-", "80500000")
		require.Equal(t, result{exitOK, "9000\n01 9000\n", ""}, r)
		require.False(t, card.Verified(), "after the program's end")
		require.Positive(t, card.Counters().Resets)
	}},
	{"Errors", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		svc.Insert(1, pcscdtest.NewEchoCard(nil))
		for _, test := range []struct {
			reader string
			exit   int
			want   string
		}{
			{"0", exitNoCard, "there is no card in the reader (SCARD_E_NO_SMARTCARD)\n  insert a card\n"},
			{"2", exitNoReader, "no reader has the index 2; the highest is 1"},
			{"nope", exitNoReader, `no reader's name is or contains "nope"`},
			{"Virtual", exitNoReader, `"Virtual" fits 2 readers`},
			{strings.Repeat("x", 1000), exitNoReader, "no reader's name"},
			{"", exitUsage, "the reader's name is empty"},
		} {
			r := p.run("apdu", test.reader, "00A40400")
			require.Equal(t, test.exit, r.exit, r.stderr)
			require.Empty(t, r.stdout)
			require.Contains(t, r.stderr, test.want)
			r = p.run("apdu", "--json", test.reader, "00A40400")
			require.Equal(t, test.exit, r.exit)
			var got apduReport
			r.decode(t, &got)
			require.Equal(t, test.exit, got.Error.Exit)
		}
	}},
	{"Together", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t)
		svc.Insert(0, pcscdtest.NewEchoCard(nil))
		var wg sync.WaitGroup
		results := make([]result, 6)
		for i := range results {
			cmd, finish := p.command("apdu", "0", "80400000", "80400000", "80400000")
			wg.Go(func() { results[i] = finish(cmd.Run()) })
		}
		wg.Wait()
		for _, r := range results {
			require.Equal(t, exitOK, r.exit, r.stderr)
			var first, second, third int
			_, err := fmt.Sscanf(r.stdout, "%X 9000\n%X 9000\n%X 9000\n", &first, &second, &third)
			require.NoError(t, err)
			require.Equal(t, []int{first + 1, first + 2}, []int{second, third}, "another program came in between")
		}
	}},
	{"Timeout", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t)
		svc.Insert(0, pcscdtest.NewEchoCard(nil))
		began := time.Now()
		r := p.run("apdu", "--timeout", "5s", "0", "80400000", "8030FFFF", "80400000")
		require.Equal(t, exitTimeout, r.exit)
		require.Regexp(t, `^0000000\d 9000\n$`, r.stdout)
		require.Contains(t, r.stderr, ": out of time\n")
		require.Less(t, time.Since(began), 11*time.Second) // the card takes longer
	}},
	{"Interrupt", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t)
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(0, card)
		cmd, finish := p.command("apdu", "0", "8030FFFF")
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return card.Counters().APDUs == 1 }, 20*time.Second, 5*time.Millisecond)
		began := time.Now()
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		r := finish(cmd.Wait())
		require.Equal(t, exitTimeout, r.exit)
		require.Contains(t, r.stderr, ": interrupted\n")
		require.Less(t, time.Since(began), 5*time.Second)
	}},
	{"Removed", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t)
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(0, card)
		cmd, finish := p.command("apdu", "--json", "0", "80400000", "8030FFFF", "80400000")
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return card.Counters().APDUs == 2 }, 20*time.Second, 5*time.Millisecond)
		svc.Remove(0)
		r := finish(cmd.Wait())
		require.Equal(t, exitNoCard, r.exit, r.stdout)
		var got apduReport
		r.decode(t, &got)
		require.Equal(t, []jsonResponse{{"00000001", "9000", true}}, got.Responses)
	}},
	{"ServiceDies", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t)
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(0, card)
		cmd, finish := p.command("apdu", "0", "8030FFFF")
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return card.Counters().APDUs == 1 }, 20*time.Second, 5*time.Millisecond)
		svc.Kill()
		r := finish(cmd.Wait())
		require.Equal(t, exitNoService, r.exit, r.stderr)
	}},
	{"Demo", func(t *testing.T, p *program) {
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		requireVirtual(t, p.run("demo"), "no reader of the PC/SC service has a card that can be used")
		var mu sync.Mutex
		var apdus [][]byte
		svc.Insert(1, pcscdtest.NewCard(nil, func(apdu []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			apdus = append(apdus, bytes.Clone(apdu))
			return []byte{0x6A, 0x82}
		}))
		r := p.run("demo")
		require.Equal(t, exitOK, r.exit, r.stderr)
		for _, want := range []string{"the system's PC/SC service and the card in " + svc.Readers()[1], "< 6A 82",
			"nothing happened in 300ms", "left as it is", tourEnd} {
			require.Contains(t, r.stdout, want)
		}
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, apdus, 3)
		for _, apdu := range apdus {
			require.Equal(t, []byte{0x00, 0xA4}, apdu[:2], "SELECT")
		}
	}},
}

func testVersion(t *testing.T, p *program, backend string) {
	var got versionReport
	r := p.run("version", "--json")
	require.Equal(t, exitOK, r.exit)
	r.decode(t, &got)
	require.Equal(t, backend, got.Backend)
	require.Equal(t, runtime.Version(), got.Go)
	require.Equal(t, modulePath, got.Module)
	require.NotEmpty(t, got.Version)
	require.True(t, got.Library.Loaded)
	require.Regexp(t, `^/.*/libpcsclite.*\.so\.1`, got.Library.Path)
	info, err := os.Lstat(strings.Split(got.Library.Path, ", ")[0])
	require.NoError(t, err)
	require.True(t, info.Mode().IsRegular(), "not a link: %s", got.Library.Path)
	require.Contains(t, p.run("version").stdout, "\nlibrary  "+got.Library.Path+", version unknown\n")

	// Another library, and one that is not there.
	missing := filepath.Join(t.TempDir(), "libnone.so")
	r = p.run("version", "--library", missing, "--json")
	require.Equal(t, exitOK, r.exit)
	got = versionReport{}
	r.decode(t, &got)
	require.False(t, got.Library.Loaded)
	r = p.run("list", "--library", missing)
	require.Equal(t, exitNoService, r.exit)
	require.Contains(t, r.stderr, "the PC/SC library could not be loaded (GOPCSC_E_UNAVAILABLE)\n  ")
	r = p.run("list", "--library", "lib/none.so")
	require.Equal(t, exitUsage, r.exit)
	require.Contains(t, r.stderr, "relative path")
	if backend != "purego" {
		return
	}
	require.Contains(t, r.stderr, "none.so")
	file, err := os.ReadFile(p.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(missing, file, 0o600)) // an ELF file, and no library
	require.Equal(t, exitNoService, p.run("list", "--library", missing).exit)
	got = versionReport{}
	p.run("version", "--json").decode(t, &got)
	copied, err := os.ReadFile(got.Library.Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(missing, copied, 0o600))
	svc := pcscdtest.Start(t)
	require.NotEmpty(t, svc.Readers())
	require.Equal(t, exitOK, p.run("list", "--library", missing).exit)
	got = versionReport{}
	p.run("version", "--library", missing, "--json").decode(t, &got)
	require.Equal(t, missing, got.Library.Path)
	t.Setenv("PCSC_LIBRARY", missing)
	got = versionReport{}
	p.run("version", "--json").decode(t, &got)
	require.Equal(t, missing, got.Library.Path)
}
