package backendpurego

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// A uintptr made of a buffer's address does not keep the buffer in place: if the buffer does not escape, it may lie on
// a stack that moves before C sees it. The compiler says what escapes.
func TestBuffersEscape(t *testing.T) {
	if !supported {
		pcscdtest.Skip(t, "no calls in this build")
	}
	t.Run("here", func(t *testing.T) { buffersEscape(t, 10) })
	t.Run("windows", func(t *testing.T) { buffersEscape(t, 15, "GOOS=windows", "CGO_ENABLED=0") })
}

// buffersEscape looks at a build, which has at least so many buffers.
func buffersEscape(t *testing.T, least int, env ...string) {
	cmd := exec.Command("go", "build", "-gcflags=-m", ".")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	file := callsFile(t, env...)
	leaking := regexp.MustCompile(`(?m)^\./` + regexp.QuoteMeta(file) + `:(\d+):\d+: leaking param: (\w+)`)
	leaks := map[string]bool{} // "line name"
	for _, m := range leaking.FindAllStringSubmatch(string(out), -1) {
		leaks[m[1]+" "+m[2]] = true
	}

	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	require.NoError(t, err)
	buffers := 0
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv == nil || !fn.Name.IsExported() {
			continue
		}
		for _, p := range fn.Type.Params.List {
			if !isBuffer(p.Type) {
				continue // strings and reader states are copied
			}
			for _, name := range p.Names {
				if copied(fn, name.Name) {
					continue
				}
				buffers++
				line := fset.Position(name.Pos()).Line
				require.True(t, leaks[strconv.Itoa(line)+" "+name.Name], "%s: buffer %s does not escape", fn.Name.Name, name.Name)
			}
		}
	}
	require.GreaterOrEqual(t, buffers, least, "the test does not see the buffers")
}

// isBuffer reports whether C sees the memory of a parameter: that of bytes, and of structures without pointers.
func isBuffer(typ ast.Expr) bool {
	slice, ok := typ.(*ast.ArrayType)
	if !ok {
		return false
	}
	switch elem := slice.Elt.(type) {
	case *ast.Ident:
		return elem.Name == "byte"
	case *ast.SelectorExpr:
		return elem.Sel.Name != "ReaderState"
	}
	return false
}

// copied reports whether a method copies a buffer into its frame, or out of it.
func copied(fn *ast.FuncDecl, name string) (found bool) {
	is := func(e ast.Expr, name string) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name == name
		case *ast.SelectorExpr:
			return e.Sel.Name == name
		}
		return false
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 2 {
			found = found || is(call.Fun, "copy") && is(call.Args[1], name) || is(call.Fun, "Narrow") && is(call.Args[0], name)
		}
		return true
	})
	return found
}

// callsFile is the generated file with the calls that this build has.
func callsFile(t *testing.T, env ...string) string {
	cmd := exec.Command("go", "list", "-f", "{{join .GoFiles \" \"}}", ".")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	require.NoError(t, err)
	for _, f := range strings.Fields(string(out)) {
		if ok, _ := filepath.Match("zbackend_*.go", f); ok {
			return f
		}
	}
	t.Fatal("no generated calls in this build")
	return ""
}
