package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/spec"
)

// undeclared are the tables of what libraries have and the headers of the platform do not declare.
var undeclared = map[string]string{"windows": "internal/abi/windows.md"}

// checkUndeclared compares the prototypes of functions that a platform's headers do not declare with a table, which has
// those functions and no others.
func checkUndeclared(m *gen.Model, p *spec.Platform) error {
	t, err := readTable(undeclared[p.Name])
	if err != nil {
		return err
	}
	return t.compareUndeclared(m, m.Platforms[slices.IndexFunc(m.Platforms, func(o *gen.Platform) bool { return o.Name == p.Name })])
}

func (t table) compareUndeclared(m *gen.Model, p *gen.Platform) (err error) {
	rows := maps.Clone(t["Symbols"])
	for _, fn := range m.Functions {
		if !fn.Available(p.Name) || fn.Declared[p.Name] {
			continue
		}
		symbol := fn.Symbols[p.Name]
		row, ok := rows[symbol]
		delete(rows, symbol)
		is, takes := gen.Prototype(m, p, fn), row["returns"]+"("+row["takes"]+")"
		switch {
		case !ok:
			err = errors.Join(err, fmt.Errorf("spec/functions.yaml: %s: no header declares %s, and the table does not have it", fn.Name, symbol))
		case row["takes"] == noCell:
			if len(fn.Args) > 0 {
				err = errors.Join(err, fmt.Errorf("spec/functions.yaml: %s: %s is %s in the spec, and takes nothing", fn.Name, symbol, is))
			}
		case is != takes:
			err = errors.Join(err, fmt.Errorf("spec/functions.yaml: %s: %s is %s in the spec, and %s in the table", fn.Name, symbol, is, takes))
		}
	}
	for _, symbol := range slices.Sorted(maps.Keys(rows)) {
		err = errors.Join(err, fmt.Errorf("the table has %s, which the spec lacks, or has from a header", symbol))
	}
	return err
}
