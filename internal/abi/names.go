package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/gen"
	"github.com/gopcsc/gopcsc/spec"
)

// prefixes are how the names of PC/SC begin in the headers of a platform that define much else.
var prefixes = map[string][]string{"windows": {"SCARD_"}}

// checkNames compares the macros that a platform's headers define with the names in the spec.
func checkNames(s *spec.Spec, m *gen.Model, p *spec.Platform, c compiler) error {
	with, err := macros(c, p.Cgo.Include)
	if err != nil {
		return err
	}
	without, err := macros(c, []string{"stdint.h", "stddef.h", "inttypes.h", "sys/types.h"})
	if err != nil {
		return err
	}
	known := knownNames(m, p)
	var unknown []string
	for name := range with {
		ours := prefixes[p.Name] == nil && !without[name] && !strings.HasPrefix(name, "_") ||
			slices.ContainsFunc(prefixes[p.Name], func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if ours && !known[name] && !leftOut(s, p, name) {
			unknown = append(unknown, name)
		}
	}
	if unknown == nil {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("the headers define what the spec does not have of them: %s\nadd them to the spec, or the platform to headers, or the names to left_out with a reason",
		strings.Join(unknown, ", "))
}

// macros are the names of the macros that headers define, those of the compiler included.
func macros(c compiler, headers []string) (map[string]bool, error) {
	var source strings.Builder
	for _, h := range headers {
		fmt.Fprintf(&source, "#include <%s>\n", h)
	}
	out, err := c.run(source.String(), "-dM", "-E", "-x", "c", "-")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		name, _, _ := strings.Cut(fields[1], "(")
		names[name] = true
	}
	return names, nil
}

// knownNames are the C names of the constants that the spec has of a platform's headers, whose values the generated C
// file asserts. A name of another platform alone is not known: its value here is proved by nothing.
func knownNames(m *gen.Model, p *spec.Platform) map[string]bool {
	known := map[string]bool{}
	for _, n := range m.Constants() {
		known[n.Name] = n.Headers[p.Name]
	}
	return known
}

// leftOut says whether the spec leaves a name out on purpose.
func leftOut(s *spec.Spec, p *spec.Platform, name string) bool {
	return slices.ContainsFunc(s.LeftOut, func(l *spec.LeftOut) bool {
		return (l.Headers == nil || slices.Contains(l.Headers, p.Name)) && slices.ContainsFunc(l.Names, func(pattern string) bool {
			prefix, rest := strings.CutSuffix(pattern, "*")
			return name == pattern || rest && strings.HasPrefix(name, prefix)
		})
	})
}
