package atr

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// ServiceData is the card service data byte (ISO/IEC 7816-4:2005, 8.1.1.2.3).
type ServiceData byte

// ServiceData is the card service data, if the historical bytes have it.
func (h Historical) ServiceData() (ServiceData, bool) {
	o, ok := h.Object(TagServiceData)
	if !ok || len(o.Data) == 0 {
		return 0, false
	}
	return ServiceData(o.Data[0]), true
}

// SelectsByFullName reports whether applications can be selected by full DF name.
func (s ServiceData) SelectsByFullName() bool { return s&0x80 != 0 }

// SelectsByPartialName reports whether applications can be selected by partial DF name.
func (s ServiceData) SelectsByPartialName() bool { return s&0x40 != 0 }

// HasEFDIR reports whether there are data objects in EF.DIR.
func (s ServiceData) HasEFDIR() bool { return s&0x20 != 0 }

// HasEFATR reports whether there are data objects in EF.ATR.
func (s ServiceData) HasEFATR() bool { return s&0x10 != 0 }

// HasMF reports whether the card has a master file.
func (s ServiceData) HasMF() bool { return s&0x01 == 0 }

// Access is the command that reads EF.DIR and EF.ATR: "READ BINARY", "READ RECORD (S)", "GET DATA", or "" if it is
// reserved.
func (s ServiceData) Access() string {
	switch s >> 1 & 7 {
	case 4:
		return "READ BINARY"
	case 0:
		return "READ RECORD (S)"
	case 2:
		return "GET DATA"
	default:
		return ""
	}
}

// String lists what the byte says.
func (s ServiceData) String() string {
	var by, l words
	by.add(s.SelectsByFullName(), "full")
	by.add(s.SelectsByPartialName(), "partial")
	l.add(len(by) > 0, "selects applications by "+strings.Join(by, " and ")+" DF name")
	l.add(s.HasEFDIR(), "EF.DIR")
	l.add(s.HasEFATR(), "EF.ATR")
	if access := s.Access(); access != "" {
		l.add(true, "files read with "+access)
	} else {
		l.add(true, "access to files reserved")
	}
	l.add(s.HasMF(), "MF")
	l.add(!s.HasMF(), "no MF")
	return strings.Join(l, ", ")
}

// A WriteBehaviour is what the write functions do (ISO/IEC 7816-4:2005, 8.1.1.2.7).
type WriteBehaviour uint8

// The behaviours, as coded in bits 7 and 6 of the data coding byte.
const (
	WriteOnce WriteBehaviour = iota
	WriteProprietary
	WriteOR
	WriteAND
)

// String is "one-time write" and the like.
func (w WriteBehaviour) String() string {
	switch w {
	case WriteOnce:
		return "one-time write"
	case WriteProprietary:
		return "proprietary write"
	case WriteOR:
		return "write OR"
	case WriteAND:
		return "write AND"
	default:
		return fmt.Sprintf("write behaviour %d", uint8(w))
	}
}

// Capabilities are the card capabilities (ISO/IEC 7816-4:2005, 8.1.1.2.7): one to three bytes, the software function
// tables, of which the second is the data coding byte.
type Capabilities struct {
	// The first table: ways to select a DF, and what else identifies data.
	SelectByFullName    bool
	SelectByPartialName bool
	SelectByPath        bool
	SelectByFileID      bool
	SelectImplicit      bool
	ShortFileID         bool
	RecordNumber        bool
	RecordID            bool

	HasDataCoding bool           // there is a second table; the next four are from it
	TLVFiles      bool           // EFs of TLV structure are supported
	Write         WriteBehaviour // what the write functions do
	TagFF         bool           // FF is valid as the first byte of a BER-TLV tag
	DataUnit      int            // size of the data unit in quartets, halves of a byte: 2 is a byte

	HasChannels        bool // there is a third table; the rest are from it
	CommandChaining    bool // a long command may be sent in pieces
	ExtendedLength     bool // Lc and Le may be extended: more than 255 bytes in a command, 256 in a response
	ExtendedLengthInfo bool // the limits to that are in EF.ATR (ISO/IEC 7816-4:2013)
	ChannelsByCard     bool // the card assigns numbers to logical channels
	ChannelsByReader   bool // the interface device assigns numbers to logical channels
	MaxChannels        int  // the most logical channels at a time; 8 is 8 or more
}

