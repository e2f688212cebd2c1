package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/spec"
)

// writeHeaders makes headers from the table of a platform, in a folder: the first that the backend includes has all, the
// others include it.
func (t table) writeHeaders(dir string, s *spec.Spec, p *spec.Platform) error {
	text := t.header(s, p)
	for _, name := range p.Cgo.Include {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		text = fmt.Sprintf("#include <%s>\n", p.Cgo.Include[0])
	}
	return nil
}

// header is what a table says, in C.
func (t table) header(s *spec.Spec, p *spec.Platform) string {
	var b strings.Builder
	each := func(section string, emit func(name string, row map[string]string)) {
		for _, name := range slices.Sorted(maps.Keys(t[section])) {
			emit(name, t[section][name])
		}
	}
	b.WriteString("#pragma once\n#include <stdint.h>\n")
	each("Types", func(name string, row map[string]string) { fmt.Fprintf(&b, "typedef %s %s;\n", row["is"], name) })
	each("Structures", func(name string, row map[string]string) {
		fmt.Fprintf(&b, "#pragma pack(push, %s)\ntypedef struct { %s } %s;\n#pragma pack(pop)\n", row["packed to"], row["fields"], name)
	})
	each("Constants", func(name string, row map[string]string) {
		for source, value := range row {
			if is := s.Source(source); is != nil && is.Platform == p.Name && value != noCell {
				fmt.Fprintf(&b, "#define %s %s\n", name, strings.Trim(value, "`"))
			}
		}
	})
	each("Symbols", func(name string, row map[string]string) {
		if row["takes"] != noCell {
			fmt.Fprintf(&b, "%s %s(%s);\n", row["returns"], name, row["takes"])
		}
	})
	return b.String()
}
