package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/gopcsc/gopcsc/internal/yamldoc"
)

// Load reads every *.yaml file at the root of the file system, in the order of their names, into one Spec.
//
// The error is of type Faults and holds every fault of every file, unless a file cannot be read at all.
func Load(fsys fs.FS) (*Spec, error) {
	files, err := readFS(fsys, func(name string) string { return name })
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	return load(files)
}

// LoadDir is Load for a directory, and for further files or directories: the extensions of a vendor. Faults name the
// files as dir and more name them.
func LoadDir(dir string, more ...string) (*Spec, error) {
	var files []source
	for _, name := range append([]string{dir}, more...) {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("spec: %w", err)
		}
		if info.IsDir() {
			in, err := readFS(os.DirFS(name), func(base string) string { return filepath.Join(name, base) })
			if err != nil {
				return nil, fmt.Errorf("spec: %s: %w", name, err)
			}
			files = append(files, in...)
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("spec: %w", err)
		}
		files = append(files, source{name, data})
	}
	return load(files)
}

// source is a file by the name that the caller knows it by.
type source struct {
	name string
	data []byte
}

func readFS(fsys fs.FS, as func(string) string) ([]source, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("no *.yaml file")
	}
	var files []source
	for _, name := range names {
		data, err := fs.ReadFile(fsys, path.Clean(name))
		if err != nil {
			return nil, err
		}
		files = append(files, source{as(name), data})
	}
	return files, nil
}

func load(files []source) (*Spec, error) {
	var faults Faults
	s := new(Spec)
	for _, f := range files {
		var doc Document
		d := decoder{file: f.name, faults: &faults}
		d.document(f.data, &doc)
		merge(&s.Document, &doc, &faults)
		s.Files = append(s.Files, f.name)
	}
	if err := faults.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// merge appends the lists of one file to those of the files before it. What is not a list stands in one file.
func merge(all, one *Document, faults *Faults) {
	to, from := reflect.ValueOf(all).Elem(), reflect.ValueOf(one).Elem()
	for i := range to.NumField() {
		f, add := to.Field(i), from.Field(i)
		switch {
		case f.Kind() == reflect.Slice:
			f.Set(reflect.AppendSlice(f, add))
		case add.IsNil():
		case f.IsNil():
			f.Set(add)
		default:
			at := func(v reflect.Value) Pos { return v.Elem().FieldByName("Node").Interface().(Node).Pos }
			faults.add(at(add), KindRepeated, to.Type().Field(i).Tag.Get("yaml"), "is also given at %s: keep one", at(f))
		}
	}
}

// field is what the tags of a struct field say.
type field struct {
	index    int
	key      string
	doc      string
	required bool
	enum     []string
}

// fieldsOf returns the keys that a schema type has, in order.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key := sf.Tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		f := field{index: i, key: key, doc: sf.Tag.Get("doc")}
		for opt := range strings.SplitSeq(sf.Tag.Get("spec"), ",") {
			if opt == "required" {
				f.required = true
			} else if values, ok := strings.CutPrefix(opt, "enum="); ok {
				f.enum = strings.Split(values, "|")
			}
		}
		fields = append(fields, f)
	}
	return fields
}

// perPlatform is any *PerPlatform[T].
type perPlatform interface {
	parts() (node *Node, def, by reflect.Value)
}

func (p *PerPlatform[T]) parts() (node *Node, def, by reflect.Value) {
	return &p.Node, reflect.ValueOf(&p.Default).Elem(), reflect.ValueOf(&p.By).Elem()
}

var (
	intType         = reflect.TypeFor[Int]()
	nodeType        = reflect.TypeFor[Node]()
	perPlatformType = reflect.TypeFor[perPlatform]()
)

// decoder fills schema types from YAML nodes. It is our own, and not that of the YAML library, because it has to keep
// the position of every key and go on after a fault.
type decoder struct {
	file   string
	faults *Faults
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{d.file, max(n.Line, 1), max(n.Column, 1)} }

func (d *decoder) fault(n *yaml.Node, kind Kind, path, format string, args ...any) {
	d.faults.add(d.pos(n), kind, path, format, args...)
}

func (d *decoder) document(data []byte, doc *Document) {
	root, second, errs := yamldoc.Load(data)
	for _, e := range errs {
		d.faults.add(Pos{d.file, e.Line, e.Col}, KindSyntax, "", "%s", e.Msg)
	}
	if root == nil {
		if len(errs) == 0 {
			d.faults.add(Pos{d.file, 1, 1}, KindDocument, "", "the file holds nothing: give it a key, or delete it")
		}
		return
	}
	if second != nil {
		d.fault(second, KindDocument, "", "a second document: put it in a file of its own, or remove the ---")
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		d.fault(root, KindDocument, "", "wanted a mapping of %s and so on", quoted([]string{"functions", "errors"}, "and"))
		return
	}
	d.mapping(root.Content[0], reflect.ValueOf(doc).Elem(), "")
}

