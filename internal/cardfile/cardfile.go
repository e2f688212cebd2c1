// Package cardfile reads YAML files that describe virtual cards, for the commands of pcsc that have one in a reader.
//
// Every file has a kind:
//
//	kind: demo            # the card of virtual.NewDemoCard
//
//	kind: files           # the card of package filesystem
//	mf:
//	  pins:
//	    - {reference: 01, value: 1234, puk: 12345678}
//	  efs:
//	    - {id: 2F02, sfi: 2, text: serial number 1, update: never}
//	  dfs:
//	    - id: 5000
//	      name: F0 67 6F 70 63 73 63
//	      efs:
//	        - {id: 5001, sfi: 1, size: 128, read: 01}
//
//	kind: script          # the card of virtual.NewScript
//	script: |
//	  00A40400 07 F0676F70637363: 9000
//
//	kind: recording       # what a virtual.Recorder has written
//	recording: card.txt
//
// Scripts and recordings begin anew when the card is reset. All kinds but demo may have an atr, in hexadecimal. Names of
// files are relative to the card file.
//
// # Cards with files
//
// The keys are the fields of filesystem.Config and of what is in it, in lower case with underscores: mf, short_only; id,
// name, efs, dfs, pins, data, control; sfi, structure, size, records, record_size, max_records, read, update; reference,
// value, tries, min_length, max_length, length, pad, puk, puk_tries, unblock; tag. In addition:
//
//   - Identifiers, names, tags, references and all other bytes are hexadecimal, with spaces as one likes. Sizes, short
//     identifiers and numbers of tries are decimal.
//   - What a file, a record or a data object holds is one of hex, text, and file, which is the name of a file. A record
//     may also be the hexadecimal digits alone.
//   - A PIN's value and puk are text. In their place it may have hex and puk_hex.
//   - A structure is "transparent", "linear fixed", "linear variable" or "cyclic".
//   - A condition (read, update, unblock) is "always", "never" or the references of PINs: "01", "01 and 81", "01 or 81".
package cardfile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/gopcsc/gopcsc/internal/yamldoc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
	"github.com/gopcsc/gopcsc/pcsc/virtual/filesystem"
)

// Fault is a mistake in a card file.
type Fault struct {
	File      string
	Line, Col int
	Path      string // to the value: "mf.efs[0].sfi"; empty if it is about the file
	Msg       string
}

// Error formats the fault on one line.
func (f *Fault) Error() string {
	path := f.Path
	if path != "" {
		path += ": "
	}
	return fmt.Sprintf("%s:%d:%d: %s%s", f.File, f.Line, f.Col, path, f.Msg)
}

// Faults are all mistakes that were found, ordered by position.
type Faults []*Fault

// Error formats the faults, one per line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads a card file and makes its card. The error is a Faults, unless the file can't be read at all.
func Load(name string) (virtual.Card, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parse(name, data, func(other string) ([]byte, error) {
		if !filepath.IsAbs(other) {
			other = filepath.Join(filepath.Dir(name), other)
		}
		return os.ReadFile(other)
	})
}

