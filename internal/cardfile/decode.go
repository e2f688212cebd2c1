package cardfile

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/gopcsc/gopcsc/internal/yamldoc"
)

// decoder collects what is wrong with a card file.
type decoder struct {
	file   string
	read   func(name string) ([]byte, error)
	faults Faults
	places map[string]entry // by the names that package filesystem has for them
}

// entry is a value and what it is called.
type entry struct {
	*yaml.Node
	path   string // in this file: "mf.efs[0].sfi"
	config string // in a filesystem.Config: "MF.EFs[0].SFI"
}

// field is a key that a mapping may have.
type field struct {
	key      string
	config   string // the field of package filesystem
	required bool
	to       func(entry)
}

func (d *decoder) fault(e entry, format string, args ...any) {
	d.faults = append(d.faults, &Fault{d.file, max(e.Line, 1), max(e.Column, 1), e.path, fmt.Sprintf(format, args...)})
}

func (d *decoder) wrong(e entry, wanted string) {
	d.fault(e, "wanted %s, found %s", wanted, yamldoc.Describe(e.Node))
}

// usable says whether a node may be a value, and reports it if not.
func (d *decoder) usable(e entry) bool {
	problem := yamldoc.Unusable(e.Node)
	if problem == "" && e.Kind == yaml.ScalarNode && e.Tag == "!!null" {
		problem = "has no value: give one, or remove the key"
	}
	if problem != "" {
		d.fault(e, "%s", problem)
	}
	return problem == ""
}

func (d *decoder) isMapping(e entry) bool {
	if !d.usable(e) {
		return false
	}
	if e.Kind != yaml.MappingNode {
		d.wrong(e, "a mapping")
		return false
	}
	return true
}

// isText says whether a value is a scalar, of whatever type YAML thinks it is: 5000 and 1e10 are texts here.
func (d *decoder) isText(e entry) bool {
	if !d.usable(e) {
		return false
	}
	if e.Kind != yaml.ScalarNode {
		d.wrong(e, "text")
		return false
	}
	return true
}

// find finds the value of a key.
func (d *decoder) find(m entry, key string) (entry, bool) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return entry{m.Content[i+1], dotted(m.path, key), ""}, true
		}
	}
	return entry{}, false
}

func dotted(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// mapping gives the values of a mapping to its fields.
func (d *decoder) mapping(m entry, fields ...field) {
	if !d.isMapping(m) {
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := entry{Node: m.Content[i], path: m.path}
		at := slices.IndexFunc(fields, func(f field) bool { return f.key == key.Value })
		if line := seen[key.Value]; line > 0 && at >= 0 {
			d.fault(key, "key %q is already given in line %d: keep one", key.Value, line)
			continue
		}
		seen[key.Value] = max(key.Line, 1)
		if key.Kind != yaml.ScalarNode || at < 0 {
			var keys []string
			for _, f := range fields {
				keys = append(keys, f.key)
			}
			hint := yamldoc.DidYouMean(key.Value, keys)
			if hint == "" {
				hint = ": the keys are " + strings.Join(keys, ", ")
			}
			d.fault(key, "no key %q%s", key.Value, hint)
			continue
		}
		f := fields[at]
		value := entry{m.Content[i+1], dotted(m.path, f.key), dotted(m.config, f.config)}
		d.places[value.config] = value
		if d.usable(value) {
			f.to(value)
		}
	}
	for _, f := range fields {
		if f.required && seen[f.key] == 0 {
			d.fault(m, "%q is missing", f.key)
		}
	}
}

// list gives the elements of a list to a function.
func (d *decoder) list(to func(i int, e entry)) func(entry) {
	return func(e entry) {
		if e.Kind != yaml.SequenceNode {
			d.wrong(e, "a list")
			return
		}
		for i, n := range e.Content {
			index := fmt.Sprintf("[%d]", i)
			element := entry{n, e.path + index, e.config + index}
			d.places[element.config] = element
			if d.usable(element) {
				to(i, element)
			}
		}
	}
}

// elements makes a list of values, each of which is decoded by what of gives.
func elements[T any](d *decoder, to *[]T, of func(*T) func(entry)) func(entry) {
	return d.list(func(_ int, e entry) {
		var v T
		of(&v)(e)
		*to = append(*to, v)
	})
}

func (d *decoder) text(to *[]byte) func(entry) {
	return func(e entry) {
		if d.isText(e) {
			*to = []byte(e.Value)
		}
	}
}

func (d *decoder) bytes(to *[]byte) func(entry) {
	return func(e entry) {
		if !d.isText(e) {
			return
		}
		digits := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return -1
			}
			return r
		}, e.Value)
		b, err := hex.DecodeString(digits)
		if err != nil {
			d.wrong(e, "bytes in hexadecimal, such as 3F 00")
			return
		}
		*to = b
	}
}

// contents reads the file of that name.
func (d *decoder) contents(to *[]byte) func(entry) {
	return func(e entry) {
		if !d.isText(e) {
			return
		}
		b, err := d.read(e.Value)
		if err != nil {
			d.fault(e, "%v", err)
			return
		}
		*to = b
	}
}

// atr reads an answer to reset for a card that does not check it.
func (d *decoder) atr(to *[]byte) func(entry) {
	return func(e entry) {
		d.bytes(to)(e)
		if n := len(*to); n != 0 && (n < 2 || n > 33) {
			d.fault(e, "has %d bytes, 2 to 33 are allowed", n)
		}
	}
}

// hexadecimal reads a number of so many digits.
func hexadecimal[T ~uint8 | ~uint16 | ~uint32](d *decoder, to *T, digits ...int) func(entry) {
	return func(e entry) {
		if !d.isText(e) {
			return
		}
		v, err := strconv.ParseUint(e.Value, 16, 32)
		if err != nil || !slices.Contains(digits, len(e.Value)) {
			lengths := make([]string, len(digits))
			for i, n := range digits {
				lengths[i] = strconv.Itoa(n)
			}
			d.wrong(e, strings.Join(lengths, ", ")+" hexadecimal digits")
			return
		}
		*to = T(v)
	}
}

func (d *decoder) number(to *int) func(entry) {
	return func(e entry) {
		n, err := strconv.Atoi(e.Value)
		if e.Kind != yaml.ScalarNode || err != nil || e.Tag != "!!int" {
			d.wrong(e, "a decimal number")
			return
		}
		*to = n
	}
}

func (d *decoder) bool(to *bool) func(entry) {
	return func(e entry) {
		if e.Tag != "!!bool" {
			d.wrong(e, "true or false")
			return
		}
		*to = e.Value == "true"
	}
}

func names[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// oneOf lists names for a message: "a", "b" or "c".
func oneOf[T any](m map[string]T) string {
	all := names(m)
	for i, name := range all {
		all[i] = strconv.Quote(name)
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}
