package virtual

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/part10"
)

// padDriver is the driver of a reader with a PIN pad. The service makes one call of it at a time.
type padDriver struct {
	pad    *PINPad
	reader *Reader
	steps  *entry // started and not yet finished
}

// featureCode is the control code by which the driver can be called for a feature.
func featureCode(f winscard.Feature) uint32 { return winscard.CtlCode(0x800 + uint32(f)) }

// features are those of the pad, in the order in which it lists them.
func (p *PINPad) features() []winscard.Feature {
	list := []winscard.Feature{
		winscard.FeatureVerifyPINDirect, winscard.FeatureModifyPINDirect, winscard.FeatureIFDPINProperties,
		winscard.FeatureGetTLVProperties,
	}
	if p.InSteps {
		list = append(list, winscard.FeatureVerifyPINStart, winscard.FeatureVerifyPINFinish,
			winscard.FeatureModifyPINStart, winscard.FeatureModifyPINFinish,
			winscard.FeatureGetKeyPressed, winscard.FeatureAbort)
	}
	if p.Escape != nil {
		list = append(list, winscard.FeatureCCIDEscCommand)
	}
	if p.PACE != nil {
		list = append(list, winscard.FeatureExecutePACE)
	}
	return list
}

// Control answers the codes of part 10.
func (d *padDriver) Control(code uint32, in []byte) ([]byte, error) {
	p := d.pad
	if code == winscard.CtlGetFeatureRequest {
		var out []byte
		for _, f := range p.features() {
			out = (&part10.FeatureTLV{Tag: byte(f), Length: 4, Value: featureCode(f)}).AppendTo(out)
		}
		return out, nil
	}
	for _, f := range p.features() {
		if featureCode(f) == code {
			return d.feature(f, in)
		}
	}
	if p.Controller == nil {
		return nil, errors.ErrUnsupported
	}
	return p.Controller.Control(code, in)
}

// SetAttrib passes an attribute on.
func (d *padDriver) SetAttrib(id uint32, value []byte) error {
	if setter, ok := d.pad.Controller.(AttribSetter); ok {
		return setter.SetAttrib(id, value)
	}
	return winscard.ErrNotTransacted
}

func (d *padDriver) feature(f winscard.Feature, in []byte) ([]byte, error) {
	p := d.pad
	switch f {
	case winscard.FeatureVerifyPINDirect:
		return d.finish(p.newVerify(in))
	case winscard.FeatureModifyPINDirect:
		return d.finish(p.newModify(in))
	case winscard.FeatureVerifyPINStart:
		d.steps = p.newVerify(slices.Clone(in)) // the command in it is needed until the end
		d.pump(d.steps)
		return nil, nil
	case winscard.FeatureModifyPINStart:
		d.steps = p.newModify(slices.Clone(in))
		d.pump(d.steps)
		return nil, nil
	case winscard.FeatureVerifyPINFinish, winscard.FeatureModifyPINFinish:
		e := d.steps
		if e == nil {
			return nil, winscard.ErrNotTransacted
		}
		d.steps = nil
		return d.finish(e)
	case winscard.FeatureGetKeyPressed:
		return d.keyPressed(), nil
	case winscard.FeatureAbort:
		if d.steps != nil {
			d.steps.abort(padCancelled)
		}
		return nil, nil
	case winscard.FeatureIFDPINProperties:
		properties := part10.PINProperties{LCDLayout: p.layout(), EntryValidationCondition: endAny, TimeOut2: 1}
		return properties.AppendTo(nil), nil
	case winscard.FeatureGetTLVProperties:
		return p.properties(), nil
	case winscard.FeatureCCIDEscCommand:
		return p.Escape(in)
	}
	return p.pace(in)
}

// layout is wLcdLayout.
func (p *PINPad) layout() uint16 {
	switch {
	case p.Lines < 0:
		return 0
	case p.Lines == 0:
		return 0x0210
	}
	return uint16(min(p.Lines, 255))<<8 | uint16(min(max(p.Columns, 0), 255))
}

