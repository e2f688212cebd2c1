package examples

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"

	// What the programs are made of, so that go test does not take an older result for one of today's.
	_ "github.com/gopcsc/gopcsc/backend_cgo"
	_ "github.com/gopcsc/gopcsc/backend_purego"
	_ "github.com/gopcsc/gopcsc/pcsc"
)

func TestMain(m *testing.M) { pcscdtest.Main(m) }

// TestExamples builds all examples with each backend and runs them on a real service.
func TestExamples(t *testing.T) {
	if runtime.GOOS != "linux" {
		pcscdtest.Skip(t, "the examples would find the machine's own PC/SC service")
	}
	for _, build := range []struct {
		backend string
		cgo     string
		args    []string
	}{
		{"cgo", "1", []string{"-tags", "cgo"}},
		{"purego", "0", nil},
	} {
		t.Run(build.backend, func(t *testing.T) {
			if build.cgo == "1" {
				if _, err := exec.LookPath("cc"); err != nil {
					pcscdtest.Skip(t, "no C compiler")
				}
			}
			dir := t.TempDir() + string(filepath.Separator)
			cmd := exec.Command("go", append(append([]string{"build", "-buildvcs=false", "-o", dir}, build.args...), "./...")...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED="+build.cgo)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)

			folders, err := filepath.Glob("*/main.go")
			require.NoError(t, err)
			require.Len(t, folders, len(tests), "an example without a test, or the reverse")
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) { test.f(t, filepath.Join(dir, test.name)) })
			}
		})
	}
}

// output runs a program that ends by itself.
func output(t *testing.T, path string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// requireOutput checks what a program writes that ends well.
func requireOutput(t *testing.T, path, format string, args ...any) {
	t.Helper()
	stdout, stderr, err := output(t, path)
	require.NoError(t, err, stderr)
	require.Empty(t, stderr)
	require.Equal(t, fmt.Sprintf(format, args...), stdout)
}

// requireFailure checks that a program fails with a message.
func requireFailure(t *testing.T, path, message string) {
	t.Helper()
	stdout, stderr, err := output(t, path)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.NotContains(t, stdout, "ATR")
	require.Contains(t, stderr, message)
	require.NotContains(t, stderr, "goroutine ")
}

// running is a program that a test talks to.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Scanner
	stderr bytes.Buffer
}

func start(t *testing.T, path string) *running {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r := &running{t: t, cmd: exec.CommandContext(ctx, path)}
	r.cmd.Stderr = &r.stderr
	var err error
	r.stdin, err = r.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := r.cmd.StdoutPipe()
	require.NoError(t, err)
	r.lines = bufio.NewScanner(stdout)
	require.NoError(t, r.cmd.Start())
	return r
}

// expect reads the program's next line.
func (r *running) expect(format string, args ...any) {
	r.t.Helper()
	require.True(r.t, r.lines.Scan(), "no more output; want %q", format)
	require.Equal(r.t, fmt.Sprintf(format, args...), r.lines.Text())
}

// end waits for the program's good end.
func (r *running) end() {
	r.t.Helper()
	require.False(r.t, r.lines.Scan(), r.lines.Text())
	require.NoError(r.t, r.cmd.Wait(), r.stderr.String())
	require.Empty(r.t, r.stderr.String())
}

const noService = "the smart card service is not running"

var tests = []struct {
	name string
	f    func(t *testing.T, path string)
}{
	{"list-readers", func(t *testing.T, path string) {
		requireFailure(t, path, noService)
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(0))
		requireOutput(t, path, "No readers are connected.\n")
		svc.Restart(pcscdtest.WithReaders(2))
		names := svc.Readers()
		requireOutput(t, path, "%s\n%s\n", names[0], names[1])
	}},
	{"readme", func(t *testing.T, path string) {
		requireFailure(t, path, noService)
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(0))
		requireOutput(t, path, "")
		svc.Restart(pcscdtest.WithReaders(2))
		requireOutput(t, path, "")
		svc.Insert(1, pcscdtest.NewEchoCard(nil))
		requireOutput(t, path, "%s: 90 00\n", svc.Readers()[1])
	}},
	{"connect", func(t *testing.T, path string) {
		requireFailure(t, path, noService)
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		requireFailure(t, path, "no reader has a card")
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(1, card)
		name := svc.Readers()[1]
		stdout, stderr, err := output(t, path)
		require.NoError(t, err, stderr)
		for _, want := range []string{
			fmt.Sprintf("Readers with a card: [%q]\n", name),
			fmt.Sprintf("Readers:  [%q]\n", name),
			"State:    present|powered|negotiable\n",
			"Protocol: T1\n",
			fmt.Sprintf("ATR:      % X\n", card.ATR()),
			"Response: 90 00\n",
			"SCARD_ATTR_ATR_STRING: not supported\n", // vpcd has no attributes
			"SCARD_ATTR_VENDOR_NAME: not supported\n",
			"SCARD_ATTR_VENDOR_IFD_VERSION: not supported\n",
		} {
			require.Contains(t, stdout, want)
		}
		require.Equal(t, 1, card.Counters().APDUs)
	}},
	{"connect-owned", func(t *testing.T, path string) {
		requireFailure(t, path, noService)
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		requireFailure(t, path, "no reader has a card")
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(1, card)
		requireOutput(t, path, "Reader:   %s\nState:    present|powered|negotiable\nProtocol: T1\nATR:      % X\n"+
			"Response: 90 00\nVendor:   unknown\n", svc.Readers()[1], card.ATR())
	}},
	{"cancel", func(t *testing.T, path string) {
		requireFailure(t, path, noService)
		pcscdtest.Start(t)
		for range 10 {
			r := start(t, path)
			r.expect("Waiting for a reader to come or go; press Enter to cancel.")
			_, err := io.WriteString(r.stdin, "\n")
			require.NoError(t, err)
			r.expect("The wait was cancelled.")
			r.end()
		}
	}},
	{"monitor", func(t *testing.T, path string) {
		requireFailure(t, path, noService)
		svc := pcscdtest.Start(t, pcscdtest.WithReaders(2))
		names := svc.Readers()
		r := start(t, path)
		r.expect("Watching; press Ctrl-C to end.")
		r.expect("%s: added", names[0])
		r.expect("%s: added", names[1])
		r.expect("%s: empty, event 0", names[0])
		r.expect("%s: empty, event 0", names[1])
		card := pcscdtest.NewEchoCard(nil)
		svc.Insert(1, card)
		r.expect("%s: present, event 1, ATR % X", names[1], card.ATR())
		svc.Remove(1)
		r.expect("%s: empty, event 2", names[1])
		svc.Insert(0, card)
		r.expect("%s: present, event 1, ATR % X", names[0], card.ATR())
		time.Sleep(1500 * time.Millisecond) // longer than its waits
		require.NoError(t, r.cmd.Process.Signal(os.Interrupt))
		r.end()
	}},
}

// The README shows the example program, as it is.
func TestReadmeProgram(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("readme/main.go")
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(program), "package main")
	require.True(t, ok)
	require.Contains(t, string(readme), "```go\npackage main"+body+"```\n")
}
