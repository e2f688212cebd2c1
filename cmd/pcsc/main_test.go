package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestMain(m *testing.M) {
	pcscdtest.Prepare()
	goleak.VerifyTestMain(m)
}

// result is what a run of the program leaves.
type result struct {
	exit           int
	stdout, stderr string
}

// on is the environment of a program whose PC/SC service is the given one.
func on(service *virtual.Service) env {
	return env{options: []pcsc.Option{pcsc.WithBackend(service)}}
}

func start(ctx context.Context, env env, stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	exit := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr, env)
	return result{exit, stdout.String(), stderr.String()}
}

// decode reads the one JSON object on standard output, which must have no members but those of v.
func (r result) decode(t *testing.T, v any) {
	t.Helper()
	require.Empty(t, r.stderr)
	d := json.NewDecoder(strings.NewReader(r.stdout))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(v), r.stdout)
	require.False(t, d.More(), r.stdout)
}

// withDemoCard is a service with an empty reader and one that holds a demo card.
func withDemoCard() (*virtual.Service, *virtual.Reader, *virtual.DemoCard) {
	service := virtual.New()
	service.AddReader("Empty Reader")
	reader := service.AddReader("Demo Reader")
	card := virtual.NewDemoCard()
	reader.Insert(card)
	return service, reader, card
}

func TestUsage(t *testing.T) {
	service, _, card := withDemoCard()
	for _, args := range [][]string{
		{"bogus"},
		{"--bogus"},
		{"list", "x"},
		{"list", "--bogus"},
		{"version", "x"},
		{"demo", "x"},
		{"--timeout", "x", "list"},
		{"--timeout", "-1s", "list"},
		{"--timeout"},
		{"status"},
		{"status", "0", "1"},
		{"status", ""},
		{"feature"},
		{"feature", "0", "1"},
		{"attr", "0", "max-clk", "x"},
		{"attr", "0", "x"},
		{"attr", "0x"},
		{"atr", "3B800"},
		{"atr", "3B", "8x"},
		{"watch", ""},
		{"watch", "-n", "-1"},
		{"watch", "-n"},
		{"apdu"},
		{"apdu", "0"},
		{"apdu", "0", ""},
		{"apdu", "0", "-"},
		{"apdu", "0", "-", "-"},
		{"apdu", "0", "00A4"},
		{"apdu", "0", "00", "A4", "04", "00"},
		{"apdu", "0", "00A4040"},
		{"apdu", "0", "00A404XX"},
		{"apdu", "0", "00A40400", "00A404\xff"},
		{"apdu", "0", strings.Repeat("00", pcsc.MaxBufferSizeExtended+1)},
		{"apdu", "", "00A40400"},
		{"apdu", "0", "00A40400", "--protocol", "T2"},
		{"apdu", "0", "00A40400", "--share", "direct"},
		{"apdu", "0", "00A40400", "--share", ""},
	} {
		name := strings.Join(args, " ")
		r := start(t.Context(), on(service), "", args...)
		require.Equal(t, exitUsage, r.exit, name)
		require.Empty(t, r.stdout, name)
		require.Regexp(t, `^pcsc: .+\n(  .+\n)+$`, r.stderr, name)
	}
	require.Equal(t, virtual.DemoTries, card.Tries())
}

func TestUsageJSON(t *testing.T) {
	for _, args := range [][]string{
		{"list", "--json", "x"},
		{"list", "--bogus", "--json"},
		{"apdu", "--json=true"},
		{"apdu", "--json", "0", "zz"},
		{"bogus", "--json"},
		{"demo", "--json"},
		{"status", "--json"},
		{"feature", "--json"},
		{"attr", "--json", "a", "b", "c"},
		{"watch", "--bogus", "--json"},
	} {
		var got struct {
			Reader, Protocol string
			Readers          []jsonReader
			Responses        []jsonResponse
			Error            *jsonError
		}
		r := start(t.Context(), env{}, "", args...)
		require.Equal(t, exitUsage, r.exit, args)
		r.decode(t, &got)
		require.Equal(t, exitUsage, got.Error.Exit)
		require.NotEmpty(t, got.Error.Message)
	}
	require.NotContains(t, start(t.Context(), env{}, "", "bogus", "--", "--json").stdout, "{")
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"help", "apdu"}, {"watch", "--help"}, {"list", "--json", "--help"}, {"completion", "bash"}} {
		r := start(t.Context(), env{}, "", args...)
		require.Equal(t, exitOK, r.exit, args)
		require.Empty(t, r.stderr)
		require.NotContains(t, r.stdout, "{}\n")
	}
	help := start(t.Context(), env{}, "", "--help").stdout
	for _, want := range []string{"7  apdu:", "--timeout duration", "--library path", "version", "list", "apdu", "demo",
		"status", "atr", "attr", "feature", "watch"} {
		require.Contains(t, help, want)
	}
}

// Output that can't be written is an error.
func TestFullDisk(t *testing.T) {
	service, _, _ := withDemoCard()
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"version"}, {"demo"}, {"--help"}, {"status", "0"},
		{"attr", "0"}, {"feature", "0"}, {"atr"}, {"watch"}, {"watch", "--json"}} {
		var stderr bytes.Buffer
		exit := run(t.Context(), args, strings.NewReader(""), fullDisk{}, &stderr, on(service))
		require.Equal(t, exitError, exit, args)
		require.Contains(t, stderr.String(), "writing the output: disk full")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

type fullError struct{}

func (fullError) Error() string { return "disk full" }

var errFull fullError

func TestIsTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	require.False(t, isTerminal(null))
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	require.False(t, isTerminal(file))
	require.NoError(t, file.Close())
	require.False(t, isTerminal(file), "closed")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	require.False(t, isTerminal(r))
}
