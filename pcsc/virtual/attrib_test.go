package virtual_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestGetAttrib(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	r.SetAttribute(0x00010103, []byte("0001"))
	r.SetAttribute(0x00010104, make([]byte, 265))
	_, card := connect(t, s, r, shared)
	for id, value := range map[uint32]string{
		uint32(winscard.AttrATRString):          string(atrBoth),
		uint32(winscard.AttrDeviceFriendlyName): r.Name() + "\x00",
		uint32(winscard.AttrDeviceSystemName):   r.Name() + "\x00",
		uint32(winscard.AttrVendorName):         "gopcsc\x00",
		0x00010102:                              "\x00\x00\x00\x01",
		0x00010103:                              "0001",
		0x0007A007:                              "\x0C\x00\x01\x00",
		0x00020110:                              string(binary.NativeEndian.AppendUint32(nil, 0x00200101)),
		0x00090300:                              "\x02",
		0x00090301:                              "\x01",
	} {
		for room, code := range map[int]winscard.Code{
			0: winscard.Success, len(value): winscard.Success, 264: winscard.Success,
			len(value) - 1: winscard.ErrInsufficientBuffer,
		} {
			if room == 0 && code != winscard.Success {
				continue // a value of one byte: room for none asks for the length
			}
			buf := make([]byte, room)
			n, rc := s.GetAttrib(card, id, buf)
			want(t, code, rc, "attribute %#x, room for %d", id, room)
			require.Equal(t, len(value), n)
			if room >= n {
				require.Equal(t, value, string(buf[:n]))
			}
		}
	}
	for _, id := range []uint32{0, 0x00010104, 0x0009FFFF, 0xFFFFFFFF} {
		_, rc := s.GetAttrib(card, id, make([]byte, 10))
		want(t, winscard.ErrUnsupportedFeature, rc, "attribute %#x", id)
	}
	_, rc := s.GetAttrib(card, uint32(winscard.AttrATRString), make([]byte, 265))
	want(t, winscard.ErrInsufficientBuffer, rc, "a buffer larger than libpcsclite's")
	_, rc = s.GetAttrib(card+1, uint32(winscard.AttrATRString), nil)
	want(t, winscard.ErrInvalidHandle, rc)
	r.SetAttribute(uint32(winscard.AttrATRString), nil)
	_, rc = s.GetAttrib(card, uint32(winscard.AttrATRString), nil)
	want(t, winscard.ErrUnsupportedFeature, rc)
}

func TestAttributesWithoutCard(t *testing.T) {
	s, r := setup(t, nil)
	_, card := connect(t, s, r, direct)
	for id, value := range map[uint32]string{uint32(winscard.AttrATRString): "", 0x00090300: "\x00", 0x00090301: "\x00"} {
		buf := make([]byte, 10)
		n, rc := s.GetAttrib(card, id, buf)
		ok(t, rc)
		require.Equal(t, value, string(buf[:n]))
	}
}

// driver knows a control code and an attribute.
type driver struct{ set []byte }

func (d *driver) Control(code uint32, in []byte) ([]byte, error) {
	switch code {
	case 1:
		return append([]byte("got "), in...), nil
	case 2:
		return nil, winscard.ErrInvalidParameter
	case 3:
		return nil, errors.ErrUnsupported
	case 4:
		return make([]byte, 65549), nil
	}
	return nil, errors.New("broken")
}

func (d *driver) SetAttrib(id uint32, value []byte) error {
	if id != 7 {
		return errors.ErrUnsupported
	}
	d.set = append([]byte(nil), value...)
	return nil
}

func TestControl(t *testing.T) {
	s, r := setup(t, nil)
	_, card := connect(t, s, r, direct)
	for _, in := range [][]byte{nil, {1, 2}, make([]byte, 65548)} {
		_, rc := s.Control(card, 1, in, make([]byte, 10))
		want(t, winscard.ErrUnsupportedFeature, rc)
	}
	d := &driver{}
	r.SetController(d)
	for _, test := range []struct {
		card winscard.Card
		code uint32
		in   []byte
		out  int
		want winscard.Code
		n    int
	}{
		{card, 1, []byte("x"), 10, winscard.Success, 5},
		{card, 1, nil, 10, winscard.Success, 4},
		{card, 1, nil, 3, winscard.ErrInsufficientBuffer, 4},
		{card, 1, nil, 0, winscard.ErrInsufficientBuffer, 4},
		{card, 2, nil, 10, winscard.ErrInvalidParameter, 0},
		{card, 3, nil, 10, winscard.ErrUnsupportedFeature, 0},
		{card, 4, nil, 70000, winscard.ErrNotTransacted, 0},
		{card, 5, nil, 10, winscard.ErrNotTransacted, 0},
		{card, 1, make([]byte, 65549), 10, winscard.ErrInsufficientBuffer, 0},
		{card + 1, 1, make([]byte, 65549), 10, winscard.ErrInvalidHandle, 0},
	} {
		out := make([]byte, test.out)
		n, rc := s.Control(test.card, test.code, test.in, out)
		want(t, test.want, rc, "code %d", test.code)
		require.Equal(t, test.n, n)
		if rc == winscard.Success {
			require.Equal(t, "got "+string(test.in), string(out[:n]))
		}
	}
}

func TestSetAttrib(t *testing.T) {
	s, r := setup(t, nil)
	_, card := connect(t, s, r, direct)
	want(t, winscard.ErrNotTransacted, s.SetAttrib(card, 7, []byte{1}))
	r.SetController(virtual.ControlFunc(func(uint32, []byte) ([]byte, error) { return nil, nil }))
	want(t, winscard.ErrNotTransacted, s.SetAttrib(card, 7, []byte{1}))
	d := &driver{}
	r.SetController(d)
	ok(t, s.SetAttrib(card, 7, []byte{1, 2}))
	require.Equal(t, []byte{1, 2}, d.set)
	want(t, winscard.ErrUnsupportedFeature, s.SetAttrib(card, 8, []byte{1}))
	want(t, winscard.ErrInvalidParameter, s.SetAttrib(card, 7, nil))
	want(t, winscard.ErrInsufficientBuffer, s.SetAttrib(card, 7, make([]byte, 265)))
	want(t, winscard.ErrInvalidHandle, s.SetAttrib(card+1, 7, []byte{1}))
}

func TestControlIsSerialised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := setup(t, echo(atrBoth))
		slow := newSlowCard()
		r.SetController(virtual.ControlFunc(func(_ uint32, in []byte) ([]byte, error) { return slow.Transmit(in) }))
		_, a := connect(t, s, r, shared)
		_, b := connect(t, s, r, shared)
		control := func(card winscard.Card) <-chan winscard.Code {
			return async(func() winscard.Code {
				_, rc := s.Control(card, 1, nil, make([]byte, 2))
				return rc
			})
		}
		first, second := control(a), control(b)
		synctest.Wait()
		ok(t, transmit(s, a))
		slow.release <- struct{}{}
		slow.release <- struct{}{}
		ok(t, <-first)
		ok(t, <-second)
		require.False(t, slow.overlap.Load())
	})
}
