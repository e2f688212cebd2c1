package virtual

import (
	"fmt"
	"slices"
	"strings"
)

// A ReaderOption changes the reader that [Service.AddReader] makes.
type ReaderOption func(*readerOptions)

type readerOptions struct {
	iface, serial string
	slots         int
}

// WithInterface gives the reader the name of a USB interface, which stands in brackets after its own.
func WithInterface(name string) ReaderOption { return func(o *readerOptions) { o.iface = name } }

// WithSerial gives the reader a serial number, which stands in parentheses after its name and is its attribute
// AttrVendorIFDSerialNo.
func WithSerial(number string) ReaderOption { return func(o *readerOptions) { o.serial = number } }

// WithSlots gives the reader n slots, 1 to 16, each with room for a card; to clients each is a reader of its own. See
// [Reader.Slots].
func WithSlots(n int) ReaderOption {
	return func(o *readerOptions) { o.slots = min(max(n, 1), maxReaders) }
}

// AddReader plugs in a reader. As pcscd does, it appends to the name, in hexadecimal, a number that no other reader of
// the service has and the number of the slot: "Test Reader 00 00", then "Other Reader 01 00". With all options the name
// is "Test Reader [Interface] (serial) 00 00", and the second slot's ends with 01. Names that are too long for pcscd
// (over 121 bytes) are cut, as are names at a NUL.
//
// A service takes 16 readers, of which each slot is one. A further one is ignored, as by pcscd, and so is one whose
// slots are too many: the result is not nil but never gets connected, and [Reader.Connected] says so.
func (s *Service) AddReader(name string, opts ...ReaderOption) *Reader {
	o := readerOptions{slots: 1}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.iface != "" {
		name += " [" + o.iface + "]"
	}
	if o.serial != "" {
		name += " (" + o.serial + ")"
	}
	if i := strings.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	const suffix = len(" 00 00")
	if limit := maxReaderName - 1 - suffix; len(name) > limit {
		name = name[:limit]
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	var (
		free []int
		used [maxReaders]bool
	)
	for i := range s.slots {
		if r := s.slots[i].reader; r != nil {
			used[r.number] = true
		} else {
			free = append(free, i)
		}
	}
	number := slices.Index(used[:], false)
	slots := make([]*Reader, o.slots)
	for i := range slots {
		slots[i] = &Reader{service: s, name: name, place: -1, slots: slots, slot: i, serial: o.serial}
		slots[i].empty()
	}
	if len(free) < len(slots) {
		return slots[0]
	}
	for i, r := range slots {
		r.number, r.place = number, free[i]
		r.name = fmt.Sprintf("%s %02X %02X", name, number, i)
		s.slots[r.place].reader = r
		s.plugs++
	}
	s.events.raise()
	return slots[0]
}

// Slots returns all slots of the reader, in order. Each is a reader, as which clients see it; the first is what
// [Service.AddReader] has returned.
func (r *Reader) Slots() []*Reader {
	if r.service == nil {
		return nil
	}
	return slices.Clone(r.slots)
}

// RemoveReader unplugs a reader with all its slots and takes out the cards that may be in them. Connections get
// ErrInvalidValue from then on (ErrReaderUnavailable from Status), GetStatusChange reports it as unknown and
// unavailable. A reader that is not connected to the service is ignored.
func (s *Service) RemoveReader(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r == nil || r.service != s || r.place < 0 {
		return
	}
	s.unplug(r)
}

// unplug does the work of RemoveReader. The caller holds s.mu, which may be released at the end.
func (s *Service) unplug(r *Reader) {
	for _, r := range r.slots {
		for _, h := range r.connections {
			h.reader = nil
		}
		r.forgetClients()
		r.empty()
		r.pull()
		s.slots[r.place].reader = nil
		r.place = -1
		s.plugs++
	}
	s.events.raise()
	s.released.raise()
	for _, r := range r.slots {
		s.tellPulled(r.last)
	}
}
