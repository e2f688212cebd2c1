package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/tools/go/packages"
)

// source has the syntax of files, each parsed once for all targets.
type source struct {
	fset  *token.FileSet
	mu    sync.Mutex
	files map[string]func() (*ast.File, error)
}

func newSource() *source {
	return &source{fset: token.NewFileSet(), files: map[string]func() (*ast.File, error){}}
}

// parse parses a file in a mode that is always the same for it.
func (s *source) parse(name string, mode parser.Mode) (*ast.File, error) {
	s.mu.Lock()
	parse, ok := s.files[name]
	if !ok {
		parse = sync.OnceValues(func() (*ast.File, error) {
			return parser.ParseFile(s.fset, name, nil, mode)
		})
		s.files[name] = parse
	}
	s.mu.Unlock()
	return parse()
}

// world has the packages of a target, from source, those of the standard library as well. What is made of the same files
// and the same packages is one package in all runs: its types are checked once, and it is vetted once.
type world struct {
	*source
	sizes types.Sizes
	known map[string]*packages.Package
	fresh []*packages.Package // whose types have to be checked, after those that they import
}

func newWorld(s *source, goarch string) *world {
	return &world{source: s, sizes: types.SizesFor("gc", goarch), known: map[string]*packages.Package{}}
}

// A loaded run has the module's packages: all of them, and those that are vetted. A package with tests is vetted in the
// form that has them.
type loaded struct {
	run
	all, vetted []*packages.Package
}

// load has the go command select the packages of a run and their files, which compiles nothing. The types have to be
// checked afterwards.
func (w *world) load(r run, dir string) (loaded, error) {
	mode := packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedModule |
		packages.NeedForTest
	if r.cgo {
		mode |= packages.NeedCompiledGoFiles // which runs cgo
	}
	found, err := packages.Load(&packages.Config{
		Mode: mode, Dir: dir, Env: r.env(), BuildFlags: []string{"-tags=" + r.tag}, Tests: r.tests, Fset: w.fset,
	}, r.what...)
	if err != nil {
		return loaded{}, err
	}
	if len(found) == 0 {
		return loaded{}, fmt.Errorf("no packages in %v", r.what)
	}
	tested := map[string]bool{}
	for _, p := range found {
		tested[p.ForTest] = tested[p.ForTest] || p.PkgPath == p.ForTest
	}
	l := loaded{run: r}
	shared := map[*packages.Package]*packages.Package{}
	for _, p := range found {
		if strings.HasSuffix(p.ID, ".test") {
			// The generated main: what is wrong with it the go command has found.
			p.Imports, p.IllTyped = nil, true
			l.all = append(l.all, p)
			continue
		}
		q := w.share(p, shared)
		l.all = append(l.all, q)
		if p.ForTest != "" || !tested[p.PkgPath] {
			l.vetted = append(l.vetted, q)
		}
	}
	return l, nil
}

// share returns the package that was loaded from the same files and packages, which is p if there is none.
func (w *world) share(p *packages.Package, shared map[*packages.Package]*packages.Package) *packages.Package {
	if q, ok := shared[p]; ok {
		return q
	}
	if p.CompiledGoFiles == nil {
		p.CompiledGoFiles = p.GoFiles
	}
	var key strings.Builder
	fmt.Fprintln(&key, p.ID, p.CompiledGoFiles, p.OtherFiles) // the folder's other files are ignored
	if p.Module != nil {
		fmt.Fprintln(&key, p.Module.GoVersion)
	}
	for _, path := range slices.Sorted(maps.Keys(p.Imports)) {
		p.Imports[path] = w.share(p.Imports[path], shared)
		fmt.Fprintf(&key, "%s %p\n", path, p.Imports[path])
	}
	q, ok := w.known[key.String()]
	if !ok || len(p.Errors) > 0 {
		q = p
		w.known[key.String()] = p
		w.fresh = append(w.fresh, p)
	}
	shared[p] = q
	return q
}

// check checks the types of all that was loaded.
func (w *world) check() {
	done := map[*packages.Package]chan struct{}{}
	for _, p := range w.fresh {
		done[p] = make(chan struct{})
	}
	var wg sync.WaitGroup
	for _, p := range w.fresh {
		wg.Go(func() {
			defer close(done[p])
			for _, imported := range p.Imports {
				if ready, ok := done[imported]; ok {
					<-ready
				}
			}
			w.checkPackage(p)
		})
	}
	wg.Wait()
	w.fresh = nil
}

func (w *world) checkPackage(p *packages.Package) {
	p.Fset, p.TypesSizes = w.fset, w.sizes
	if p.PkgPath == "unsafe" {
		p.Types, p.TypesInfo = types.Unsafe, newInfo(0)
		return
	}
	mode := parser.SkipObjectResolution // and without comments: for what is imported, analyzers need neither
	if p.Module != nil && p.Module.Main {
		mode = parser.ParseComments | parser.AllErrors
	}
	size := 0
	for _, name := range p.CompiledGoFiles {
		file, err := w.parse(name, mode)
		if err != nil {
			p.Errors = append(p.Errors, syntaxErrors(name, err)...)
		}
		if file != nil {
			p.Syntax = append(p.Syntax, file)
			size += int(file.FileEnd - file.FileStart)
		}
	}
	config := types.Config{
		Importer: imports(p.Imports),
		Sizes:    w.sizes,
		Error: func(err error) {
			e := err.(types.Error)
			p.TypeErrors = append(p.TypeErrors, e)
			p.Errors = append(p.Errors, packages.Error{Pos: e.Fset.Position(e.Pos).String(), Msg: e.Msg, Kind: packages.TypeError})
		},
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		config.GoVersion = "go" + p.Module.GoVersion
	}
	p.Types, p.TypesInfo = types.NewPackage(p.PkgPath, p.Name), newInfo(size)
	err := types.NewChecker(&config, w.fset, p.Types, p.TypesInfo).Files(p.Syntax)
	if err != nil && len(p.Errors) == 0 {
		p.Errors = append(p.Errors, packages.Error{Pos: "-", Msg: err.Error(), Kind: packages.TypeError})
	}
	p.IllTyped = len(p.Errors) > 0
	for _, imported := range p.Imports {
		p.IllTyped = p.IllTyped || imported.IllTyped
	}
}

// newInfo makes room for what there is to say of so many bytes of Go, on average: to grow the maps takes longer than to fill
// them.
func newInfo(size int) *types.Info {
	return &types.Info{
		Types:        make(map[ast.Expr]types.TypeAndValue, size/13),
		Defs:         make(map[*ast.Ident]types.Object, size/120),
		Uses:         make(map[*ast.Ident]types.Object, size/24),
		Implicits:    map[ast.Node]types.Object{},
		Instances:    map[*ast.Ident]types.Instance{},
		Scopes:       make(map[ast.Node]*types.Scope, size/140),
		Selections:   make(map[*ast.SelectorExpr]*types.Selection, size/150),
		FileVersions: map[*ast.File]string{},
	}
}

// imports are packages by the paths that a package imports them by.
type imports map[string]*packages.Package

func (i imports) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if p := i[path]; p != nil && p.Types != nil {
		return p.Types, nil
	}
	return nil, errors.New("the go command did not find it")
}

func syntaxErrors(name string, err error) (errs []packages.Error) {
	var list scanner.ErrorList
	if errors.As(err, &list) {
		for _, e := range list {
			errs = append(errs, packages.Error{Pos: e.Pos.String(), Msg: e.Msg, Kind: packages.ParseError})
		}
		return errs
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return []packages.Error{{Pos: name + ":1", Msg: err.Error(), Kind: packages.ParseError}}
}