// Capabilities are the card capabilities, if the historical bytes have them.
func (h Historical) Capabilities() (Capabilities, bool) {
	o, ok := h.Object(TagCapabilities)
	if !ok || len(o.Data) == 0 {
		return Capabilities{}, false
	}
	b := o.Data[0]
	c := Capabilities{
		SelectByFullName:    b&0x80 != 0,
		SelectByPartialName: b&0x40 != 0,
		SelectByPath:        b&0x20 != 0,
		SelectByFileID:      b&0x10 != 0,
		SelectImplicit:      b&0x08 != 0,
		ShortFileID:         b&0x04 != 0,
		RecordNumber:        b&0x02 != 0,
		RecordID:            b&0x01 != 0,
	}
	if len(o.Data) > 1 {
		b := o.Data[1]
		c.HasDataCoding = true
		c.TLVFiles = b&0x80 != 0
		c.Write = WriteBehaviour(b >> 5 & 3)
		c.TagFF = b&0x10 != 0
		c.DataUnit = 1 << (b & 0x0F)
	}
	if len(o.Data) > 2 {
		b := o.Data[2]
		c.HasChannels = true
		c.CommandChaining = b&0x80 != 0
		c.ExtendedLength = b&0x40 != 0
		c.ExtendedLengthInfo = b&0x20 != 0
		c.ChannelsByCard = b&0x10 != 0
		c.ChannelsByReader = b&0x08 != 0
		// The three bits y, z and t are 4y + 2z + t + 1, and all three set is "8 or more", which comes to the same.
		c.MaxChannels = int(b&7) + 1
	}
	return c, true
}

// String lists what the bytes say.
func (c Capabilities) String() string { return strings.Join(c.lines(), "; ") }

// lines has one line for each table.
func (c Capabilities) lines() []string {
	var by, l words
	by.add(c.SelectByFullName, "full name")
	by.add(c.SelectByPartialName, "partial name")
	by.add(c.SelectByPath, "path")
	by.add(c.SelectByFileID, "file identifier")
	l.add(len(by) > 0, "selects DFs by "+strings.Join(by, ", "))
	l.add(c.SelectImplicit, "selects DFs implicitly")
	l.add(c.ShortFileID, "short file identifiers")
	l.add(c.RecordNumber, "record numbers")
	l.add(c.RecordID, "record identifiers")
	l.add(len(l) == 0, "no way to select")
	lines := []string{strings.Join(l, ", ")}
	if c.HasDataCoding {
		l = nil
		l.add(c.TLVFiles, "EFs of TLV structure")
		l.add(true, c.Write.String())
		l.add(c.TagFF, "FF valid in BER-TLV tags")
		l.add(true, "data unit of "+plural(c.DataUnit, "quartet"))
		lines = append(lines, strings.Join(l, ", "))
	}
	if c.HasChannels {
		l = nil
		l.add(c.CommandChaining, "command chaining")
		l.add(c.ExtendedLength, "extended Lc and Le")
		l.add(c.ExtendedLengthInfo, "limits of extended length in EF.ATR")
		by = nil
		by.add(c.ChannelsByCard, "card")
		by.add(c.ChannelsByReader, "interface device")
		channels := plural(c.MaxChannels, "logical channel")
		if c.MaxChannels == 8 {
			channels = "8 or more logical channels"
		}
		l.add(len(by) == 0, "no logical channels")
		l.add(len(by) > 0, channels+", assigned by "+strings.Join(by, " or "))
		lines = append(lines, strings.Join(l, ", "))
	}
	return lines
}

// A LifeCycle is the card life cycle status byte, LCS (ISO/IEC 7816-4:2005, 5.3.3.2, table 13).
type LifeCycle byte

// String is "operational (activated)" and the like.
func (l LifeCycle) String() string {
	switch {
	case l == 0x00:
		return "no information"
	case l == 0x01:
		return "creation"
	case l == 0x03:
		return "initialisation"
	case l&0xFD == 0x05:
		return "operational (activated)"
	case l&0xFD == 0x04:
		return "operational (deactivated)"
	case l&0xFC == 0x0C:
		return "termination"
	case l > 0x0F:
		return "proprietary"
	default:
		return "reserved"
	}
}

// A Status is the status indicator in historical bytes (ISO/IEC 7816-4:2005, 8.1.1.3).
type Status struct {
	HasLCS bool
	LCS    LifeCycle
	HasSW  bool
	SW     uint16 // SW1 SW2, such as 0x9000; 0 is "not reported"
}

// Status is the status indicator: a data object, or the last three bytes if the category indicator is 00.
func (h Historical) Status() (Status, bool) {
	data, ok := h.trailer, h.trailerSet
	if !ok {
		o, found := h.Object(TagStatus)
		data, ok = o.Data, found
	}
	if !ok {
		return Status{}, false
	}
	switch len(data) {
	case 1:
		return Status{HasLCS: true, LCS: LifeCycle(data[0])}, true
	case 2:
		return Status{HasSW: true, SW: binary.BigEndian.Uint16(data)}, true
	case 3:
		return Status{HasLCS: true, LCS: LifeCycle(data[0]), HasSW: true, SW: binary.BigEndian.Uint16(data[1:])}, true
	default:
		return Status{}, false
	}
}

// String is "life cycle 07, operational (activated); SW 9000".
func (s Status) String() string {
	var l words
	l.add(s.HasLCS, fmt.Sprintf("life cycle %02X, %v", byte(s.LCS), s.LCS))
	l.add(s.HasSW && s.SW == 0, "SW not reported")
	l.add(s.HasSW && s.SW != 0, fmt.Sprintf("SW %04X", s.SW))
	return strings.Join(l, "; ")
}

// words is a list that is made of what holds.
type words []string

func (w *words) add(ok bool, s string) {
	if ok {
		*w = append(*w, s)
	}
}
