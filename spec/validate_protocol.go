package spec

import (
	"slices"
	"strings"
)

// protocolNames are the names that the generated package protocol has besides those of the spec, and the methods of
// every message, which a field cannot be called.
var (
	protocolNames  = []string{"Message", "Command", "Major", "FirstMinor", "LastMinor", "MaxData", "MaxRequestSize"}
	messageMethods = []string{"Size", "AppendBinary", "UnmarshalBinary"}
)

// Elements returns the number of elements of an array whose length is that constant on the platform of the protocol.
func (s *Spec) Elements(constant string) (n int, ok bool) {
	if s.Protocol == nil {
		return 0, false
	}
	c := s.Constant(constant)
	if c == nil {
		return 0, false
	}
	v, ok := c.Value.For(s.Protocol.Platform)
	return int(v.Value), ok && v.Value > 0 && v.Value <= 1<<20
}

// MessageLayout returns where the fields of a message lie, and its size: each field at its natural alignment, as in C,
// and the size a multiple of the largest.
func (s *Spec) MessageLayout(m *Message) (offsets []int, size int) {
	align := 1
	for _, f := range m.Fields {
		width, n := 4, 1
		if f.Type == "char" || f.Type == "u8" {
			width = 1
		}
		if f.Len != "" {
			n, _ = s.Elements(f.Len)
		}
		size = (size + width - 1) / width * width
		offsets = append(offsets, size)
		size += width * n
		align = max(align, width)
	}
	return offsets, (size + align - 1) / align * align
}

func (v *validator) checkProtocol() {
	p := v.Protocol
	if p == nil {
		if len(v.Messages) > 0 {
			v.add(v.Messages[0].Pos, KindProtocol, printable(v.Messages[0].Name), "there is no protocol that they are of: add protocol")
		}
		if len(v.Commands) > 0 {
			v.add(v.Commands[0].Pos, KindProtocol, printable(v.Commands[0].Name), "there is no protocol that they are of: add protocol")
		}
		return
	}
	if p.First != nil && p.Last != nil && p.First.Value > p.Last.Value {
		v.add(p.At("last"), KindVersion, "protocol: last", "%s is below %s, the first: correct one of them", p.Last.Text, p.First.Text)
	}
	if v.Platform(p.Platform) == nil && p.Platform != "" {
		v.unknown(p.At("platform"), KindUnknownPlatform, "protocol: platform", "platform", p.Platform, v.platforms)
	}
	v.elements(&p.Node, "max_data", p.MaxData, "protocol")
	v.message(&p.Node, "header", p.Header, "protocol")
	names, goNames := make(scope), make(scope)
	for _, name := range protocolNames {
		goNames[name] = taken{what: "the package"}
	}
	for _, m := range v.Messages {
		v.checkMessage(m, names, goNames)
	}
	v.checkCommands(names, goNames)
}

// elements checks a constant that is a number of elements.
func (v *validator) elements(n *Node, key, constant, path string) {
	switch c := v.Constant(constant); {
	case constant == "":
	case c == nil:
		v.unknown(n.At(key), KindUnknownConstant, join(path, key), "constant", constant, v.constantNames())
	default:
		if _, ok := v.Elements(constant); !ok && v.Platform(v.Protocol.Platform) != nil {
			v.add(n.At(key), KindArray, join(path, key), "%q is no number of elements on %q: name a constant from 1 to 1048576", constant, v.Protocol.Platform)
		}
	}
}

func (v *validator) constantNames() []string {
	var names []string
	for _, g := range v.Constants {
		names = append(names, namesOf(g.Values, func(c *Constant) string { return c.Name })...)
	}
	return names
}

// message finds a message that an entry names.
func (v *validator) message(n *Node, key, name, path string) *Message {
	if name == "" {
		return nil
	}
	m := v.Message(name)
	if m == nil {
		v.unknown(n.At(key), KindUnknownType, join(path, key), "message", name, namesOf(v.Messages, func(m *Message) string { return m.Name }))
	}
	return m
}

func (v *validator) checkMessage(m *Message, names, goNames scope) {
	path := printable(m.Name)
	v.protocolName(names, &m.Node, m.Name, "a message", path)
	v.goName(goNames, &m.Node, m.Go, "message "+m.Name, path)
	before := len(v.faults)
	cNames, fieldNames := make(scope), make(scope)
	for _, name := range messageMethods {
		fieldNames[name] = taken{what: "every message"}
	}
	for _, f := range m.Fields {
		at := within(path, printable(f.Name))
		v.protocolName(cNames, &f.Node, f.Name, "a field", at)
		v.goName(fieldNames, &f.Node, f.Go, "field "+f.Name, at)
		array := f.Type == "char" || f.Type == "u8"
		switch {
		case array && f.Len == "":
			v.add(f.Pos, KindArray, at, "an array of %s has a length: add len", f.Type)
		case !array && f.Len != "":
			v.add(f.At("len"), KindArray, join(at, "len"), "only char and u8 make arrays, not %s: remove the key, or change the type", f.Type)
		default:
			v.elements(&f.Node, "len", f.Len, at)
		}
		if f.As != "" && f.Type != "u32" {
			v.add(f.At("as"), KindAs, join(at, "as"), "a %s is a u32: change the type, or remove the key", f.As)
		}
	}
	if m.Size == nil || len(v.faults) > before {
		return
	}
	if _, size := v.MessageLayout(m); m.Size.Value != uint64(size) {
		v.add(m.At("size"), KindSize, join(path, "size"), "the fields have %d bytes in C, not %s: correct them, or the size", size, m.Size.Text)
	}
}

