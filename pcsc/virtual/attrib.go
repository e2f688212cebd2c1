package virtual

import (
	"encoding/binary"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// Controller is a reader's driver, as far as Control goes. It may also be an [AttribSetter].
//
// Control executes a command to the reader and returns its output. The service makes one call at a time for each
// reader and must not be called back about the same reader's controller from within. If the error is or wraps a
// [winscard.Code], that is what the client gets; errors.ErrUnsupported becomes ErrUnsupportedFeature, any other error
// ErrNotTransacted. Control must neither change in nor keep it.
type Controller interface {
	Control(code uint32, in []byte) (out []byte, err error)
}

// AttribSetter is a [Controller] that lets clients set attributes. Errors are as in Control.
type AttribSetter interface {
	SetAttrib(id uint32, value []byte) error
}

// ControlFunc is a [Controller] made of its Control method.
type ControlFunc func(code uint32, in []byte) (out []byte, err error)

// Control calls f.
func (f ControlFunc) Control(code uint32, in []byte) ([]byte, error) { return f(code, in) }

// direct finds the reader of a connection for the calls that do not wait for the lock. The caller holds s.mu.
func (s *Service) direct(h *connection) (*Reader, winscard.Code) {
	if rc := s.valid(h); rc != winscard.Success {
		return nil, rc
	}
	r := h.reader
	switch {
	case r.lockedOut(h):
		return nil, winscard.ErrSharingViolation
	case r.has(winscard.CardUnknown):
		return nil, winscard.ErrReaderUnavailable
	}
	return r, winscard.Success
}

// Control sends a command to the reader's [Controller], and returns ErrUnsupportedFeature if there is none. It does
// not wait for another connection's lock but returns ErrSharingViolation, and it works after a reset or a removal of
// the card. Output that does not fit gives ErrInsufficientBuffer and its length; the command has been executed then.
func (s *Service) Control(card winscard.Card, code uint32, in, out []byte) (int, winscard.Code) {
	result, rc := s.drive(card, OpControl, in, len(in) > maxExtended, func(c Controller) ([]byte, error) {
		if c == nil {
			return nil, winscard.ErrUnsupportedFeature
		}
		return c.Control(code, in)
	})
	switch {
	case rc != winscard.Success:
		return 0, rc
	case len(result) > maxExtended:
		return 0, winscard.ErrNotTransacted
	case len(result) > len(out):
		return len(result), winscard.ErrInsufficientBuffer
	}
	return copy(out, result), winscard.Success
}

// SetAttrib sets an attribute of the reader, if its [Controller] is an [AttribSetter], and returns ErrNotTransacted
// otherwise. An empty value gives ErrInvalidParameter, one over 264 bytes ErrInsufficientBuffer.
func (s *Service) SetAttrib(card winscard.Card, id uint32, attr []byte) winscard.Code {
	if len(attr) == 0 {
		return winscard.ErrInvalidParameter
	}
	_, rc := s.drive(card, OpSetAttrib, nil, len(attr) > maxAttrib, func(c Controller) ([]byte, error) {
		setter, ok := c.(AttribSetter)
		if !ok {
			return nil, winscard.ErrNotTransacted
		}
		return nil, setter.SetAttrib(id, attr)
	})
	return rc
}

// drive calls the controller of a connection's reader, when it is free, without holding s.mu.
func (s *Service) drive(card winscard.Card, op Op, in []byte, tooLong bool, call func(Controller) ([]byte, error)) (result []byte, rc winscard.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, rc := s.connection(card)
	if rc != winscard.Success {
		return nil, rc
	}
	if tooLong {
		return nil, winscard.ErrInsufficientBuffer
	}
	var late []hit
	struck := false
	for {
		r, rc := s.direct(h)
		if rc == winscard.Success && op != OpControl {
			rc = h.event.code()
		}
		if rc != winscard.Success {
			return nil, rc
		}
		if r.control.busy {
			s.pause()
			continue
		}
		if !struck {
			struck = true
			early := s.strike(op, in, r)
			if op == OpControl {
				early, late = split(early)
			}
			if rc := s.suffer(early); rc != winscard.Success {
				return nil, rc
			}
			if len(early) > 0 {
				continue
			}
		}
		c := r.controller
		result, rc = func() ([]byte, winscard.Code) {
			r.control.busy = true
			s.mu.Unlock()
			defer func() {
				s.mu.Lock()
				r.control.busy = false
				s.released.raise()
			}()
			var (
				out []byte
				rc  winscard.Code
			)
			if !unheard(late) {
				var err error
				if out, err = call(c); err != nil {
					out, rc = nil, codeOf(err)
				}
			}
			return s.disturb(late, out, rc)
		}()
		s.restart(late)
		switch {
		case h.client.dead:
			return nil, winscard.ErrCommError
		case rc != winscard.Success:
			return nil, rc
		case h.reader == nil:
			return nil, winscard.ErrNotTransacted
		}
		return result, winscard.Success
	}
}

// GetAttrib writes an attribute of the reader or its card and returns its length; an empty attr asks for the length.
// Attributes that the reader does not have give ErrUnsupportedFeature. Strings end with a NUL, which counts.
//
// Every reader has what pcscd and its CCID driver answer: the ATR (empty without a card), its name as friendly name and
// system name, the vendor name, the version, the serial number if it has one, the channel, the longest input, and the
// presence and interface state of the card; [Reader.SetAttribute] changes and adds some. It does not wait for another connection's lock but returns ErrSharingViolation. As in libpcsclite, a buffer
// over 264 bytes gives ErrInsufficientBuffer.
func (s *Service) GetAttrib(card winscard.Card, id uint32, attr []byte) (int, winscard.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, rc := s.connection(card)
	if rc != winscard.Success {
		return 0, rc
	}
	if len(attr) > maxAttrib {
		return len(attr), winscard.ErrInsufficientBuffer
	}
	if rc := s.suffer(s.strike(OpGetAttrib, nil, h.reader)); rc != winscard.Success {
		return 0, rc
	}
	r, rc := s.direct(h)
	if rc == winscard.Success {
		rc = h.event.code()
	}
	if rc != winscard.Success {
		return 0, rc
	}
	value, ok := r.attribute(id)
	switch {
	case !ok:
		return 0, winscard.ErrUnsupportedFeature
	case len(attr) == 0:
		return len(value), winscard.Success
	case copy(attr, value) < len(value):
		return len(value), winscard.ErrInsufficientBuffer
	}
	return len(value), winscard.Success
}

// attribute finds the value of an attribute. The caller holds s.mu.
func (r *Reader) attribute(id uint32) ([]byte, bool) {
	if value, ok := r.attributes[id]; ok {
		return value, value != nil
	}
	flag := func(is bool, value byte) []byte {
		if is {
			return []byte{value}
		}
		return []byte{0}
	}
	switch winscard.Attribute(id) {
	case winscard.AttrATRString:
		return r.atr, true
	case winscard.AttrDeviceFriendlyName, winscard.AttrDeviceSystemName:
		return append([]byte(r.name), 0), true
	case winscard.AttrVendorName:
		return []byte("gopcsc\x00"), true
	case winscard.AttrVendorIFDVersion:
		return []byte{0, 0, 0, 1}, true // 1.0.0, the major number in the highest byte, little-endian
	case winscard.AttrVendorIFDSerialNo:
		return append([]byte(r.serial), 0), r.serial != ""
	case winscard.AttrChannelID: // as of a USB device: bus 1, and an address
		return binary.NativeEndian.AppendUint32(nil, 0x0020<<16|1<<8|uint32(r.number+1)), true
	case winscard.AttrMaxInput:
		return []byte{maxExtended & 0xFF, maxExtended >> 8 & 0xFF, maxExtended >> 16, 0}, true
	case winscard.AttrICCPresence:
		return flag(r.has(winscard.CardPresent), 2), true
	case winscard.AttrICCInterfaceStatus:
		r.settle()
		return flag(r.inserted != nil && r.inserted.line.hasPower(), 1), true
	}
	return nil, false
}
