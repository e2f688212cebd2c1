package spec

import (
	"maps"
	"slices"
)

// Spec is the content of all files, with what is needed to look things up in it.
type Spec struct {
	Document
	Files []string // the files it was read from, in order
}

// AtIndex returns the position of an element of a list of names.
func (n *Node) AtIndex(key string, index int) Pos {
	if p, ok := n.keys[element(key, index)]; ok {
		return p
	}
	return n.At(key)
}

// Where returns the position of the value that For returns.
func (p *PerPlatform[T]) Where(platform string) Pos {
	if p == nil {
		return Pos{}
	}
	if _, ok := p.By[platform]; ok {
		return p.At(platform)
	}
	return p.At("default")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func find[T any](list []*T, name func(*T) string, want string) *T {
	for _, e := range list {
		if name(e) == want {
			return e
		}
	}
	return nil
}

// Platform returns the platform of that name, or nil.
func (s *Spec) Platform(name string) *Platform {
	return find(s.Platforms, func(p *Platform) string { return p.Name }, name)
}

// Source returns the source of that name, or nil.
func (s *Spec) Source(name string) *Source {
	return find(s.Sources, func(x *Source) string { return x.Name }, name)
}

// Scalar returns the scalar of that C name, or nil.
func (s *Spec) Scalar(name string) *Scalar {
	return find(s.Scalars, func(x *Scalar) string { return x.Name }, name)
}

// Struct returns the structure of that C name, or nil.
func (s *Spec) Struct(name string) *Struct {
	return find(s.Structs, func(x *Struct) string { return x.Name }, name)
}

// Function returns the function of that C name, or nil.
func (s *Spec) Function(name string) *Function {
	return find(s.Functions, func(x *Function) string { return x.Name }, name)
}

// Group returns the constant group of that name, or nil.
func (s *Spec) Group(name string) *Group {
	return find(s.Constants, func(x *Group) string { return x.Name }, name)
}

// Code returns the return code of that C name, or nil.
func (s *Spec) Code(name string) *Error {
	return find(s.Errors, func(x *Error) string { return x.Name }, name)
}

// AttributeClass returns the class of that C name, or nil.
func (s *Spec) AttributeClass(name string) *AttributeClass {
	return find(s.AttributeClasses, func(x *AttributeClass) string { return x.Name }, name)
}

// Constant returns the constant of that C name, or nil.
func (s *Spec) Constant(name string) *Constant {
	for _, g := range s.Constants {
		if c := find(g.Values, func(c *Constant) string { return c.Name }, name); c != nil {
			return c
		}
	}
	return nil
}

// Message returns the message of that C name, or nil.
func (s *Spec) Message(name string) *Message {
	return find(s.Messages, func(m *Message) string { return m.Name }, name)
}

// Command returns the command of that C name, or nil.
func (s *Spec) Command(name string) *Command {
	return find(s.Commands, func(c *Command) string { return c.Name }, name)
}

// PlatformNames returns the names of all platforms, in the order of the spec.
func (s *Spec) PlatformNames() []string {
	names := make([]string, 0, len(s.Platforms))
	for _, p := range s.Platforms {
		names = append(names, p.Name)
	}
	return names
}

// On returns the platforms of a list that is nil for all of them.
func (s *Spec) On(platforms []string) []string {
	if platforms == nil {
		return s.PlatformNames()
	}
	return platforms
}

// Covers returns the platforms whose headers the sources are, in the order of the spec.
func (s *Spec) Covers(sources []string) []string {
	var names []string
	for _, p := range s.Platforms {
		if slices.ContainsFunc(sources, func(name string) bool {
			src := s.Source(name)
			return src != nil && src.Platform == p.Name
		}) {
			names = append(names, p.Name)
		}
	}
	return names
}

// DefinedOn returns the platforms whose headers define an entry: those that it lists, or all that its sources cover.
func (s *Spec) DefinedOn(headers, sources []string) []string {
	if headers != nil {
		return headers
	}
	return s.Covers(sources)
}