// usable reports the nodes that no value may be: the spec has to read the same to a person, an editor and us.
func (d *decoder) usable(n *yaml.Node, path string) bool {
	if problem := yamldoc.Unusable(n); problem != "" {
		d.fault(n, KindFeature, path, "%s", problem)
		return false
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		d.fault(n, KindNull, path, "has no value: give one, or remove the key")
		return false
	}
	return true
}

// mapping fills an entry, a pointer-free struct value of a schema type.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, entry string) {
	fields := fieldsOf(v.Type())
	keys := d.keys(n, entry, func(key *yaml.Node) bool {
		var known []string
		for _, f := range fields {
			if f.key == key.Value {
				return true
			}
			known = append(known, f.key)
		}
		hint := yamldoc.DidYouMean(key.Value, known)
		if hint == "" {
			hint = ": the keys are " + strings.Join(known, ", ")
		}
		d.fault(key, KindKey, entry, "no key %q%s", key.Value, hint)
		return false
	})
	d.node(n, keys, v)
	for _, f := range fields {
		if value, ok := keys[f.key]; ok {
			d.value(value, v.Field(f.index), entry, f.key, f)
		} else if f.required {
			d.fault(n, KindMissing, entry, "%q is missing: %s", f.key, f.doc)
		}
	}
}

// node records where an entry and its keys are.
func (d *decoder) node(n *yaml.Node, keys map[string]*yaml.Node, v reflect.Value) {
	f := v.FieldByName("Node")
	if !f.IsValid() || f.Type() != nodeType {
		return // a Document
	}
	node := f.Addr().Interface().(*Node)
	node.Pos = d.pos(n)
	node.keys = make(map[string]Pos, len(keys))
	for k, value := range keys {
		node.keys[k] = d.pos(value)
		if value.Kind != yaml.SequenceNode {
			continue
		}
		for i, c := range value.Content {
			if c.Kind == yaml.ScalarNode {
				node.keys[element(k, i)] = d.pos(c)
			}
		}
	}
}

// keys returns the values of a mapping by key, without those keys that are refused.
func (d *decoder) keys(n *yaml.Node, path string, known func(key *yaml.Node) bool) map[string]*yaml.Node {
	first := make(map[string]Pos)
	values := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			d.fault(key, KindFeature, path, "YAML merge keys are not allowed: write the keys out")
			continue
		}
		if key.Kind != yaml.AliasNode && key.Kind != yaml.ScalarNode {
			d.fault(key, KindType, path, "wanted a name as a key, found %s", yamldoc.Describe(key))
			continue
		}
		if key.Tag != "!!null" && !d.usable(key, path) {
			continue
		}
		if at, ok := first[key.Value]; ok {
			d.fault(key, KindRepeated, path, "key %q is already given in line %d: keep one", key.Value, at.Line)
			continue
		}
		first[key.Value] = d.pos(key)
		if known(key) {
			values[key.Value] = value
		}
	}
	return values
}

// value decodes a node into a field of an entry. key is the field's path below the entry.
func (d *decoder) value(n *yaml.Node, v reflect.Value, entry, key string, f field) {
	path := join(entry, key)
	if !d.usable(n, path) {
		return
	}
	t := v.Type()
	switch {
	case t.Implements(perPlatformType):
		v.Set(reflect.New(t.Elem()))
		d.perPlatform(n, v, entry, key, f)
	case t == intType:
		if i, ok := d.integer(n, path, 64); ok {
			v.Set(reflect.ValueOf(i))
		}
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && t.Elem() != intType:
		if n.Kind != yaml.MappingNode {
			d.wrong(n, path, "a mapping")
			return
		}
		v.Set(reflect.New(t.Elem()))
		d.mapping(n, v.Elem(), within(entry, key))
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		if p.Elem().Kind() == reflect.String && isString(n) && n.Value == "" {
			v.Set(p) // unlike a plain string, a pointer can tell empty from absent
			return
		}
		before := len(*d.faults)
		if d.value(n, p.Elem(), entry, key, f); len(*d.faults) == before {
			v.Set(p)
		}
	case t.Kind() == reflect.Slice:
		d.list(n, v, entry, key, f)
	case t.Kind() == reflect.String:
		d.text(n, v, path, f)
	case t.Kind() == reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" || n.Style&quotedStyle != 0 {
			d.wrong(n, path, "true or false")
			return
		}
		v.SetBool(n.Value == "true")
	case t.Kind() == reflect.Int:
		if i, ok := d.integer(n, path, 31); ok {
			v.SetInt(int64(i.Value))
		}
	default:
		panic("spec: schema type " + t.String() + " cannot be decoded") // a mistake in spec.go, seen by every test
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, entry, key string, f field) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, join(entry, key), "a list")
		return
	}
	if len(n.Content) == 0 {
		what := "leave the key out"
		if f.required {
			what = "give at least one: " + f.doc
		}
		d.fault(n, KindEmpty, join(entry, key), "is an empty list: %s", what)
		return
	}
	elem := v.Type().Elem()
	for i, c := range n.Content {
		e := reflect.New(elem).Elem()
		if elem.Kind() != reflect.Pointer {
			d.value(c, e, entry, key, f)
			v.Set(reflect.Append(v, e))
			continue
		}
		name := within(entry, entryName(c, key, i))
		if !d.usable(c, name) {
			continue
		}
		if c.Kind != yaml.MappingNode {
			d.wrong(c, name, "a mapping")
			continue
		}
		e.Set(reflect.New(elem.Elem()))
		d.mapping(c, e.Elem(), name)
		v.Set(reflect.Append(v, e))
	}
}

