package gen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/spec"
)

// emitReference emits the tables for people, in Markdown: what there is on each platform and how it is checked.
func emitReference(m *Model) ([]File, error) {
	pages := []struct {
		name, title string
		emit        func(*page)
		sources     []string
	}{
		{"functions", "Functions", (*page).functions, []string{"functions", "platforms"}},
		{"constants", "Constants", (*page).constants, []string{"constants", "errors", "attributes", "features", "platforms"}},
		{"errors", "Return codes", (*page).errors, []string{"errors", "platforms"}},
		{"attributes", "Reader attributes", (*page).attributes, []string{"attributes", "platforms"}},
		{"features", "Control codes and PC/SC part 10", (*page).features, []string{"features", "platforms"}},
		{"statuswords", "Status words of ISO/IEC 7816-4", (*page).statuses, []string{"statuswords"}},
		{"layouts", "Types and structures", (*page).layouts, []string{"types", "features", "platforms"}},
		{"platforms", "Platforms, and how each is checked", (*page).platforms, []string{"platforms"}},
	}
	var files []File
	index := &page{model: m}
	index.printf("%s\n\n# Reference\n\nWhat the spec says of PC/SC, as tables.\n\n", markdownHeader("platforms"))
	for _, p := range pages {
		pg := &page{model: m}
		pg.printf("%s\n\n# %s\n", markdownHeader(p.sources...), p.title)
		p.emit(pg)
		files = append(files, File{Path: "generated/reference/" + p.name + ".md", Content: []byte(pg.String())})
		index.printf("- [%s](%s.md)\n", p.title, p.name)
	}
	support := &page{model: m}
	support.support()
	return append(files,
		File{Path: "generated/reference/README.md", Content: []byte(index.String())},
		File{Path: "README.md", Section: "support", Content: []byte(support.String())}), nil
}

// markdownHeader is the header of generated files, in a comment of Markdown.
func markdownHeader(sources ...string) string {
	return "<!-- " + strings.TrimPrefix(header(sources...), "// ") + " -->"
}

// page is a page of Markdown.
type page struct {
	strings.Builder
	model *Model
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// table adds a table, unless it has no rows.
func (p *page) table(columns []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.printf("\n| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(strings.ReplaceAll(row[i], "|", "\\|"), "\n", " ")
		}
		p.printf("| %s |\n", strings.Join(row, " | "))
	}
}

// titles are the columns of the platforms.
func (p *page) titles() (titles []string) {
	for _, pl := range p.model.Platforms {
		titles = append(titles, pl.Title)
	}
	return titles
}

// each makes a cell for each platform.
func (p *page) each(cell func(*Platform) string) (cells []string) {
	for _, pl := range p.model.Platforms {
		cells = append(cells, cell(pl))
	}
	return cells
}

func code(s string) string { return "`" + s + "`" }

