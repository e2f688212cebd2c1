package spec

import (
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite schema.json and the wanted messages of testdata/bad; read the difference")

func TestGoodBase(t *testing.T) {
	s, err := LoadDir("testdata/good")
	require.NoError(t, err)
	require.NoError(t, Validate(s))
}

// faultsOf loads and validates, and returns the faults of either.
func faultsOf(t *testing.T, dir string, more ...string) Faults {
	t.Helper()
	s, err := LoadDir(dir, more...)
	if err == nil {
		err = Validate(s)
	}
	if err == nil {
		return nil
	}
	var faults Faults
	require.True(t, errors.As(err, &faults), "%T", err)
	return faults
}

// Every file of testdata/bad has the messages that it wants in its first lines, as "# want: line:column: message". A
// file that has "# alone" is not read together with testdata/good.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	seen, ran := make(map[Kind]bool), 0
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			ran++
			faults := badFaults(t, name)
			if *update {
				rewrite(t, name, len(faults))
				faults = badFaults(t, name)
				rewrite(t, name, faults.messages(t, name)...)
			}
			for _, f := range faults {
				seen[f.Kind] = true
			}
			require.NotEmpty(t, faults, "nothing is wrong with it")
			require.Equal(t, wanted(t, name), faults.messages(t, name))
		})
	}
	if ran < len(files) {
		return // -run selected some
	}
	for _, kind := range kinds(t) {
		require.True(t, seen[kind], "no file of testdata/bad has a fault of kind %q", kind)
	}
}

func badFaults(t *testing.T, name string) Faults {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	if strings.Contains(string(data), "# alone\n") {
		return faultsOf(t, name)
	}
	return faultsOf(t, "testdata/good", name)
}

// messages returns the faults without the name of the file, which all have to be of.
func (fs Faults) messages(t *testing.T, name string) []string {
	var all []string
	for _, f := range fs {
		message, ok := strings.CutPrefix(f.Error(), name+":")
		require.True(t, ok, "a fault in another file: %s", f)
		require.NotContains(t, message, "\n")
		all = append(all, message)
	}
	return all
}

const wantPrefix = "# want: "

func wanted(t *testing.T, name string) []string {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	var all []string
	for line := range strings.Lines(string(data)) {
		if message, ok := strings.CutPrefix(line, wantPrefix); ok {
			all = append(all, strings.TrimSuffix(message, "\n"))
		}
	}
	return all
}

// rewrite replaces the wanted messages of a file, or makes room for a number of them.
func rewrite[T string | int](t *testing.T, name string, want ...T) {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	var head, body strings.Builder
	for _, w := range want {
		switch w := any(w).(type) {
		case string:
			head.WriteString(wantPrefix + w + "\n")
		case int:
			head.WriteString(strings.Repeat(wantPrefix+"\n", w))
		}
	}
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, strings.TrimSpace(wantPrefix)) {
			body.WriteString(line)
		}
	}
	require.NoError(t, os.WriteFile(name, []byte(head.String()+body.String()), 0o644))
}

// kinds returns the constants of type Kind that kinds.go declares.
func kinds(t *testing.T) []Kind {
	file, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, 0)
	require.NoError(t, err)
	var all []Kind
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			value, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			all = append(all, Kind(value))
		}
		return true
	})
	require.NotEmpty(t, all)
	return all
}
