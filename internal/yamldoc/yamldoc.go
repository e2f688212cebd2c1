// Package yamldoc reads YAML for loaders that keep positions: the spec's and that of card files.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Error is what keeps a text from being YAML.
type Error struct {
	Line, Col int // from 1
	Msg       string
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Msg) }

// Load reads a text of one document. root is nil if there is none, or only errors; second is what may follow it and
// should not.
func Load(data []byte) (root, second *yaml.Node, errs []*Error) {
	if at, what := unreadable(data); what != "" {
		line := 1 + bytes.Count(data[:at], []byte{'\n'})
		col := 1 + utf8.RuneCount(data[bytes.LastIndexByte(data[:at], '\n')+1:at])
		return nil, nil, []*Error{{line, col, what}}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, nil, []*Error{syntax(err)}
	}
	root, second = new(yaml.Node), new(yaml.Node)
	switch err := loader.Load(root); {
	case err == io.EOF:
		return nil, nil, nil
	case err != nil:
		return nil, nil, []*Error{syntax(err)}
	}
	switch err := loader.Load(second); {
	case err == io.EOF:
		return root, nil, nil
	case err != nil:
		return root, nil, []*Error{syntax(err)}
	}
	return root, second, nil
}

// unreadable finds the first byte that YAML does not allow. The YAML library would say so too, but not where, and it
// reads UTF-16 as well.
func unreadable(data []byte) (at int, what string) {
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return at, fmt.Sprintf("byte 0x%02X is not UTF-8: save the file as UTF-8", data[at])
		case unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r):
			return at, fmt.Sprintf("control character %U: remove it", r)
		}
		at += size
	}
	return at, ""
}

func syntax(err error) *Error {
	e := &Error{1, 1, err.Error()}
	var le *yaml.LoadError
	if errors.As(err, &le) {
		e.Msg = le.Message
		if le.ContextMsg != "" {
			e.Msg = le.ContextMsg + ": " + e.Msg
		}
		if le.Mark.Line > 0 {
			e.Line, e.Col = le.Mark.Line, max(le.Mark.Column, 1)
		}
	}
	e.Msg = "YAML: " + strings.ReplaceAll(e.Msg, "\n", " ")
	return e
}

// Unusable says why a node may not be a value: the file has to read the same to a person, an editor and us. It is empty
// if the node may be one.
func Unusable(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.AliasNode:
		return "YAML aliases are not allowed: write the value out"
	case n.Anchor != "":
		return fmt.Sprintf("YAML anchors are not allowed: remove %q", "&"+n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Sprintf("YAML tags are not allowed: remove %q", n.Tag)
	}
	return ""
}

// Describe says what a node is, for "found ...".
func Describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		value := n.Value
		if len(value) > 40 {
			value = strings.ToValidUTF8(value[:40], "") + "..."
		}
		switch n.Tag {
		case "!!int", "!!float":
			return fmt.Sprintf("the number %s", value)
		case "!!bool":
			return fmt.Sprintf("the boolean %s", value)
		case "!!timestamp":
			return fmt.Sprintf("the date %s", value)
		case "!!str":
			return fmt.Sprintf("the text %q", value)
		}
	}
	return "something else"
}

// DidYouMean returns ` (did you mean "x"?)` for the candidate that is closest to the name, or nothing if none is
// close.
func DidYouMean(name string, candidates []string) string {
	best, least := "", max(len(name)/3, 1)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if c == name || c == "" || max(len(c), len(name))-min(len(c), len(name)) >= least {
			continue
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least && d < len(name) {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is the number of letters to insert, remove, replace or swap with the next one to get from a to b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