func (p *page) functions() {
	p.printf("\nEach cell is the symbol that the backends use, and the first version of the platform that has it, where its manual\n" +
		"names one. A function that a platform lacks gives an error that is `errors.ErrUnsupported` there; one that may be\n" +
		"missing gives it where it is. What is not in package pcsc is in winscard.Backend alone.\n")
	var rows [][]string
	for _, f := range p.model.Functions {
		row := append([]string{code(f.Name)}, p.each(func(pl *Platform) string {
			symbol, ok := f.Symbols[pl.Name]
			if !ok {
				return "no"
			}
			cell := code(symbol)
			if since, ok := f.Since.For(pl.Name); ok {
				cell += ", since " + since
			}
			if f.Optional {
				cell += ", may be missing"
			}
			return cell
		})...)
		rows = append(rows, append(row, yes(f.API != "none"), yes(f.Blocking), f.Doc))
	}
	p.table(slices.Concat([]string{"function"}, p.titles(), []string{"in package pcsc", "can block", "what it does"}), rows)

	var unbound [][]string
	for _, pl := range p.model.Platforms {
		for _, l := range pl.Libraries {
			for _, u := range l.Unbound {
				unbound = append(unbound, []string{code(u.Name), pl.Title, u.Doc})
			}
		}
	}
	slices.SortFunc(unbound, slices.Compare)
	if unbound != nil {
		p.printf("\n## Symbols that no function is for\n")
		p.table([]string{"symbol", "platform", "what it is, and why"}, unbound)
	}
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// values makes the row of a constant: its value on each platform, and what the headers say of it.
func (p *page) values(n *Named) []string {
	row := p.native(n)
	for i, pl := range p.model.Platforms {
		if _, defined := n.Native[pl.Name]; !defined && n.Str == nil && row[i+2] != "no" {
			row[i+2] += ", not in the headers"
		}
	}
	return row
}

// native makes the row of a constant: its value on each platform.
func (p *page) native(n *Named) []string {
	return append([]string{code(n.Name), code(n.Go)}, p.each(func(pl *Platform) string {
		if n.Str != nil {
			return code(*n.Str)
		}
		v, ok := n.Value[pl.Name]
		if !ok {
			return "no"
		}
		if native, defined := n.Native[pl.Name]; defined && native.Value != v.Value {
			return v.Text + ", " + native.Text + " in the library"
		}
		return v.Text
	})...)
}

// together makes one cell of those of a row of native: the value, and where there are several, whose each is.
func (p *page) together(row []string) string {
	cells := row[2:]
	if len(slices.Compact(slices.Clone(cells))) == 1 {
		return cells[0]
	}
	var all []string
	for i, cell := range cells {
		if slices.Contains(cells[:i], cell) {
			continue
		}
		var titles []string
		for j, pl := range p.model.Platforms {
			if cells[j] == cell {
				titles = append(titles, pl.Title)
			}
		}
		all = append(all, cell+" ("+strings.Join(titles, ", ")+")")
	}
	return strings.Join(all, "; ")
}

func (p *page) constants() {
	columns := slices.Concat([]string{"C", "Go"}, p.titles())
	var differ [][]string
	for _, n := range p.model.Constants() {
		row := p.native(n)
		if len(slices.Compact(slices.Clone(row[2:]))) > 1 {
			differ = append(differ, row)
		}
	}
	p.printf("\n## What differs\n\nOf all constants, with [return codes](errors.md), [attributes](attributes.md), and [control codes and features](features.md).\n")
	p.table(columns, differ)
	if p.model.CtlCode != nil {
		p.printf("\n%s\n", p.model.CtlCode.Doc)
	}
	for _, g := range p.model.Groups {
		p.printf("\n## %s\n\n%s\n", g.Name, g.Doc)
		var rows [][]string
		for _, n := range g.Values {
			rows = append(rows, append(p.values(n), n.Doc))
		}
		p.table(append(slices.Clone(columns), "what it is"), rows)
	}
}

func (p *page) errors() {
	p.printf("\nCodes are compared as 32 bits, whatever the sign and the width of a LONG.\n")
	var rows [][]string
	for _, c := range p.model.Codes {
		row := p.native(&c.Named)
		rows = append(rows, []string{row[0], row[1], p.together(row), c.Text, c.Hint})
	}
	p.table([]string{"C", "Go", "value", "meaning", "what to do"}, rows)
}

func (p *page) attributes() {
	var rows [][]string
	for _, a := range p.model.Attrs {
		row := p.native(&a.Named)
		unit := a.Decode
		if a.Unit != "" {
			unit += ", " + a.Unit
		}
		rows = append(rows, []string{row[0], row[1], p.together(row), unit, a.Doc})
	}
	p.table([]string{"C", "Go", "value", "type", "what it is"}, rows)
}

func (p *page) features() {
	columns := slices.Concat([]string{"C", "Go"}, p.titles(), []string{"what it is"})
	section := func(title string, all []*Named) {
		var rows [][]string
		for _, n := range all {
			rows = append(rows, append(p.values(n), n.Doc))
		}
		p.printf("\n## %s\n", title)
		p.table(columns, rows)
	}
	section("Control codes", p.model.Controls)
	section("Features", p.model.Features)
	var props []*Named
	for _, x := range p.model.Props {
		props = append(props, &x.Named)
	}
	section("Properties", props)
}

func (p *page) statuses() {
	var rows [][]string
	for _, s := range p.model.Statuses {
		rows = append(rows, []string{s.Name, code(s.Go), s.Text})
	}
	p.table([]string{"status", "Go", "meaning"}, rows)
}

func (p *page) layouts() {
	var abis []string
	for _, a := range p.model.ABIs {
		abis = append(abis, fmt.Sprintf("%s, %d bits", a.Platform.Title, a.Bits))
	}
	p.printf("\nSizes and offsets are in bytes; the bits are those of a pointer.\n\n## Types\n")
	var rows [][]string
	for _, s := range p.model.Scalars {
		row := []string{code(s.Name)}
		for _, a := range p.model.ABIs {
			cell := "no"
			if _, ok := s.C.For(a.Platform.Name); ok {
				size, signed := s.Width(a)
				cell = fmt.Sprint(size)
				if signed {
					cell += ", signed"
				}
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	p.table(append([]string{"type"}, abis...), rows)
	for _, s := range p.model.Structs {
		p.printf("\n## %s\n\n%s\n", s.Name, s.Doc)
		rows := make([][]string, len(s.Fields)+1)
		rows[0] = []string{"size"}
		for i, f := range s.Fields {
			rows[i+1] = []string{code(f.Name)}
		}
		var columns []string
		for i, a := range p.model.ABIs {
			l := s.Layouts[a.Name]
			if l == nil {
				continue
			}
			columns = append(columns, abis[i])
			rows[0] = append(rows[0], fmt.Sprint(l.Size))
			for j := range s.Fields {
				cell := fmt.Sprintf("at %d, %d", l.Offsets[j], l.Sizes[j]*l.Lens[j])
				rows[j+1] = append(rows[j+1], cell)
			}
		}
		p.table(append([]string{"field"}, columns...), rows)
	}
}

// target is a system and architecture with what is done to check it.
type target struct {
	name string
	*spec.Target
	proof *spec.Proof // nil if there is none
}

// targets lists the targets of a platform, those with another C library after the usual one.
func (p *page) targets(pl *Platform) (targets []target) {
	for _, t := range pl.Targets {
		for _, arch := range t.GOARCH {
			name := t.GOOS + "/" + arch
			usual := true
			for _, proof := range pl.Proofs {
				if proof.Target != name {
					continue
				}
				full := name
				if proof.Libc != "" {
					full += " (" + proof.Libc + ")"
				} else {
					usual = false
				}
				targets = append(targets, target{full, t, proof})
			}
			if usual {
				targets = append(targets, target{name, t, nil})
			}
		}
	}
	slices.SortFunc(targets, func(a, b target) int { return strings.Compare(a.name, b.name) })
	return targets
}

// dlopen says how the dlopen backend can be had without cgo.
func (t target) dlopen() string {
	switch {
	case t.proof != nil && t.proof.Libc != "" && t.proof.Dlopen == "":
		return "" // Go does not build for it
	case !t.Dlopen:
		return "no"
	case t.Go != "":
		return "from Go " + t.Go
	case t.Flags != "":
		return "with a tag and " + code(t.Flags)
	}
	return "yes"
}

// layouts says how layouts and constants are checked.
func (t target) layouts() string {
	if t.proof == nil {
		return "as on other targets of the platform"
	}
	compiler, _, _ := strings.Cut(t.proof.Compiler, " ")
	switch t.proof.Headers {
	case "table":
		return "checked by table, compiled by " + code(compiler)
	case "stand_in":
		return "checked by compiler: " + code(compiler) + ", stand-in headers"
	}
	return "checked by compiler: " + code(compiler)
}

// runs says what runs where.
func (t target) runs() string {
	var runs []string
	if t.proof != nil && t.proof.Cgo != "" {
		runs = append(runs, "cgo: "+code("make "+t.proof.Cgo))
	}
	if t.proof != nil && t.proof.Dlopen != "" {
		runs = append(runs, "dlopen: "+code("make "+t.proof.Dlopen))
	}
	if runs == nil {
		return "no"
	}
	return strings.Join(runs, ", ")
}

// withCgo are the targets whose cgo backend is vetted on any machine.
func (p *page) withCgo() (targets []string) {
	for _, pl := range p.model.Platforms {
		for _, proof := range pl.Proofs {
			if pl.Cgo.PkgConfig == "" && proof.Cgo != "" {
				targets = append(targets, proof.Target)
			}
		}
	}
	slices.Sort(targets)
	return targets
}

func (p *page) platforms() {
	p.printf("\n`make test` vets every target under every choice of backend that needs no C compiler. With cgo it vets the targets that\n"+
		"have both a C compiler that makes programs and headers of PC/SC here: that of the machine, %s.\n\n", strings.Join(p.withCgo(), ", "))
	p.printf("`make abi` has the sizes, offsets, constants and prototypes of the spec checked by a compiler for the target. The headers\n" +
		"of pcsc-lite, which has the same for all systems, are Debian's, and those of Windows mingw's. *By table* means that no\n" +
		"headers can be had: the spec is compared with a table of what they say. Headers are made from the table, with which clang\n" +
		"compiles what is generated from the spec; the cgo backend is compiled so by clang and cgo and its types are checked, but\n" +
		"it is not vetted. *Stand-in headers* means that those of the target's C library can't be had: clang knows the sizes and\n" +
		"the alignment of the target, and the headers of pcsc-lite need nothing but some of musl's, for Linux. What a system\n" +
		"changes in its pcsc-lite is not seen so.\n\n" +
		"Of Windows, prototypes that mingw's header lacks are compared with a table (internal/abi/windows.md), and of three\n" +
		"functions, which no manual has, only the number of arguments is known, from the decoration of 32-bit symbols.\n\n" +
		"What runs, runs the conformance suite, or as much of it as the system can carry: `make test` natively,\n" +
		"`make test-arch` under an emulator where the machine does not run the programs, and `make test-windows` under wine,\n" +
		"which has a part of the library; the rest is called in a library that checks its arguments, as is all with musl.\n")
	for _, pl := range p.model.Platforms {
		p.printf("\n## %s\n\n%s\n", pl.Title, pl.Doc)
		var rows [][]string
		for _, t := range p.targets(pl) {
			rows = append(rows, []string{t.name, t.dlopen(), t.layouts(), t.runs()})
		}
		p.table([]string{"target", "dlopen backend without cgo", "layouts and constants", "run"}, rows)
	}
}

// support is the table of the README: a row for each system.
func (p *page) support() {
	type line struct{ dlopen, compiler, standIn, table, run []string }
	lines := map[string]*line{}
	var systems []string
	for _, pl := range p.model.Platforms {
		for _, t := range p.targets(pl) {
			system, arch, _ := strings.Cut(t.name, "/")
			l := lines[system]
			if l == nil {
				l = &line{}
				lines[system] = l
				systems = append(systems, system)
			}
			if t.Dlopen && (t.proof == nil || t.proof.Libc == "") {
				l.dlopen = append(l.dlopen, arch)
			}
			switch {
			case t.proof == nil:
			case t.proof.Headers == "table":
				l.table = append(l.table, arch)
			case t.proof.Headers == "stand_in":
				l.standIn = append(l.standIn, arch)
			default:
				l.compiler = append(l.compiler, arch)
			}
			if t.runs() != "no" {
				l.run = append(l.run, arch)
			}
		}
	}
	slices.Sort(systems)
	join := func(list []string) string {
		if list == nil {
			return "none"
		}
		return strings.Join(list, ", ")
	}
	var rows [][]string
	for _, s := range systems {
		l := lines[s]
		var how []string
		for _, of := range []struct {
			archs []string
			mark  string
		}{{l.compiler, ""}, {l.standIn, " (stand-in headers)"}, {l.table, " (by table)"}} {
			if of.archs != nil {
				how = append(how, join(of.archs)+of.mark)
			}
		}
		checked := "none"
		if how != nil {
			checked = strings.Join(how, "; ")
		}
		rows = append(rows, []string{s, join(l.dlopen), checked, join(l.run)})
	}
	p.table([]string{"system", "dlopen backend without cgo", "layouts checked by compiler", "run by the tests"}, rows)
}
