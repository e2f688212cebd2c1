package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

func TestServeUsage(t *testing.T) {
	if runtime.GOOS == "windows" {
		pcscdtest.Skip(t, "there is no pcsc-lite on Windows")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, test := range []struct {
		exit int
		args []string
		want string
	}{
		{exitUsage, []string{"--reader", ""}, `"" can't be the name of a reader`},
		{exitUsage, []string{"--reader", "A", "--card", "demo", "--card", "none"}, "2 cards, and 1 readers for them"},
		{exitUsage, []string{"--card", filepath.Join(dir, "none")}, "no such file"},
		{exitUsage, []string{"x"}, "unknown command"},
		{exitError, []string{"--socket", filepath.Join(dir, "none", "socket")}, "none"},
		{exitError, []string{"--socket", file}, file},
	} {
		r := start(t.Context(), env{}, "", append([]string{serveName}, test.args...)...)
		require.Equal(t, test.exit, r.exit, test.args)
		require.Contains(t, r.stderr, test.want)
		require.Empty(t, r.stdout)
	}
	r := start(t.Context(), env{}, "", serveName, "--timeout", "100ms")
	require.Equal(t, exitTimeout, r.exit)
	require.Contains(t, r.stdout, "0: gopcsc Virtual Reader 00 00, card\n")
}

// closedTerminal is the signal for it, where there is one.
var closedTerminal = os.Interrupt

// The program serves itself, through the real library.
func testServe(t *testing.T, p *program) {
	socket := filepath.Join(t.TempDir(), "socket")
	for _, args := range [][]string{{}, {"--socket", socket}} {
		cmd, finish := p.command(append([]string{serveName, "--reader", "One", "--reader", "Two", "--fault", "0: answer 6F00 apdu 00CA nth 2"}, args...)...)
		cmd.Stdout = nil
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var lines []string
		for scan := bufio.NewScanner(out); len(lines) < 5 && scan.Scan(); {
			lines = append(lines, scan.Text())
		}
		require.Len(t, lines, 5)
		require.Equal(t, "0: One 00 00, card", lines[0])
		require.Equal(t, "1: Two 01 00, no card", lines[1])
		variable, ok := strings.CutPrefix(lines[3], "  export ")
		require.True(t, ok)
		_, path, _ := strings.Cut(variable, "=")
		if len(args) > 0 {
			require.Equal(t, socket, path)
		}

		client := func(args ...string) result {
			cmd, finish := p.command(args...)
			cmd.Env = append(os.Environ(), variable)
			return finish(cmd.Run())
		}
		r := client("list")
		require.Equal(t, exitOK, r.exit, r.stderr)
		require.Contains(t, r.stdout, "0: One 00 00\n   card\n")
		require.Contains(t, r.stdout, "1: Two 01 00\n   no card\n")
		r = client("apdu", "0", "00A4040007F0676F70637363", "00CA5F2000")
		require.Equal(t, result{exitOK, "9000\n416461204C6F76656C616365 9000\n", ""}, r)

		r = client("apdu", "0", "00A4040007F0676F70637363", "00CA5F2000")
		require.Equal(t, exitStatusWord, r.exit, r.stderr)
		require.Contains(t, r.stdout, "9000\n6F00\n", "the fault")

		end := os.Interrupt
		if len(args) > 0 {
			end = closedTerminal
		}
		require.NoError(t, cmd.Process.Signal(end))
		r = finish(cmd.Wait())
		require.Equal(t, exitOK, r.exit, r.stderr)
		require.Empty(t, r.stderr)
		_, err = os.Stat(path)
		require.ErrorIs(t, err, os.ErrNotExist, "nothing is left behind")
	}
}