// protocolName is cName for the names of the protocol, which are not in the headers that programs include.
func (v *validator) protocolName(in scope, n *Node, name, what, path string) {
	if !cIdentifier.MatchString(name) {
		v.add(n.At("name"), KindName, join(path, "name"), "%q is not a C identifier", name)
		return
	}
	v.claim(in, KindDuplicate, name, what, n.At("name"), join(path, "name"))
}

func (v *validator) checkCommands(names, goNames scope) {
	var set []valued
	for _, c := range v.Commands {
		path := printable(c.Name)
		v.protocolName(names, &c.Node, c.Name, "a command", path)
		v.goName(goNames, &c.Node, c.Go, c.Name, path)
		if !strings.HasPrefix(c.Go, "Cmd") {
			v.add(c.At("go"), KindGoName, join(path, "go"), "%q does not begin with Cmd, which tells commands from messages", c.Go)
		}
		if c.Value != nil {
			v.width(c.At("value"), *c.Value, 32, join(path, "value"), "a command")
		}
		v.minor(&c.Node, "since", c.Since, path)
		v.minor(&c.Node, "until", c.Until, path)
		if c.Since != nil && c.Until != nil && c.Since.Value > c.Until.Value {
			v.add(c.At("until"), KindVersion, join(path, "until"), "is before %s, the first that has the command: correct one of them", c.Since.Text)
		}
		v.dataLength(&c.Node, "request_data", c.RequestData, v.message(&c.Node, "request", c.Request, path), path)
		reply := v.message(&c.Node, "reply", c.Reply, path)
		v.dataLength(&c.Node, "reply_data", c.ReplyData, reply, path)
		if c.ReplyData != "" && reply != nil && !slices.ContainsFunc(reply.Fields, func(f *MessageField) bool { return f.As == "Code" }) {
			v.add(c.At("reply_data"), KindOfRole, join(path, "reply_data"), "%q has no return code, which says whether data follow: name another reply, or remove the key", c.Reply)
		}
		v.elements(&c.Node, "count", c.Count, path)
		switch {
		case c.CountedBy == "":
		case c.Count != "":
			v.add(c.At("counted_by"), KindArray, join(path, "counted_by"), "the number of messages is given already, by count: remove one")
		case v.Command(c.CountedBy) == nil || c.CountedBy == c.Name:
			v.unknown(c.At("counted_by"), KindOfUnknown, join(path, "counted_by"), "other command", c.CountedBy,
				without(namesOf(v.Commands, func(c *Command) string { return c.Name }), []string{c.Name}))
		}
		v.message(&c.Node, "event", c.Event, path)
		set = append(set, valued{&c.Node, c.Name, path, "value", "", number(&c.Node, "value", c.Value)})
	}
	v.distinct(set, nil)
}

// minor checks a minor version.
func (v *validator) minor(n *Node, key string, minor *Int, path string) {
	p := v.Protocol
	if minor == nil || p.First == nil || p.Last == nil {
		return
	}
	if minor.Value < p.First.Value || minor.Value > p.Last.Value {
		v.add(n.At(key), KindVersion, join(path, key), "version %s is not described: the protocol has %s to %s", minor.Text, p.First.Text, p.Last.Text)
	}
}

// dataLength checks a field that is the length of the data after a message.
func (v *validator) dataLength(n *Node, key, field string, m *Message, path string) {
	switch {
	case field == "":
	case m == nil:
		if !n.Has(strings.TrimSuffix(key, "_data")) {
			v.add(n.At(key), KindOfUnwanted, join(path, key), "there is no message that could tell a length: remove the key")
		}
	default:
		f := find(m.Fields, func(f *MessageField) string { return f.Name }, field)
		if f == nil {
			v.unknown(n.At(key), KindOfUnknown, join(path, key), "field", field, namesOf(m.Fields, func(f *MessageField) string { return f.Name }))
		} else if f.Type != "u32" || f.As != "" {
			v.add(n.At(key), KindOfRole, join(path, key), "%q is no length: name a field that is a u32", field)
		}
	}
}