// entryName is what messages call an element of a list: its name if it has one, else its index.
func entryName(n *yaml.Node, key string, index int) string {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if k, v := n.Content[i], n.Content[i+1]; k.Value == "name" && isString(v) && v.Value != "" {
				return printable(v.Value)
			}
		}
	}
	return element(key, index)
}

func (d *decoder) perPlatform(n *yaml.Node, v reflect.Value, entry, key string, f field) {
	node, def, by := v.Interface().(perPlatform).parts()
	node.Pos = d.pos(n)
	if n.Kind != yaml.MappingNode {
		d.value(n, def, entry, key, f)
		return
	}
	if len(n.Content) == 0 {
		d.fault(n, KindEmpty, join(entry, key), "is an empty mapping: give a value for a platform, or leave the key out")
		return
	}
	by.Set(reflect.MakeMap(by.Type()))
	keys := d.keys(n, join(entry, key), func(*yaml.Node) bool { return true })
	d.node(n, keys, v.Elem())
	for _, platform := range sortedKeys(keys) {
		value, at := keys[platform], key+"."+printable(platform)
		if platform == "default" {
			d.value(value, def, entry, at, f)
			continue
		}
		e := reflect.New(by.Type().Elem()).Elem()
		d.value(value, e, entry, at, f)
		by.SetMapIndex(reflect.ValueOf(platform), e)
	}
}

const quotedStyle = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

func isString(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!str" }

func (d *decoder) text(n *yaml.Node, v reflect.Value, path string, f field) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!str":
		// Editors that follow the JSON schema refuse an unquoted 1.10 as well, and YAML would make 1.1 of it.
		d.fault(n, KindType, path, "wanted text, found %s: put it in quotes", yamldoc.Describe(n))
	case n.Kind != yaml.ScalarNode:
		d.wrong(n, path, "text")
	case n.Value == "":
		d.fault(n, KindEmpty, path, "is empty: give a text, or leave the key out")
	case strings.TrimSpace(n.Value) != n.Value:
		d.fault(n, KindBlank, path, "has white space around it: remove it (a folded text ends without a line break if it begins with >-)")
	case strings.ContainsFunc(n.Value, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }):
		d.fault(n, KindBlank, path, "%q has characters that cannot be printed: remove them", n.Value)
	case f.enum != nil && !slices.Contains(f.enum, n.Value):
		d.fault(n, KindEnum, path, "wanted %s, found %q%s", quoted(f.enum, "or"), n.Value, yamldoc.DidYouMean(n.Value, f.enum))
	default:
		v.SetString(n.Value)
	}
}

// integer reads a decimal or hexadecimal number. Go and YAML disagree on what else could be one (0777, 0b1, 1_000).
func (d *decoder) integer(n *yaml.Node, path string, bits int) (i Int, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Style&quotedStyle != 0 || n.Value == "" || !strings.ContainsRune("+-0123456789", rune(n.Value[0])) {
		d.wrong(n, path, "an integer")
		return i, false
	}
	if n.Value[0] == '-' {
		d.fault(n, KindInt, path, "%q is negative: write the bit pattern, as 0xFFFFFFFF", n.Value)
		return i, false
	}
	text, base := n.Value, 10
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		text, base = hex, 16
	}
	value, err := strconv.ParseUint(text, base, bits)
	switch {
	case errors.Is(err, strconv.ErrRange):
		d.fault(n, KindInt, path, "%q does not fit %d bits", n.Value, bits)
	case err != nil || base == 10 && len(text) > 1 && text[0] == '0':
		d.fault(n, KindInt, path, "%q is not an integer: write a decimal number, or a hexadecimal one as 0x1F", n.Value)
	default:
		return Int{Value: value, Text: n.Value}, true
	}
	return i, false
}

func (d *decoder) wrong(n *yaml.Node, path, wanted string) {
	d.fault(n, KindType, path, "wanted %s, found %s", wanted, yamldoc.Describe(n))
}