// properties are the TLV properties: tag, length, and numbers little endian.
func (p *PINPad) properties() (b []byte) {
	number := func(tag winscard.Property, v int) {
		n := part10.PropertySizes[tag]
		b = append(b, byte(tag), byte(n))
		for ; n > 0; n-- {
			b = append(b, byte(v))
			v >>= 8
		}
	}
	least, most := p.MinPIN, p.MaxPIN
	if most <= 0 {
		least, most = 4, 12
	}
	layout := int(p.layout())
	number(winscard.PropertyLCDLayout, layout)
	number(winscard.PropertyEntryValidationCondition, endAny)
	number(winscard.PropertyTimeOut2, 1)
	number(winscard.PropertyLCDMaxCharacters, layout&0xFF)
	number(winscard.PropertyLCDMaxLines, layout>>8)
	number(winscard.PropertyMinPINSize, least)
	number(winscard.PropertyMaxPINSize, most)
	if p.Firmware != "" {
		text := p.Firmware[:min(len(p.Firmware), 255)]
		b = append(b, byte(winscard.PropertyFirmwareID), byte(len(text)))
		b = append(b, text...)
	}
	number(winscard.PropertyPPDUSupport, 0)
	number(winscard.PropertyMaxAPDUDataSize, maxExtended)
	if p.VendorID != 0 || p.ProductID != 0 {
		number(winscard.PropertyVendorID, int(p.VendorID))
		number(winscard.PropertyProductID, int(p.ProductID))
	}
	return b
}

// pace takes the frame of EXECUTE_PACE off and puts its own around the answer. The numbers are little endian.
func (p *PINPad) pace(in []byte) ([]byte, error) {
	if len(in) < 3 || int(binary.LittleEndian.Uint16(in[1:])) != len(in)-3 {
		return nil, winscard.ErrNotTransacted
	}
	output, result, err := p.PACE(in[0], slices.Clone(in[3:]))
	switch {
	case err != nil:
		return nil, err
	case len(output) > 0xFFFF:
		return nil, winscard.ErrNotTransacted
	}
	b := binary.LittleEndian.AppendUint32(nil, result)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(output)))
	return append(b, output...), nil
}

// pump gives an entry the keys that are there, and returns a channel that further ones close.
func (d *padDriver) pump(e *entry) (pressed <-chan struct{}) {
	for {
		e.late()
		if e.over() {
			return nil
		}
		key, ok, pressed := d.pad.next()
		if ok {
			e.press(key)
			continue
		}
		prompt, ok := e.question()
		if !ok || d.pad.User == nil {
			return pressed
		}
		d.pad.Press(d.pad.User(prompt))
	}
}

// keyPressed tells of the oldest key that was not told of yet.
func (d *padDriver) keyPressed() []byte {
	e := d.steps
	if e == nil {
		return []byte{0}
	}
	d.pump(e)
	if len(e.told) == 0 {
		return []byte{0}
	}
	key := e.told[0]
	e.told = e.told[1:]
	return []byte{key}
}

// finish waits for the end of an entry and has the card execute the command. Nobody else can use the card meanwhile, as
// a reader does one thing at a time.
func (d *padDriver) finish(e *entry) ([]byte, error) {
	s, r := d.reader.service, d.reader
	s.mu.Lock()
	defer s.mu.Unlock()
	in, rc := s.seize(r)
	if rc != winscard.Success {
		return nil, rc
	}
	held := in
	free := func() {
		if held != nil {
			s.free(held)
			held = nil
		}
	}
	defer free() // if a card panics
	stops := s.stops
	same := func() bool { return r.inserted == in && s.stops == stops }

	for !e.over() && same() {
		released := s.released.wait()
		s.unlocked(func() { d.await(e, released) })
	}
	if !same() {
		return nil, winscard.ErrNotTransacted
	}
	command, status := e.command()
	if status != 0 {
		return []byte{byte(status >> 8), byte(status)}, nil
	}
	early, late := split(s.strike(OpTransmit, command, r))
	if len(early) > 0 { // they may want the line
		free()
		if rc := s.suffer(early); rc != winscard.Success {
			return nil, rc
		}
		if held, rc = s.seize(r); rc != winscard.Success {
			return nil, rc
		}
		if held != in || !same() {
			return nil, winscard.ErrNotTransacted
		}
	}
	if in.line.silent {
		late = append(late, hit{MuteCard().When(Before()), r})
	}
	var response []byte
	s.unlocked(func() { response, rc = s.ask(in, command, late) })
	if rc == winscard.Success && !same() {
		rc = winscard.ErrNotTransacted
	}
	free()
	s.restart(late)
	if rc != winscard.Success {
		return nil, rc
	}
	return response, nil
}

// await waits for a key, for the end of the time, or until something happens to the reader.
func (d *padDriver) await(e *entry, released <-chan struct{}) {
	pressed := d.pump(e)
	if e.over() {
		return
	}
	late := time.NewTimer(time.Until(e.deadline))
	defer late.Stop()
	select {
	case <-pressed:
	case <-late.C:
	case <-released:
	}
}

// unlocked runs f without s.mu, which the caller holds.
func (s *Service) unlocked(f func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	f()
}
