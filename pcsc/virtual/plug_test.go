package virtual_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

func TestSlots(t *testing.T) {
	s := virtual.New()
	single := s.AddReader("Single")
	multi := s.AddReader("Multi", virtual.WithSlots(3), virtual.WithInterface("CCID Interface"), virtual.WithSerial("0042"), nil)
	last := s.AddReader("Last", virtual.WithSlots(0))
	names := []string{
		"Single 00 00", "Multi [CCID Interface] (0042) 01 00", "Multi [CCID Interface] (0042) 01 01",
		"Multi [CCID Interface] (0042) 01 02", "Last 02 00",
	}
	require.Equal(t, names, list(t, s))
	slots := multi.Slots()
	require.Len(t, slots, 3)
	require.Same(t, multi, slots[0])
	require.Equal(t, slots, slots[2].Slots())
	require.Equal(t, []*virtual.Reader{single}, single.Slots())
	require.Equal(t, []*virtual.Reader{last}, last.Slots())

	// Each has a card and connections of its own.
	card := &contacts{}
	slots[1].Insert(card)
	slots[2].Insert(echo(atrT0))
	_, h1 := connect(t, s, slots[1], exclusive)
	_, h2 := connect(t, s, slots[2], shared)
	ok(t, transmit(s, h1))
	require.Equal(t, sEmpty, look(t, s, slots[0]).EventState&sEmpty)
	for _, h := range []winscard.Card{h1, h2} {
		buf := make([]byte, 264)
		n, rc := s.GetAttrib(h, uint32(winscard.AttrVendorIFDSerialNo), buf)
		ok(t, rc)
		require.Equal(t, "0042\x00", string(buf[:n]))
	}
	_, h := connect(t, s, single, direct)
	_, rc := s.GetAttrib(h, uint32(winscard.AttrVendorIFDSerialNo), nil)
	want(t, winscard.ErrUnsupportedFeature, rc)

	// They go together.
	s.RemoveReader(slots[2])
	require.Equal(t, []string{names[0], names[4]}, list(t, s))
	want(t, winscard.ErrReaderUnavailable, status(s, h1))
	want(t, winscard.ErrReaderUnavailable, status(s, h2))
	for _, slot := range slots {
		require.False(t, slot.Connected())
		require.Nil(t, slot.Card())
	}
	s.RemoveReader(slots[0])

	// A fault unplugs all of them, too.
	multi = s.AddReader("Again", virtual.WithSlots(2))
	require.Equal(t, "Again 01 00", multi.Name())
	multi.Slots()[1].Inject(virtual.UnplugReader(), virtual.On(virtual.OpConnect))
	_, _, rc = s.Connect(establish(t, s), multi.Slots()[1].Name(), direct, 0)
	want(t, winscard.ErrUnknownReader, rc)
	require.False(t, multi.Connected())
}

// A reader whose slots have no place is not there at all.
func TestSlotsTooMany(t *testing.T) {
	s := virtual.New()
	require.Len(t, s.AddReader("All", virtual.WithSlots(99)).Slots(), 16)
	require.Len(t, list(t, s), 16)
	require.False(t, s.AddReader("More").Connected())
	s = virtual.New()
	s.AddReader("First")
	all := s.AddReader("All", virtual.WithSlots(16))
	require.False(t, all.Connected())
	require.Equal(t, []string{"First 00 00"}, list(t, s))
	all.Slots()[15].Insert(echo(atrT0))
	s.RemoveReader(all)
	fifteen := s.AddReader("Rest", virtual.WithSlots(15)).Slots()
	require.Equal(t, "Rest 01 0E", fifteen[14].Name())
	require.Nil(t, (&virtual.Reader{}).Slots())
}

func ExampleWithSlots() {
	service := virtual.New()
	reader := service.AddReader("Dual Reader", virtual.WithInterface("Contact"), virtual.WithSerial("1234"), virtual.WithSlots(2))
	for _, slot := range reader.Slots() {
		fmt.Println(slot.Name())
	}
	// Output:
	// Dual Reader [Contact] (1234) 00 00
	// Dual Reader [Contact] (1234) 00 01
}
