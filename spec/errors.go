package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String formats the position as file:line:column.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

func (p Pos) compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Fault is one mistake in the spec. Its message says what is wrong and what to do about it.
type Fault struct {
	Pos
	Kind Kind
	Path string // the entry by name, and the key: "SCardControl.cbSendLength: of"
	Msg  string
}

// Error formats the fault on one line.
func (f *Fault) Error() string {
	if f.Path == "" {
		return f.Pos.String() + ": " + f.Msg
	}
	return f.Pos.String() + ": " + f.Path + ": " + f.Msg
}

// Faults are all the mistakes that were found, ordered by position. Both Load and Validate return their error as
// Faults, so a caller that wants them one by one uses errors.As.
type Faults []*Fault

// Error formats the faults, one per line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults.
func (fs Faults) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// err returns the faults in order, or an untyped nil if there are none.
func (fs Faults) err() error {
	if len(fs) == 0 {
		return nil
	}
	slices.SortStableFunc(fs, func(a, b *Fault) int {
		return cmp.Or(a.Pos.compare(b.Pos), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.CompactFunc(fs, func(a, b *Fault) bool { return *a == *b })
}

func (fs *Faults) add(pos Pos, kind Kind, path, format string, args ...any) {
	*fs = append(*fs, &Fault{Pos: pos, Kind: kind, Path: path, Msg: fmt.Sprintf(format, args...)})
}

// join makes the path of a fault from that of an entry and a key.
func join(entry, key string) string {
	if entry == "" || key == "" {
		return entry + key
	}
	return entry + ": " + key
}

// within makes the path of an entry from that of its parent and its own name.
func within(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

// element names an element of a list that has no name of its own.
func element(key string, index int) string { return fmt.Sprintf("%s[%d]", key, index) }

// printable returns a name as it is if it can stand in a line of text, quoted if not.
func printable(name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// quoted lists names for a message: "a", "b" or "c".
func quoted(names []string, last string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			b.WriteString(" " + last + " ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(n))
	}
	return b.String()
}
