package gen

import (
	_ "embed"
	"fmt"

	"github.com/dave/jennifer/jen"
)

// The part of package protocol that is the same whatever the spec says.
//
//go:embed static/protocol.go.txt
var staticProtocol string

// emitProtocol emits the socket protocol. A spec that has none gives no file.
func emitProtocol(m *Model) ([]File, error) {
	if m.Protocol == nil {
		return nil, nil
	}
	out, err := renderAll(protocolMessages(m), protocolCommands(m))
	if err != nil {
		return nil, err
	}
	return append(out, File{
		Path:    "generated/protocol/protocol.go",
		Content: []byte(header("protocol") + "\n\n" + staticProtocol),
	}), nil
}

// protocolMessages emits each message as a structure with its codec:
//
//	type Status struct {
//		Card int32
//		RV   winscard.Code
//	}
//
//	func (*Status) Size() int { return 8 }
//
//	func (m *Status) AppendBinary(b []byte) ([]byte, error) {
//		n := len(b)
//		b = append(b, make([]byte, 8)...)
//		p := b[n:]
//		binary.NativeEndian.PutUint32(p, uint32(m.Card))
//		…
//		return b, nil
//	}
//
//	func (m *Status) UnmarshalBinary(p []byte) error { … }
func protocolMessages(m *Model) *goFile {
	f := newFile(protocolPath, "messages.go", "", "protocol", "constants")
	for _, msg := range m.Messages {
		protocolMessage(f, msg)
	}
	return f
}

func protocolMessage(f *goFile, msg *Message) {
	self := func() *jen.Statement { return jen.Id("m").Op("*").Id(msg.Go) }
	field := func(fd *MessageField) *jen.Statement { return jen.Id("m").Dot(fd.Go) }
	native := func(name string) *jen.Statement { return jen.Qual(binaryPath, "NativeEndian").Dot(name) }

	var fields, encode, decode []jen.Code
	for _, fd := range msg.Fields {
		at := jen.Id("p").Index(jen.Lit(fd.Offset).Op(":").Lit(fd.Offset + fd.Size))
		fields = append(fields, comments(fmt.Sprintf("%s (%s): %s", fd.Go, fd.Name, fd.Doc))...)
		switch {
		case fd.Type == "char":
			fields = append(fields, jen.Id(fd.Go).String())
			encode = append(encode, jen.If(
				jen.Err().Op(":=").Id("putText").Call(at.Clone(), field(fd), jen.Lit(msg.Name+"."+fd.Name)),
				jen.Err().Op("!=").Nil(),
			).Block(jen.Return(jen.Id("b").Index(jen.Op(":").Id("n")), jen.Err())))
			decode = append(decode, field(fd).Op("=").Id("textOf").Call(at.Clone()))
		case fd.Type == "u8":
			fields = append(fields, jen.Id(fd.Go).Index(jen.Lit(fd.Size)).Byte())
			encode = append(encode, jen.Copy(at.Clone(), field(fd).Index(jen.Op(":"))))
			decode = append(decode, jen.Copy(field(fd).Index(jen.Op(":")), at.Clone()))
		default:
			typ := jen.Uint32()
			switch {
			case fd.As == "Code":
				typ = contract("Code")
			case fd.As != "":
				typ = jen.Id(fd.As)
			case fd.Type == "i32":
				typ = jen.Int32()
			}
			value, got := field(fd), native("Uint32").Call(at.Clone())
			if fd.As != "" || fd.Type == "i32" {
				value, got = jen.Uint32().Call(value), typ.Clone().Call(got)
			}
			fields = append(fields, jen.Id(fd.Go).Add(typ))
			encode = append(encode, native("PutUint32").Call(at.Clone(), value))
			decode = append(decode, field(fd).Op("=").Add(got))
		}
	}

	f.doc("%s is %s. %s", msg.Go, msg.Name, msg.Doc)
	f.Type().Id(msg.Go).Struct(fields...)
	f.Line()
	f.doc("Size returns %d, the size of the structure in bytes.", msg.Bytes)
	f.Func().Params(jen.Op("*").Id(msg.Go)).Id("Size").Params().Int().Block(jen.Return(jen.Lit(msg.Bytes)))
	f.Line()
	f.doc("AppendBinary appends the structure as it is in memory in C.")
	f.Func().Params(self()).Id("AppendBinary").Params(jen.Id("b").Index().Byte()).Params(jen.Index().Byte(), jen.Error()).Block(
		append(append([]jen.Code{
			jen.Id("n").Op(":=").Len(jen.Id("b")),
			jen.Id("b").Op("=").Append(jen.Id("b"), jen.Make(jen.Index().Byte(), jen.Lit(msg.Bytes)).Op("...")),
			jen.Id("p").Op(":=").Id("b").Index(jen.Id("n").Op(":")),
		}, encode...), jen.Return(jen.Id("b"), jen.Nil()))...)
	f.Line()
	f.doc("UnmarshalBinary reads the structure.")
	f.Func().Params(self()).Id("UnmarshalBinary").Params(jen.Id("p").Index().Byte()).Error().Block(
		append(append([]jen.Code{
			jen.If(jen.Len(jen.Id("p")).Op("!=").Lit(msg.Bytes)).Block(
				jen.Return(jen.Id("sizeError").Call(jen.Lit(msg.Name), jen.Len(jen.Id("p")), jen.Lit(msg.Bytes)))),
		}, decode...), jen.Return(jen.Nil()))...)
	f.Line()
	if msg.RequestData != nil {
		f.doc("RequestData returns the length of the data that follow the structure in a request, in bytes.")
		f.Func().Params(self()).Id("RequestData").Params().Uint32().Block(jen.Return(field(msg.RequestData)))
		f.Line()
	}
	if msg.ReplyData != nil {
		f.doc("ReplyData returns the length of the data that follow the structure in a reply, in bytes.")
		f.Func().Params(self()).Id("ReplyData").Params().Uint32().Block(
			jen.If(field(msg.Result).Op("!=").Add(contract("Success"))).Block(jen.Return(jen.Lit(0))),
			jen.Return(field(msg.ReplyData)))
		f.Line()
	}
}

