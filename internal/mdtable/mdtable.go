// Package mdtable reads the tables of a Markdown file, which stand for headers that can't be had.
package mdtable

import (
	"fmt"
	"os"
	"strings"
)

// A Table is one table of a file.
type Table struct {
	Section string // the last heading of the second level before it
	Columns []string
	Rows    [][]string // with as many cells as there are columns
}

// Read returns the tables of a file in their order.
func Read(file string) (tables []Table, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var section string
	var current *Table // that the next row belongs to
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if !strings.HasPrefix(line, "|") {
			current = nil
			continue
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if current == nil {
			tables = append(tables, Table{Section: section, Columns: cells})
			current = &tables[len(tables)-1]
			continue
		}
		if len(cells) != len(current.Columns) {
			return nil, fmt.Errorf("%s: a row has not as many cells as its table: %s", file, line)
		}
		current.Rows = append(current.Rows, cells)
	}
	return tables, nil
}
