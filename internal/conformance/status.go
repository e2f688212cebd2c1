package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

const inUse = uint32(winscard.CardPresent | winscard.CardPowered | winscard.CardNegotiable)

var statusTests = []subtest{
	{"Fields", func(t *testing.T, s *suite) {
		for reader, protocol := range []uint32{readerA: t1, readerB: t0} {
			_, card := s.session(t, reader)
			buf, atr := make([]byte, 512), make([]byte, winscard.ReaderStateATRSize)
			n, st, active, atrLen, rc := s.Backend.Status(card, buf, atr)
			requireOK(t, rc)
			require.Equal(t, s.readers[reader], s.name(buf[:n]))
			require.Equal(t, inUse, st&0xFFFF)
			require.NotZero(t, counter(st), "the insertion was counted")
			require.Equal(t, protocol, active)
			require.Equal(t, s.card(reader).ATR(), atr[:atrLen])
		}
	}},
	{"Buffers", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		atrSize := len(s.a.ATR())
		// pcsc-lite ends the name with a single NUL.
		whole := len(s.readers[readerA]) + 1
		if n, _, _, _, _ := s.Backend.Status(card, nil, nil); n == s.needed(whole+1) {
			whole++
		}
		size := s.needed(whole)
		const ok, small = winscard.Success, winscard.ErrInsufficientBuffer
		for _, test := range []struct {
			readers, atr int
			want         winscard.Code
		}{
			{0, 0, ok},
			{size, 0, ok},
			{0, atrSize, ok},
			{size, atrSize, ok},
			{size + 1000, 1000, ok},
			{size - 1, atrSize, small},
			{size - 1, 0, small},
			{3, 0, small},
			{size, atrSize - 1, small},
			{0, atrSize - 1, small},
			{0, 1, small},
			{3, 1, small},
		} {
			readers, readersIntact := guarded(t, test.readers)
			atr, atrIntact := guarded(t, test.atr)
			n, st, protocol, atrLen, rc := s.Backend.Status(card, readers, atr)
			requireCode(t, test.want, rc, "%+v", test)
			if want := size; rc == ok || !s.Quirks.NeededLost {
				if rc == ok && test.readers > 0 {
					want = whole
				}
				require.Equal(t, want, n, "%+v", test)
				require.Equal(t, atrSize, atrLen, "%+v", test)
			}
			require.Equal(t, inUse, st&0xFFFF, "%+v", test)
			require.Equal(t, t1, protocol, "%+v", test)
			readersIntact(test)
			atrIntact(test)
			if rc == ok && test.readers > 0 {
				require.Equal(t, []string{s.readers[readerA]}, split(t, readers[:n]))
			}
			if rc == ok && test.atr > 0 {
				require.Equal(t, s.a.ATR(), atr[:atrLen])
			}
		}
	}},
}

const (
	unknownControl   = 0x42000000 + 2047
	unknownAttribute = 0x00090F0F
	maxAttribute     = winscard.MaxBufferSize
)