// protocolCommands emits the versions, the limits and the commands:
//
//	const (
//		// CmdStatus (SCARD_STATUS): Asks …
//		CmdStatus Command = 0x0B
//	)
//
//	var commands = [...]commandInfo{
//		{command: CmdStatus, name: "SCARD_STATUS", since: 4, request: 8, reply: 8, count: 1, until: 6},
//	}
func protocolCommands(m *Model) *goFile {
	f := newFile(protocolPath, "commands.go", "", "protocol", "constants")
	p := m.Protocol
	f.doc("The versions of the protocol that the package describes. %s", p.Doc)
	f.Const().Defs(
		jen.Comment("Major is the major version."),
		jen.Id("Major").Op("=").Op(p.Major.Text),
		jen.Comment("FirstMinor is the first minor version."),
		jen.Id("FirstMinor").Op("=").Op(p.First.Text),
		jen.Comment("LastMinor is the last minor version."),
		jen.Id("LastMinor").Op("=").Op(p.Last.Text),
	)
	f.Line()
	largest := 0
	var defs, table []jen.Code
	for _, c := range m.Commands {
		doc := fmt.Sprintf("%s (%s): %s", c.Go, c.Name, c.Doc)
		info := []jen.Code{
			jen.Id("command").Op(":").Id(c.Go),
			jen.Id("name").Op(":").Lit(c.Name),
			jen.Id("since").Op(":").Op(c.First.Text),
		}
		if c.Since != nil {
			doc += fmt.Sprintf(" From %s:%s on.", p.Major.Text, c.Since.Text)
		}
		if c.Until != nil {
			doc += fmt.Sprintf(" The reply ends with %s:%s.", p.Major.Text, c.Until.Text)
		}
		if c.Event != nil {
			doc += fmt.Sprintf(" Its event is [%s].", c.Event.Go)
		}
		if c.Request != nil {
			largest = max(largest, c.Request.Bytes)
			info = append(info, jen.Id("request").Op(":").Lit(c.Request.Bytes))
		}
		info = append(info,
			jen.Id("reply").Op(":").Lit(c.Reply.Bytes),
			jen.Id("count").Op(":").Lit(c.Count),
			jen.Id("until").Op(":").Op(c.Last.Text))
		defs = append(defs, comments(doc)...)
		defs = append(defs, jen.Id(c.Go).Id("Command").Op("=").Op(c.Value.Text))
		table = append(table, jen.Values(info...))
	}
	f.doc("MaxData is the largest number of bytes that can follow a request or a reply (%s).", p.MaxData)
	f.Const().Id("MaxData").Op("=").Lit(p.Data)
	f.Line()
	f.doc("MaxRequestSize is the size of the largest body of a request, in bytes.")
	f.Const().Id("MaxRequestSize").Op("=").Lit(largest)
	f.Line()
	f.doc("Command is what a request asks for.")
	f.Type().Id("Command").Uint32()
	f.Line()
	f.doc("The commands.")
	f.Const().Defs(defs...)
	f.Line()
	f.Var().Id("commands").Op("=").Index(jen.Op("...")).Id("commandInfo").Custom(jen.Options{
		Open: "{", Close: "}", Separator: ",", Multi: true,
	}, table...)
	return f
}
