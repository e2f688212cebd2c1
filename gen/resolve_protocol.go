package gen

import (
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/spec"
)

// protocol lays out the messages of the socket protocol, and finds those of each command.
func (r *resolver) protocol() {
	p := r.spec.Protocol
	if p == nil {
		return
	}
	data, _ := r.spec.Elements(p.MaxData)
	r.model.Protocol = &Protocol{p, data}
	messages := map[string]*Message{}
	for _, sm := range r.spec.Messages {
		m := &Message{Message: sm}
		var offsets []int
		offsets, m.Bytes = r.spec.MessageLayout(sm)
		for i, sf := range sm.Fields {
			f := &MessageField{MessageField: sf, Offset: offsets[i], Size: 4}
			if sf.Len != "" {
				f.Size, _ = r.spec.Elements(sf.Len)
			}
			if sf.As == "Code" {
				m.Result = f
			}
			m.Fields = append(m.Fields, f)
		}
		messages[sm.Name] = m
		r.model.Messages = append(r.model.Messages, m)
	}
	slices.SortFunc(r.model.Messages, func(a, b *Message) int { return strings.Compare(a.Go, b.Go) })

	for _, sc := range r.spec.Commands {
		c := &Command{
			Command: sc, First: *p.First, Last: *p.Last, Count: 1,
			Request: messages[sc.Request], Reply: messages[sc.Reply], Event: messages[sc.Event],
		}
		if sc.Since != nil {
			c.First = *sc.Since
		}
		if sc.Until != nil {
			c.Last = *sc.Until
		}
		switch {
		case sc.CountedBy != "":
			c.Count = -1
		case sc.Count != "":
			c.Count, _ = r.spec.Elements(sc.Count)
		}
		if c.Request != nil {
			r.length(&c.Request.RequestData, c.Request, sc, "request_data", sc.RequestData)
		}
		r.length(&c.Reply.ReplyData, c.Reply, sc, "reply_data", sc.ReplyData)
		r.model.Commands = append(r.model.Commands, c)
	}
	slices.SortFunc(r.model.Commands, func(a, b *Command) int { return int(a.Value.Value) - int(b.Value.Value) })
}

// length notes the field that tells how much follows a message. It is the same for all commands that have the message.
func (r *resolver) length(to **MessageField, m *Message, c *spec.Command, key, name string) {
	if name == "" {
		return
	}
	i := slices.IndexFunc(m.Fields, func(f *MessageField) bool { return f.Name == name })
	if *to != nil && *to != m.Fields[i] {
		r.fail(c.At(key), "%s: %s: another command has %s for the length after %s: give one a message of its own", c.Name, key, (*to).Name, m.Name)
	}
	*to = m.Fields[i]
}