// parse makes the card of a card file. read reads the files that are named in it.
func parse(name string, data []byte, read func(string) ([]byte, error)) (virtual.Card, error) {
	d := &decoder{file: name, read: read, places: map[string]entry{}}
	card := d.document(data)
	if len(d.faults) == 0 {
		return card, nil
	}
	slices.SortStableFunc(d.faults, func(a, b *Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return nil, d.faults
}

var kinds = map[string]func(*decoder, entry) virtual.Card{
	"demo":      (*decoder).demo,
	"files":     (*decoder).files,
	"script":    (*decoder).script,
	"recording": (*decoder).recording,
}

func (d *decoder) document(data []byte) virtual.Card {
	root, second, errs := yamldoc.Load(data)
	for _, e := range errs {
		d.faults = append(d.faults, &Fault{d.file, e.Line, e.Col, "", e.Msg})
	}
	if root == nil {
		if len(errs) == 0 {
			d.faults = append(d.faults, &Fault{d.file, 1, 1, "", "the file is empty: describe a card, beginning with its kind"})
		}
		return nil
	}
	if second != nil {
		d.fault(entry{Node: second}, "a second document: put it in a file of its own, or remove the ---")
	}
	top := entry{Node: root}
	if len(root.Content) == 1 {
		top.Node = root.Content[0]
	}
	if !d.isMapping(top) {
		return nil
	}
	// The kind says which keys there are, so it is looked at first.
	kind, ok := d.find(top, "kind")
	if !ok {
		d.fault(top, `"kind" is missing: %s`, oneOf(kinds))
		return nil
	}
	make := kinds[kind.Value]
	if kind.Kind != yaml.ScalarNode || make == nil {
		d.fault(kind, "wanted %s, found %s%s", oneOf(kinds), yamldoc.Describe(kind.Node), yamldoc.DidYouMean(kind.Value, names(kinds)))
		return nil
	}
	return make(d, top)
}

// kind is the key that has been looked at already.
var kind = field{key: "kind", to: func(entry) {}}

func (d *decoder) demo(top entry) virtual.Card {
	d.mapping(top, kind)
	return virtual.NewDemoCard()
}

// atrScript is a script whose answer to reset is in another place.
type atrScript struct {
	*virtual.Script
	atr []byte
}

func (s *atrScript) ATR() []byte { return slices.Clone(s.atr) }

func (d *decoder) script(top entry) virtual.Card {
	var atr []byte
	var text entry
	d.mapping(top, kind, field{key: "atr", to: d.atr(&atr)}, field{key: "script", required: true, to: func(e entry) {
		if d.isText(e) {
			text = e
		}
	}})
	if text.Node == nil {
		return nil
	}
	return d.scriptCard(atr, text.Value, func(line int) *Fault {
		f := &Fault{d.file, text.Line, text.Column, text.path, ""}
		if text.Style&yaml.LiteralStyle != 0 { // else its lines are not those of the file
			f.Line, f.Col = text.Line+line, 1
		}
		return f
	})
}

func (d *decoder) recording(top entry) virtual.Card {
	var atr, text []byte
	var name string
	d.mapping(top, kind, field{key: "atr", to: d.atr(&atr)}, field{key: "recording", required: true, to: func(e entry) {
		name = e.Value
		d.contents(&text)(e)
	}})
	if len(d.faults) > 0 {
		return nil
	}
	return d.scriptCard(atr, string(text), func(line int) *Fault { return &Fault{name, line, 1, "", ""} })
}

// scriptCard makes a card of a script's text. at is where a line of it is.
func (d *decoder) scriptCard(atr []byte, text string, at func(line int) *Fault) virtual.Card {
	card, err := virtual.LoadScript(strings.NewReader(text), virtual.WithRewind())
	for _, err := range all(err) {
		f, line := &virtual.ScriptFault{}, 1
		msg := err.Error()
		if errors.As(err, &f) {
			line, msg = f.Line, f.Msg
		}
		fault := at(line)
		fault.Msg = msg
		d.faults = append(d.faults, fault)
	}
	if err != nil || atr == nil {
		return card
	}
	return &atrScript{card, atr}
}

// files makes a card with files. What package filesystem finds wrong gets the position of the value.
func (d *decoder) files(top entry) virtual.Card {
	var c filesystem.Config
	d.mapping(top, kind,
		field{"atr", "ATR", false, d.bytes(&c.ATR)},
		field{"short_only", "ShortOnly", false, d.bool(&c.ShortOnly)},
		field{"mf", "MF", true, d.df(&c.MF)},
	)
	if len(d.faults) > 0 {
		return nil // further ones may follow from these
	}
	card, err := filesystem.New(c)
	for _, err := range all(err) {
		at, msg := top, err.Error()
		var f *filesystem.Fault
		if errors.As(err, &f) {
			at, msg = d.place(f.Path, top), f.Msg
		}
		d.fault(at, "%s", msg)
	}
	return card
}

// place finds the value that package filesystem calls path, or what it lies in.
func (d *decoder) place(path string, otherwise entry) entry {
	for path != "" {
		if e, ok := d.places[path]; ok {
			return e
		}
		path = path[:max(strings.LastIndexByte(path, '.'), 0)]
	}
	return otherwise
}

// all returns the errors that are joined in err.
func all(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			return joined.Unwrap()
		}
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
