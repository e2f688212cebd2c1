package backendpurego

import (
	"go/ast"
	"go/parser"
	"go/token"
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
	out, err := exec.Command("go", "build", "-gcflags=-m", ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	file := callsFile(t)
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
			slice, ok := p.Type.(*ast.ArrayType)
			if !ok {
				continue
			}
			if elem, ok := slice.Elt.(*ast.Ident); !ok || elem.Name != "byte" {
				continue // strings and structures are copied
			}
			for _, name := range p.Names {
				buffers++
				line := fset.Position(name.Pos()).Line
				require.True(t, leaks[strconv.Itoa(line)+" "+name.Name], "%s: buffer %s does not escape", fn.Name.Name, name.Name)
			}
		}
	}
	require.GreaterOrEqual(t, buffers, 10, "the test does not see the buffers")
}

// callsFile is the generated file with the calls that this build has.
func callsFile(t *testing.T) string {
	out, err := exec.Command("go", "list", "-f", "{{join .GoFiles \" \"}}", ".").Output()
	require.NoError(t, err)
	for _, f := range strings.Fields(string(out)) {
		if ok, _ := filepath.Match("zbackend_*.go", f); ok {
			return f
		}
	}
	t.Fatal("no generated calls in this build")
	return ""
}
