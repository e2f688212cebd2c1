package conformance

import (
	"hash/crc32"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// requireExchange sends a command of send bytes for an answer of recv bytes and
// requires that both arrived whole, and once.
func (s *suite) requireExchange(t *testing.T, card winscard.Card, pci uint32, in *Card, send, recv int) {
	t.Helper()
	apdu := exchange(send, recv)
	sent := slices.Clone(apdu)
	buf, intact := guarded(t, recv)
	before := in.Commands()
	n, rc := s.Backend.Transmit(card, pci, apdu, buf)
	requireOK(t, rc, "send %d, receive %d", send, recv)
	require.Equal(t, recv, n)
	require.True(t, slices.Equal(Answer(sent), buf), "the answer arrived whole")
	require.Equal(t, crc32.ChecksumIEEE(sent), in.Last(), "the command arrived whole")
	require.Equal(t, before+1, in.Commands(), "the command arrived once")
	require.True(t, slices.Equal(sent, apdu), "the command was left alone")
	intact("send", send, "receive", recv)
}

// sizes are those around which something changes: short and extended lengths,
// buffers of the library, of the daemon and of the kernel.
func (s *suite) sizes(least int) []int {
	var sizes []int
	for n := least; n <= 40; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range []int{128, 256, 264, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65535} {
		for _, d := range []int{-2, -1, 0, 1, 2, 3, 5} {
			if n+d <= s.Quirks.MaxAPDU {
				sizes = append(sizes, n+d)
			}
		}
	}
	return append(sizes, s.Quirks.MaxAPDU)
}

var transmitTests = []subtest{
	{"Sizes", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		for _, n := range s.sizes(4) {
			s.requireExchange(t, card, t1, s.a, n, 2)
		}
		for _, n := range s.sizes(2) {
			if n > 0xFFFF {
				continue // not to be had from this card
			}
			s.requireExchange(t, card, t1, s.a, 4, n)
			s.requireExchange(t, card, t1, s.a, max(4, n), n)
		}
	}},
	{"LargerBuffer", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		for _, extra := range []int{1, 10, 1000, winscard.MaxBufferSizeExtended, 1 << 20} {
			buf := slices.Repeat([]byte{0xEE}, 100+extra)
			apdu := exchange(50, 100)
			n, rc := s.Backend.Transmit(card, t1, apdu, buf)
			requireOK(t, rc)
			require.Equal(t, Answer(apdu), buf[:n])
			require.Equal(t, slices.Repeat([]byte{0xEE}, extra), buf[100:], "the rest was left alone")
		}
	}},
	{"ShortBuffer", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		for _, test := range []struct{ answer, room int }{
			{2, 1}, {3, 1}, {3, 2}, {100, 1}, {100, 2}, {100, 50}, {100, 99},
			{258, 256}, {65535, 1}, {65535, 2}, {65535, 258}, {65535, 65534},
		} {
			apdu := exchange(20, test.answer)
			buf, intact := guarded(t, test.room)
			before := s.a.Commands()
			n, rc := s.Backend.Transmit(card, t1, apdu, buf)
			requireCode(t, winscard.ErrInsufficientBuffer, rc, "%+v", test)
			if !s.Quirks.NeededLost {
				require.Equal(t, test.answer, n, "needed length")
			}
			require.Equal(t, before+1, s.a.Commands(), "sent once")
			require.Equal(t, crc32.ChecksumIEEE(apdu), s.a.Last())
			intact(test)
			// Nothing is left over for the next call.
			s.requireExchange(t, card, t1, s.a, 20, 20)
		}
	}},
	{"EmptyBuffers", func(t *testing.T, s *suite) {
		// With an empty buffer to receive, the length could only be learnt by
		// sending. An empty command blocks vpcd's reader if it gets there.
		_, card := s.session(t, readerA)
		before := s.a.Commands()
		some := make([]byte, 258)
		for _, empty := range [][]byte{nil, {}, some[:0]} {
			_, rc := s.Backend.Transmit(card, t1, isVerified, empty)
			requireCode(t, winscard.ErrInvalidParameter, rc, "receive")
			_, rc = s.Backend.Transmit(card, t1, empty, some)
			requireCode(t, winscard.ErrInvalidParameter, rc, "send")
			_, rc = s.Backend.Transmit(card, t1, empty, empty)
			requireCode(t, winscard.ErrInvalidParameter, rc, "both")
		}
		require.Equal(t, before, s.a.Commands())
		s.requireExchange(t, card, t1, s.a, 20, 20)
	}},
	{"Oversized", func(t *testing.T, s *suite) {
		// What the reader refuses is in Outage/Oversized: it costs the card.
		_, card := s.session(t, readerA)
		before := s.a.Commands()
		for _, n := range []int{s.Quirks.LibraryMax + 1, 1 << 17, 1 << 20} {
			_, rc := s.Backend.Transmit(card, t1, make([]byte, n), make([]byte, 258))
			requireCode(t, winscard.ErrInsufficientBuffer, rc, "%d bytes", n)
		}
		require.Equal(t, before, s.a.Commands())
		s.requireExchange(t, card, t1, s.a, 20, 20)
	}},
	{"OneBuffer", func(t *testing.T, s *suite) {
		_, card := s.session(t, readerA)
		for _, n := range []int{4, 100, 5000, s.Quirks.MaxAPDU} {
			buf := exchange(n, n)
			want := Answer(buf)
			got, rc := s.Backend.Transmit(card, t1, buf, buf)
			requireOK(t, rc)
			require.True(t, slices.Equal(want, buf[:got]))
		}
	}},
	{"PCI", func(t *testing.T, s *suite) {
		ctx, raw := s.establish(t), s.raw()
		for _, test := range []struct {
			protocol, pci uint32
			want          winscard.Code
		}{
			{t0, t0, winscard.Success},
			{t0, t1, winscard.ErrProtoMismatch},
			{t0, raw, winscard.Success},
			{t1, t0, winscard.ErrProtoMismatch},
			{t1, t1, winscard.Success},
			{t1, raw, winscard.Success},
			{raw, t0, winscard.ErrProtoMismatch},
			{raw, t1, winscard.ErrProtoMismatch},
			{raw, raw, winscard.Success},
		} {
			card, _, rc := s.Backend.Connect(ctx, s.readers[readerA], shared, test.protocol)
			requireOK(t, rc)
			before := s.a.Commands()
			_, rc = s.Backend.Transmit(card, test.pci, mark('x'), make([]byte, 258))
			requireCode(t, test.want, rc, "%+v", test)
			want := before
			if rc == winscard.Success {
				want++
			}
			require.Equal(t, want, s.a.Commands(), "%+v", test)
			requireOK(t, s.Backend.Disconnect(card, reset))
		}
	}},
	{"SecondReader", func(t *testing.T, s *suite) {
		ctx, a := s.session(t, readerA)
		b := s.connect(t, ctx, readerB, shared, anyT)
		for n := range 20 {
			s.requireExchange(t, a, t1, s.a, 10+n, 20+n)
			s.requireExchange(t, b, t0, s.b, 20+n, 10+n)
		}
	}},
}