var attributeTests = []subtest{
	{"Buffers", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		s.attribute(t, card, s.Quirks.ATRAttribute, s.a.ATR())
	}},
	{"WellKnown", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		for id, want := range map[winscard.Attribute][]byte{
			winscard.AttrATRString:          s.a.ATR(),
			winscard.AttrDeviceFriendlyName: []byte(s.readers[readerA] + "\x00"),
			winscard.AttrDeviceSystemName:   []byte(s.readers[readerA] + "\x00"),
		} {
			if code, ok := s.Quirks.Attributes[id]; ok {
				for _, room := range []int{0, 1, len(want), maxAttribute} {
					_, rc := s.Backend.GetAttrib(card, uint32(id), make([]byte, room))
					requireCode(t, code, rc, "attribute %#x, %d bytes", id, room)
				}
				continue
			}
			s.attribute(t, card, id, want)
			if id == winscard.AttrDeviceFriendlyName {
				want := []byte(s.readers[readerEmpty] + "\x00")
				s.attribute(t, s.connect(t, ctx, readerEmpty, direct, undefined), id, want)
			}
		}
	}},
	{"LargeBuffer", func(t *testing.T, s *suite) {
		// libpcsclite refuses buffers above its own, whatever the attribute,
		// and says nothing of use about the length.
		_, card := s.session(t, readerA)
		for _, room := range []int{maxAttribute + 1, 1 << 16, 1 << 20} {
			buf, intact := guarded(t, room)
			_, rc := s.Backend.GetAttrib(card, uint32(s.Quirks.ATRAttribute), buf)
			requireCode(t, winscard.ErrInsufficientBuffer, rc, "%d bytes", room)
			intact(room)
			requireCode(t, winscard.ErrInsufficientBuffer, s.Backend.SetAttrib(card, uint32(winscard.AttrVendorName), buf))
		}
	}},
	{"Unknown", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		for _, id := range []winscard.Attribute{unknownAttribute, 0xFFFFFFFF, 0x80000000} {
			for _, room := range []int{0, 1, maxAttribute} {
				_, rc := s.Backend.GetAttrib(card, uint32(id), make([]byte, room))
				requireCode(t, s.Quirks.Unsupported, rc, "attribute %#x, %d bytes", id, room)
			}
		}
	}},
	{"Set", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		for _, id := range []uint32{uint32(winscard.AttrVendorName), uint32(winscard.AttrDeviceFriendlyName), unknownAttribute} {
			for _, n := range []int{1, 10, maxAttribute} {
				requireCode(t, s.Quirks.SetAttrib, s.Backend.SetAttrib(card, uint32(id), make([]byte, n)), "attribute %#x", id)
			}
			for _, empty := range [][]byte{nil, {}} {
				requireCode(t, winscard.ErrInvalidParameter, s.Backend.SetAttrib(card, uint32(id), empty))
			}
		}
		require.False(t, s.verified(t, card))
	}},
}

// attribute tests what GetAttrib does with all kinds of buffers.
func (s *suite) attribute(t *testing.T, card winscard.Card, id winscard.Attribute, want []byte) {
	t.Helper()
	for _, room := range []int{0, len(want), len(want) + 1, maxAttribute} {
		buf, intact := guarded(t, room)
		n, rc := s.Backend.GetAttrib(card, uint32(id), buf)
		requireOK(t, rc, "attribute %#x, %d bytes", id, room)
		require.Equal(t, len(want), n, "attribute %#x", id)
		if room > 0 {
			require.Equal(t, want, buf[:n], "attribute %#x", id)
		}
		intact(id, room)
	}
	for _, room := range []int{1, 2, len(want) - 1} {
		buf, intact := guarded(t, room)
		n, rc := s.Backend.GetAttrib(card, uint32(id), buf)
		requireCode(t, winscard.ErrInsufficientBuffer, rc, "attribute %#x, %d bytes", id, room)
		if !s.Quirks.NeededLost {
			require.Equal(t, len(want), n, "needed length of attribute %#x", id)
		}
		intact(id, room)
	}
}

var controlTests = []subtest{
	{"Unsupported", func(t *testing.T, s *suite) {
		ctx, card := s.session(t, readerA)
		for _, card := range []winscard.Card{card, s.connect(t, ctx, readerEmpty, direct, undefined)} {
			for _, code := range []uint32{unknownControl, 0, 0xFFFFFFFF, 0x42000000 + 2} {
				for _, in := range []int{0, 1, 1000, winscard.MaxBufferSizeExtended} {
					for _, out := range []int{0, 1, 1000, winscard.MaxBufferSizeExtended, 1 << 20} {
						buf, intact := guarded(t, out)
						n, rc := s.Backend.Control(card, code, make([]byte, in), buf)
						requireCode(t, s.Quirks.Control, rc, "code %#x, in %d, out %d", code, in, out)
						require.Zero(t, n)
						intact(code, in, out)
					}
				}
				_, rc := s.Backend.Control(card, code, nil, nil)
				requireCode(t, s.Quirks.Control, rc)
			}
		}
	}},
	{"Oversized", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		for _, n := range []int{s.Quirks.LibraryMax + 1, 1 << 20} {
			_, rc := s.Backend.Control(card, unknownControl, make([]byte, n), make([]byte, 100))
			requireCode(t, winscard.ErrInsufficientBuffer, rc)
		}
		require.False(t, s.verified(t, card))
	}},
}
