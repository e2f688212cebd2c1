package gen

import (
	"github.com/dave/jennifer/jen"
)

// emitTrace emits the backend that hands every call to a Tracer: all functions of the contract, so that none is
// forgotten when the surface grows.
func emitTrace(m *Model) ([]File, error) {
	if len(m.Functions) == 0 {
		return nil, nil
	}
	f := newFile(pcscPath, "ztrace.go", "", "functions")
	f.Var().Id("_").Qual(winscardPath, "Backend").Op("=").Parens(jen.Op("*").Id("traceBackend")).Call(jen.Nil())
	f.Line()
	for _, fn := range m.Functions {
		traceMethod(f, fn)
	}
	return renderAll(f)
}

// traceMethod emits a call that is traced:
//
//	func (b *traceBackend) Transmit(card winscard.Card, pci uint32, send, recv []byte) (n int, rc winscard.Code) {
//		tc := TraceCall{Op: "SCardTransmit", Reader: b.reader(card), Args: []TraceArg{{"pci", pci}}, Sent: len(send)}
//		began := time.Now()
//		n, rc = b.backend.Transmit(card, pci, send, recv)
//		tc.ended(began, rc, n)
//		b.exchange(&tc, card, pci, send, recv)
//		b.tracer.Trace(tc)
//		return n, rc
//	}
//
// ended is given the lengths that came. exchange is there for a function that takes one number and a buffer and fills
// another: it adds the bytes, if they are asked for.
func traceMethod(f *goFile, fn *Function) {
	call := []jen.Code{jen.Id("Op").Op(":").Lit(fn.Name)}
	var args, numbers, tuples []jen.Code
	var sent *jen.Statement
	var in, out, reader jen.Code
	outs := 0
	for _, v := range fn.Params {
		args = append(args, jen.Id(v.Name))
		switch v.Arg.Role {
		case "receiver":
			if v.Type == "Card" {
				reader = jen.Id("b").Dot("reader").Call(jen.Id(v.Name))
			}
		case "in", "pci_in":
			value := jen.Id(v.Name)
			if v.Type != "uint32" {
				value = jen.Uint32().Call(value)
			}
			numbers = append(numbers, value.Clone())
			tuples = append(tuples, jen.Values(jen.Lit(v.Name), value))
		case "in_text":
			if v.Arg.Reader {
				reader = jen.Id(v.Name)
			}
		case "states":
			reader = jen.Id("onlyReader").Call(jen.Id(v.Name))
			tuples = append(tuples, jen.Values(jen.Lit(v.Name), jen.Uint32().Call(jen.Len(jen.Id(v.Name)))))
		case "in_buffer", "in_mask", "in_atr":
			in = jen.Id(v.Name)
			if sent == nil {
				sent = jen.Len(jen.Id(v.Name))
			} else {
				sent = sent.Op("+").Len(jen.Id(v.Name))
			}
		case "out_buffer":
			out = jen.Id(v.Name)
			outs++
		}
	}
	if reader != nil {
		call = append(call, jen.Id("Reader").Op(":").Add(reader))
	}
	if tuples != nil {
		call = append(call, jen.Id("Args").Op(":").Index().Id("TraceArg").Values(tuples...))
	}
	if sent != nil {
		call = append(call, jen.Id("Sent").Op(":").Add(sent))
	}

	var results []jen.Code
	ended := []jen.Code{jen.Id("began")}
	assign := "="
	switch {
	case fn.TextOnly:
		results, assign = []jen.Code{jen.Id("text")}, ":="
		ended = append(ended, jen.Qual(winscardPath, "Success"), jen.Len(jen.Id("text")))
	default:
		for _, v := range fn.Results {
			results = append(results, jen.Id(v.Name))
		}
		if results == nil {
			assign = ":="
		}
		results = append(results, jen.Id("rc"))
		ended = append(ended, jen.Id("rc"))
		for _, v := range fn.Results {
			switch v.Arg.Role {
			case "out_buffer", "out_text", "out_multitext":
				ended = append(ended, jen.Id(v.Name))
			case "out_guids": // not bytes, but structures
				ended = append(ended, jen.Id(v.Name).Op("*").Int().Call(
					jen.Qual(unsafePath, "Sizeof").Call(contract(v.Arg.Struct.Go).Values())))
			}
		}
	}
	body := []jen.Code{jen.Id("tc").Op(":=").Id("TraceCall").Values(call...)}
	if fn.Go == "Disconnect" { // before the handle can be another connection's
		body = append(body, jen.Id("was").Op(":=").Id("b").Dot("connection").Call(jen.Id(fn.Params[0].Name)))
	}
	body = append(body,
		jen.Id("began").Op(":=").Qual("time", "Now").Call(),
		jen.List(results...).Op(assign).Id("b").Dot("backend").Dot(fn.Go).Call(args...),
		jen.Id("tc").Dot("ended").Call(ended...))
	for _, v := range fn.Results {
		if v.Arg.Role == "out" && v.Type == "Card" && reader != nil {
			body = append(body, jen.Id("b").Dot("connected").Call(jen.Id("rc"), jen.Id(v.Name), reader))
		}
	}
	if fn.Go == "Disconnect" {
		body = append(body, jen.Id("b").Dot("disconnected").Call(jen.Id("rc"), jen.Id(fn.Params[0].Name), jen.Id("was")))
	}
	if fn.On == "Card" && in != nil && outs == 1 && len(numbers) == 1 {
		body = append(body, jen.Id("b").Dot("exchange").Call(
			jen.Op("&").Id("tc"), jen.Id(fn.Params[0].Name), numbers[0], in, out))
	}
	body = append(body,
		jen.Id("b").Dot("tracer").Dot("Trace").Call(jen.Id("tc")),
		jen.Return(jen.List(results...)))
	f.doc("%s hands the call to the tracer.", fn.Go)
	f.Func().Params(jen.Id("b").Op("*").Id("traceBackend")).Id(fn.Go).Add(signature(fn)).Block(body...)
	f.Line()
}
