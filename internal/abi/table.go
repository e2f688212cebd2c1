package main

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/internal/mdtable"
	"github.com/gopcsc/gopcsc/spec"
)

// tables stand for the headers and the library of platforms that are not to be had here.
var tables = map[string]string{"darwin": "internal/abi/macos.md"}

// table is the rows of each section of such a file, by their first cell and the column.
type table map[string]map[string]map[string]string

// noCell is what stands in a cell for nothing.
const noCell = "-"

func readTable(file string) (table, error) {
	list, err := mdtable.Read(file)
	if err != nil {
		return nil, err
	}
	t := table{}
	for _, from := range list {
		section := map[string]map[string]string{}
		if t[from.Section] != nil {
			return nil, fmt.Errorf("%s: there are two tables in %s", file, from.Section)
		}
		t[from.Section] = section
		for _, cells := range from.Rows {
			if section[cells[0]] != nil {
				return nil, fmt.Errorf("%s: a row is there twice: %s", file, cells[0])
			}
			row := map[string]string{}
			for i, c := range from.Columns[1:] {
				row[c] = cells[i+1]
			}
			section[cells[0]] = row
		}
	}
	return t, nil
}

// checkTable compares what the spec says of a platform with its table, both ways.
func checkTable(s *spec.Spec, m *gen.Model, p *spec.Platform) error {
	t, err := readTable(tables[p.Name])
	if err != nil {
		return fmt.Errorf("%s has no headers here and no table in their place: %w", p.Name, err)
	}
	return errors.Join(
		t.checkConstants(s, m, p),
		t.checkControlCodes(m, p),
		t.checkTypes(m, p),
		t.checkPrototypes(m, p),
		compareSymbols(m, p.Name, slices.Collect(maps.Keys(t["Symbols"]))),
	)
}

// checkConstants compares constants. A column is a source of the spec: the headers of the platform, which define a
// constant exactly if the spec says so, or another one, whose values are those of exactly the constants that cite it.
func (t table) checkConstants(s *spec.Spec, m *gen.Model, p *spec.Platform) (err error) {
	add := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(format, args...)) }
	known := map[string]bool{}
	for _, n := range m.Constants() {
		known[n.Name] = true
		row := t["Constants"][n.Name]
		for _, source := range t.columns("Constants") {
			headers := s.Source(source) != nil && s.Source(source).Platform == p.Name
			has, values := slices.Contains(n.Sources, source), n.Value
			if headers {
				has, values = n.Headers[p.Name], n.Native
			}
			cell := row[source]
			there := cell != "" && cell != noCell
			switch {
			case has && !there:
				add("spec/%s: %s: %s does not have it", path.Base(n.File), n.Name, source)
			case !has && there:
				add("spec/%s: %s: %s has it, as %s, and the spec does not say so", path.Base(n.File), n.Name, source, cell)
			case has:
				if v, ok := values[p.Name]; !ok || !isNumber(cell, v.Value) {
					add("spec/%s: %s: value: %s has %s", path.Base(n.File), n.Name, source, cell)
				}
			}
		}
	}
	for name := range t["Constants"] {
		if !known[name] && !leftOut(s, p, name) {
			add("the table has what the spec does not have: %s: add it to the spec, or to left_out with a reason", name)
		}
	}
	return err
}

// columns are the columns of a section but the first.
func (t table) columns(section string) []string {
	for _, row := range t[section] {
		return slices.Sorted(maps.Keys(row))
	}
	return nil
}

func isNumber(cell string, value uint64) bool {
	v, err := strconv.ParseUint(cell, 0, 64)
	return err == nil && v == value
}

// checkControlCodes compares what control codes are made of.
func (t table) checkControlCodes(m *gen.Model, p *spec.Platform) (err error) {
	base, _ := m.CtlCode.Base.For(p.Name)
	shift, _ := m.CtlCode.Shift.For(p.Name)
	for function, row := range t["Control codes"] {
		n, e := strconv.ParseUint(function, 0, 32)
		if code := base.Value + n<<shift.Value; e != nil || !isNumber(row["code"], code) {
			err = errors.Join(err, fmt.Errorf("spec/features.yaml: ctl_code: of function %s it makes %#x, and not %s", function, code, row["code"]))
		}
	}
	return err
}

// cTypes are the types of C that the spec has names for.
var cTypes = map[string]string{"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t", "i32": "int32_t", "i64": "int64_t"}

// checkTypes compares what the headers call integers.
func (t table) checkTypes(m *gen.Model, p *spec.Platform) (err error) {
	has := map[string]string{}
	for _, s := range m.Scalars {
		if s.Headers[p.Name] {
			kind, _ := s.C.For(p.Name)
			has[s.Name] = cTypes[kind]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if is := t["Types"][name]["is"]; is != has[name] {
			err = errors.Join(err, fmt.Errorf("spec/types.yaml: %s: is %s in the spec, and %q in the table", name, has[name], is))
		}
	}
	for name := range t["Types"] {
		if _, ok := has[name]; !ok {
			err = errors.Join(err, fmt.Errorf("spec/types.yaml: the table has what the spec does not have: %s", name))
		}
	}
	return err
}

var word = regexp.MustCompile(`\w+`)

// checkPrototypes compares what functions return and take. That the spec and the table have the same symbols is for
// compareSymbols.
func (t table) checkPrototypes(m *gen.Model, p *spec.Platform) (err error) {
	i := slices.IndexFunc(m.Platforms, func(o *gen.Platform) bool { return o.Name == p.Name })
	plain := func(prototype string) string {
		return word.ReplaceAllStringFunc(prototype, func(w string) string {
			if row, ok := t["Types"][w]; ok {
				return row["is"]
			}
			return w
		})
	}
	for _, fn := range m.Functions {
		symbol := fn.Symbols[p.Name]
		row, ok := t["Symbols"][symbol]
		if !ok {
			continue
		}
		declared := row["takes"] != noCell
		if declared != fn.Declared[p.Name] {
			err = errors.Join(err, fmt.Errorf("spec/functions.yaml: %s: sources: the spec and the table disagree on whether the headers declare %s", fn.Name, symbol))
			continue
		}
		spec, headers := gen.Prototype(m, m.Platforms[i], fn), row["returns"]+"("+row["takes"]+")"
		if declared && plain(spec) != plain(headers) {
			err = errors.Join(err, fmt.Errorf("spec/functions.yaml: %s: %s is %s in the spec, and %s in the headers", fn.Name, symbol, spec, headers))
		}
	}
	return err
}
