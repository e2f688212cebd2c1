package virtual

import (
	"time"

	"github.com/gopcsc/gopcsc/internal/part10"
)

// The status words of the reader itself.
const (
	padTimeout   = 0x6400
	padCancelled = 0x6401
	padMismatch  = 0x6402
	padLength    = 0x6403
	padStructure = 0x6B80
)

// What ends the entry of a PIN, as bits of bEntryValidationCondition.
const (
	endMax = 1 << iota
	endKey
	endTimeout

	endAny = endMax | endKey | endTimeout
)

// What GET_KEY_PRESSED tells.
const (
	toldErase  = 0x0A
	toldOK     = 0x0D
	toldCancel = 0x1B
	toldDigit  = 0x2B
	toldAbort  = 0x40
)

// entry is the entry of a PIN, or of two or three, from the client's structure to the command for the card.
type entry struct {
	prompts []PINPrompt
	block   pinBlock
	at      []int // where the PINs go, by prompt; less than 0: nowhere
	apdu    []byte
	first   time.Duration // for the first key
	further time.Duration // after it; 0: what is left of first
	endOn   byte

	pins     [][]byte // those entered, each with its digits
	digits   []byte   // the one that is being entered
	asked    bool     // the user was asked for it
	deadline time.Time
	status   uint16 // not 0: over, with this status and no command
	told     []byte // for GET_KEY_PRESSED
}

// newVerify reads a PIN_VERIFY_STRUCTURE.
func (p *PINPad) newVerify(in []byte) *entry {
	var s part10.PINVerify
	if !s.Decode(in) || int(s.DataLength) != len(s.Data) {
		return &entry{status: padStructure}
	}
	e := &entry{
		block: pinBlock{s.FormatString, s.PINBlockString, s.PINLengthFormat},
		at:    []int{0},
		apdu:  s.Data,
		endOn: s.EntryValidationCondition,
	}
	prompt := PINPrompt{Purpose: PINToVerify, Min: int(s.PINMaxExtraDigit >> 8), Max: int(s.PINMaxExtraDigit & 0xFF)}
	if s.NumberMessage != 0 {
		prompt.Language, prompt.Message = s.LangID, s.MsgIndex
	}
	e.prompts = []PINPrompt{prompt}
	return p.begin(e, s.TimerOut, s.TimerOut2)
}

// newModify reads a PIN_MODIFY_STRUCTURE.
func (p *PINPad) newModify(in []byte) *entry {
	var s part10.PINModify
	if !s.Decode(in) || int(s.DataLength) != len(s.Data) {
		return &entry{status: padStructure}
	}
	e := &entry{
		block: pinBlock{s.FormatString, s.PINBlockString, s.PINLengthFormat},
		apdu:  s.Data,
		endOn: s.EntryValidationCondition,
	}
	messages := []byte{s.MsgIndex1, s.MsgIndex2, s.MsgIndex3}
	ask := func(purpose PINPurpose, at int) {
		prompt := PINPrompt{Purpose: purpose, Min: int(s.PINMaxExtraDigit >> 8), Max: int(s.PINMaxExtraDigit & 0xFF)}
		if s.NumberMessage != 0 {
			prompt.Language, prompt.Message = s.LangID, messages[len(e.prompts)]
		}
		e.prompts = append(e.prompts, prompt)
		e.at = append(e.at, at)
	}
	if s.ConfirmPIN&2 != 0 {
		ask(PINOld, int(s.InsertionOffsetOld))
	}
	ask(PINNew, int(s.InsertionOffsetNew))
	if s.ConfirmPIN&1 != 0 {
		ask(PINNewAgain, -1)
	}
	return p.begin(e, s.TimerOut, s.TimerOut2)
}

// begin checks an entry and lets its time run.
func (p *PINPad) begin(e *entry, first, further byte) *entry {
	_, ok := parseTemplate(e.apdu)
	prompt := e.prompts[0]
	if !ok || e.block.digitBits() == 0 || prompt.Max == 0 || prompt.Min > prompt.Max || e.endOn&endAny == 0 {
		return &entry{status: padStructure}
	}
	e.first, e.further = time.Duration(first)*time.Second, time.Duration(further)*time.Second
	if e.first == 0 {
		e.first = p.Timeout
	}
	if e.first <= 0 {
		e.first = 30 * time.Second
	}
	e.deadline = time.Now().Add(e.first)
	return e
}

// over reports whether no key is needed any more.
func (e *entry) over() bool { return e.status != 0 || len(e.pins) == len(e.prompts) }

// question is what to ask the user now, once for each PIN.
func (e *entry) question() (PINPrompt, bool) {
	if e.asked || e.over() {
		return PINPrompt{}, false
	}
	e.asked = true
	return e.prompts[len(e.pins)], true
}

// press is a key.
func (e *entry) press(k byte) {
	if e.over() {
		return
	}
	prompt := e.prompts[len(e.pins)]
	switch {
	case k == KeyCancel[0]:
		e.told = append(e.told, toldCancel)
		e.status = padCancelled
	case k == KeyErase[0]:
		e.told = append(e.told, toldErase)
		e.digits = e.digits[:max(len(e.digits)-1, 0)]
	case k == KeyOK[0]:
		if e.endOn&endKey != 0 {
			e.complete()
		}
	case isDigit(k):
		if len(e.digits) == 0 && e.further > 0 {
			e.deadline = time.Now().Add(e.further)
		}
		e.told = append(e.told, toldDigit)
		e.digits = append(e.digits, k)
		if len(e.digits) == prompt.Max && e.endOn&endMax != 0 {
			e.complete()
		}
	}
}

// complete ends the entry of a PIN.
func (e *entry) complete() {
	prompt := e.prompts[len(e.pins)]
	e.pins = append(e.pins, e.digits)
	switch n := len(e.digits); {
	case n < prompt.Min || n > prompt.Max:
		e.status = padLength
	case prompt.Purpose == PINNewAgain && string(e.digits) != string(e.pins[len(e.pins)-2]):
		e.status = padMismatch
	}
	e.digits, e.asked = nil, false
	e.deadline = time.Now().Add(e.first)
	if e.over() {
		e.told = append(e.told, toldOK)
	}
}

// late notes that the time has run out, if it has.
func (e *entry) late() {
	if e.over() || time.Now().Before(e.deadline) {
		return
	}
	if e.endOn&endTimeout != 0 && len(e.digits) > 0 {
		e.complete()
		return
	}
	e.abort(padTimeout)
}

func (e *entry) abort(status uint16) {
	if !e.over() {
		e.status = status
		e.told = append(e.told, toldAbort)
	}
}

// command makes the command for the card, or returns the status of an entry that has none.
func (e *entry) command() ([]byte, uint16) {
	if e.status != 0 {
		return nil, e.status
	}
	t, _ := parseTemplate(e.apdu)
	t.data = append([]byte(nil), t.data...)
	for i, digits := range e.pins {
		at := e.at[i]
		if at < 0 {
			continue
		}
		if e.block.size() == 0 && i > 0 {
			at = len(t.data) // after the old PIN, whose length nobody knew
		}
		var ok bool
		if t.data, ok = e.block.put(t.data, at, digits); !ok {
			return nil, padStructure
		}
	}
	c, ok := t.command()
	if !ok {
		return nil, padStructure
	}
	return c, 0
}
