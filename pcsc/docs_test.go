package pcsc_test

import (
	"go/ast"
	"go/build"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documentation is a package of this module as go doc sees it, and its examples.
func documentation(t *testing.T, dir string) (*doc.Package, []*doc.Example) {
	t.Helper()
	pkg, err := build.ImportDir(dir, 0)
	require.NoError(t, err)
	fset := token.NewFileSet()
	var files, tests []*ast.File
	for _, name := range slices.Concat(pkg.GoFiles, pkg.CgoFiles, pkg.TestGoFiles, pkg.XTestGoFiles) {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, f)
		if strings.HasSuffix(name, "_test.go") {
			tests = append(tests, f)
		}
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/gopcsc/gopcsc/pcsc/"+dir)
	require.NoError(t, err)
	return p, doc.Examples(tests...)
}

// Every type that a program starts from has an example whose output is checked, or is named in one. A program starts
// from what it makes, with a constructor or for a parameter, and from what a function of its own is called with.
func TestExamples(t *testing.T) {
	for _, dir := range []string{".", "iso7816", "iso7816/tlv", "atr", "virtual", "virtual/filesystem"} {
		t.Run(dir, func(t *testing.T) {
			p, examples := documentation(t, dir)
			used := map[string]bool{} // what examples name
			for _, e := range examples {
				require.True(t, e.Output != "" || e.EmptyOutput, "Example%s has no output, so that it never runs", e.Name)
				ast.Inspect(e.Code, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						used[s.Sel.Name] = true
					}
					return true
				})
			}
			starts := 0
			given := parameters(p)
			for _, typ := range p.Types {
				_, isStruct := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType)
				if len(typ.Funcs) == 0 && !(isStruct && given[typ.Name]) {
					continue
				}
				starts++
				shown := len(typ.Examples) > 0 || used[typ.Name]
				for _, f := range typ.Funcs {
					shown = shown || used[f.Name]
				}
				for _, m := range typ.Methods {
					shown = shown || len(m.Examples) > 0
				}
				if !shown {
					t.Errorf("no example shows %s: write Example%[1]s, or use it in that of a function", typ.Name)
				}
			}
			require.NotZero(t, starts)
		})
	}
}

// parameters are the names of types in the parameters of exported functions and methods.
func parameters(p *doc.Package) map[string]bool {
	names := map[string]bool{}
	add := func(list []*doc.Func) {
		for _, f := range list {
			ast.Inspect(f.Decl.Type.Params, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					names[id.Name] = true
				}
				return true
			})
		}
	}
	add(p.Funcs)
	for _, typ := range p.Types {
		add(typ.Funcs)
		add(typ.Methods)
	}
	return names
}

// Every fault of the virtual service has an example of its own, and whatever makes a card is in one.
func TestVirtualExamples(t *testing.T) {
	for dir, least := range map[string]int{"virtual": 3, "virtual/filesystem": 1} {
		p, examples := documentation(t, dir)
		own, cards := map[string]bool{}, 0
		for _, e := range examples {
			name, _, _ := strings.Cut(e.Name, "_") // ExampleNew_faults is one of New
			own[name] = true
		}
		for _, typ := range p.Types {
			isCard := typ.Name != "Service" && slices.ContainsFunc(typ.Methods, func(m *doc.Func) bool { return m.Name == "Transmit" })
			if isCard {
				cards++
			}
			for _, f := range typ.Funcs {
				if (isCard || typ.Name == "Fault") && !own[f.Name] && !own[typ.Name] {
					t.Errorf("%s: there is no Example%s", dir, f.Name)
				}
			}
		}
		require.GreaterOrEqual(t, cards, least, dir)
	}
}

// The package comment is in two files, of which one is generated from texts of the spec: together they have to be what
// go doc and pkg.go.dev render well.
func TestPackageComment(t *testing.T) {
	p, _ := documentation(t, ".")
	require.True(t, strings.HasPrefix(p.Doc, "Package pcsc "), "the comment begins with the generated part")
	parsed := p.Parser().Parse(p.Doc)
	var headings []string
	code := 0
	for _, block := range parsed.Content {
		switch b := block.(type) {
		case *comment.Heading:
			headings = append(headings, text(b.Text))
		case *comment.Code:
			require.Empty(t, headings, "a list or table that is rendered as code:\n%s", b.Text)
			code++
		case *comment.Paragraph:
			checkText(t, text(b.Text))
		case *comment.List:
			for _, item := range b.Items {
				for _, par := range item.Content {
					checkText(t, text(par.(*comment.Paragraph).Text))
				}
			}
		}
	}
	require.Equal(t, 1, code, "the program at the beginning")
	require.Equal(t, []string{
		"Contexts", "Readers", "Cards and transactions", "Blocking, goroutines and threads", "What else Windows has",
		"Strings", "Errors", "Security", "Backends", "Platform differences", "Methods that some platforms lack", "C libraries",
	}, headings)
}

// text is a text with its links, those that lead nowhere in brackets.
func text(list []comment.Text) string {
	var b strings.Builder
	for _, x := range list {
		switch x := x.(type) {
		case comment.Plain:
			b.WriteString(string(x))
		case comment.Italic:
			b.WriteString(string(x))
		case *comment.Link:
			b.WriteString(text(x.Text))
		case *comment.DocLink:
			b.WriteString(text(x.Text))
		}
	}
	return b.String()
}

func checkText(t *testing.T, s string) {
	t.Helper()
	require.NotRegexp(t, `\[\*?[A-Z][A-Za-z.]*\]`, s, "a link to what is not there")
	require.NotRegexp(t, `(?m)^\s*- `, s, "a list that is rendered as a paragraph")
}
