package spec

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// bounds returns the first and the last value of a status word; false if it has none that are usable.
func (s *StatusWord) bounds() (first, last uint64, ok bool) {
	if s.Value == nil {
		return 0, 0, false
	}
	first, last = s.Value.Value, s.Value.Value
	if s.Last != nil {
		last = s.Last.Value
	}
	return first, last, first <= last && last <= 0xFFFF
}

// spelling returns the name that a status word has by its values.
func spelling(first, last uint64) string {
	a, b := fmt.Sprintf("%04X", first), fmt.Sprintf("%04X", last)
	switch {
	case first == last:
		return a
	case first&0xFF == 0 && last == first|0xFF:
		return a[:2] + "XX"
	case first&0xF == 0 && last == first|0xF:
		return a[:3] + "X"
	}
	return a + "-" + b
}

func (v *validator) checkStatusWords() {
	names, goNames := make(scope), make(scope)
	known := namesOf(v.StatusWords, func(s *StatusWord) string { return s.Name })
	for i, s := range v.StatusWords {
		path := printable(s.Name)
		v.claim(names, KindDuplicate, s.Name, "a status word", s.At("name"), join(path, "name"))
		v.goName(goNames, &s.Node, s.Go, s.Name, path)
		v.plainText(&s.Node, s.Text, false, path)
		v.statusRange(i, s, path)
		v.statusNumber(s, path)
		for j, name := range s.Is {
			pos, at := s.AtIndex("is", j), join(path, "is")
			switch {
			case name == s.Name:
				v.add(pos, KindIs, at, "a status word always is itself: remove the name")
			case name != "errors.ErrUnsupported" && !slices.Contains(known, name):
				v.unknown(pos, KindIs, at, "status word", name, append(without(known, []string{s.Name}), "errors.ErrUnsupported"))
			}
		}
	}
}

// statusRange checks the values of a status word. No compiler proves them, unlike those of headers, so they are there
// twice: in the name too.
func (v *validator) statusRange(index int, s *StatusWord, path string) {
	if s.Value == nil {
		return
	}
	before := len(v.faults)
	v.width(s.At("value"), *s.Value, 16, join(path, "value"), "a status word")
	if s.Last != nil {
		v.width(s.At("last"), *s.Last, 16, join(path, "last"), "a status word")
		if s.Last.Value <= s.Value.Value {
			v.add(s.At("last"), KindRange, join(path, "last"), "%s is not above %s: correct it, or remove the key", s.Last.Text, s.Value.Text)
		} else if s.Last.Value>>8 != s.Value.Value>>8 {
			v.add(s.At("last"), KindRange, join(path, "last"), "%s has another SW1 than %s: make it two ranges", s.Last.Text, s.Value.Text)
		}
	}
	if sw1 := s.Value.Value >> 8; sw1>>4 != 6 && sw1>>4 != 9 || sw1 == 0x60 {
		v.add(s.At("value"), KindRange, join(path, "value"), "%s is no status word: the first byte is 61 to 6F or 90 to 9F", s.Value.Text)
	}
	first, last, ok := s.bounds()
	if !ok || len(v.faults) > before {
		return
	}
	if want := spelling(first, last); s.Name != want {
		v.add(s.At("name"), KindName, join(path, "name"), "%q is not how the value is written, which is %q: correct one of them", s.Name, want)
	}
	for _, other := range v.StatusWords[:index] {
		a, b, ok := other.bounds()
		switch {
		case !ok || b < first || a > last:
		case a == first:
			v.add(s.At("value"), KindSameValue, join(path, "value"), "%q at %s has the same value: correct one, or remove it", other.Name, other.Pos)
		case a < first && b < last || first < a && last < b:
			v.add(s.At("last"), KindRange, join(path, "last"), "the range overlaps with %q at %s: it has to lie within it, around it or apart", other.Name, other.Pos)
		}
	}
}

// statusNumber checks the number in a status word.
func (v *validator) statusNumber(s *StatusWord, path string) {
	has := strings.Contains(s.Text, "{n}")
	switch {
	case s.Mask == nil && has:
		v.add(s.At("text"), KindParameter, join(path, "text"), "{n} stands for the number in the status word: add mask, or remove it")
	case s.Mask != nil && !has:
		v.add(s.At("text"), KindParameter, join(path, "text"), "does not say the number: add {n}, or remove mask")
	}
	if s.Mask != nil && (s.Mask.Value == 0 || s.Mask.Value > 0xFF || bits.OnesCount64(s.Mask.Value+1) != 1) {
		v.add(s.At("mask"), KindParameter, join(path, "mask"), "%s is not the low bits of SW2: write 0x0F or 0xFF", s.Mask.Text)
	}
	if s.Mask != nil && s.Last == nil {
		v.add(s.At("mask"), KindParameter, join(path, "mask"), "one value has no number in it: add last, or remove the key")
	}
	if s.Zero != nil && s.Mask == nil {
		v.add(s.At("zero"), KindParameter, join(path, "zero"), "there is no number: add mask, or remove the key")
	}
}
