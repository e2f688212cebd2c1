package backendpurego

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// layouts are the generated layouts of SCARD_READERSTATE, which are ordinary Go on every machine, with the offsets and
// sizes that compilers print (gen/testdata/layouts.md).
var layouts = map[string]struct {
	put                                                              func([]byte, binary.ByteOrder, uint64, *winscard.ReaderState)
	move                                                             func([]byte, binary.ByteOrder, uint64)
	get                                                              func([]byte, binary.ByteOrder, *winscard.ReaderState)
	size, pointer, number, currentState, eventState, cbAtr, atr, max int
}{
	"darwin64": {putReaderStateDarwin64, moveReaderStateDarwin64, getReaderStateDarwin64,
		sizeReaderStateDarwin64, 8, 4, 16, 20, 24, 28, 33},
	"pcsclite32": {putReaderStatePcsclite32, moveReaderStatePcsclite32, getReaderStatePcsclite32,
		sizeReaderStatePcsclite32, 4, 4, 8, 12, 16, 20, 33},
	"pcsclite64": {putReaderStatePcsclite64, moveReaderStatePcsclite64, getReaderStatePcsclite64,
		sizeReaderStatePcsclite64, 8, 8, 16, 24, 32, 40, 33},
	"windows32": {putReaderStateWindows32, moveReaderStateWindows32, getReaderStateWindows32,
		sizeReaderStateWindows32, 4, 4, 8, 12, 16, 20, 36},
	"windows64": {putReaderStateWindows64, moveReaderStateWindows64, getReaderStateWindows64,
		sizeReaderStateWindows64, 8, 4, 16, 20, 24, 28, 36},
}

// An array of reader states as each platform lays it out, in both byte orders: each number where a C compiler reads it,
// nothing beyond a state's end, and back again.
func TestLayoutsOfAllPlatforms(t *testing.T) {
	orders := map[string]binary.ByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian}
	for name, l := range layouts {
		for end, order := range orders {
			t.Run(fmt.Sprintf("%s/%s", name, end), func(t *testing.T) {
				number := func(b []byte, at, size int) uint64 {
					if size == 4 {
						return uint64(order.Uint32(b[at:]))
					}
					return order.Uint64(b[at:])
				}
				states := make([]winscard.ReaderState, 3)
				array := make([]byte, len(states)*l.size)
				for i := range states {
					s := &states[i]
					s.CurrentState, s.EventState = 0x12340010+uint32(i), 0x56780022+uint32(i)
					s.ATRLen = uint32(20 + i)
					for j := range s.ATR {
						s.ATR[j] = byte(0x80 + i + j)
					}
					element := array[i*l.size : (i+1)*l.size]
					l.put(element, order, uint64(0x100*i), s)
					l.move(element, order, 0x7000)
				}
				for i := range states {
					s, element := &states[i], array[i*l.size:(i+1)*l.size]
					require.EqualValues(t, 0x7000+0x100*i, number(element, 0, l.pointer), "szReader")
					require.Zero(t, number(element, l.pointer, l.pointer), "pvUserData")
					require.EqualValues(t, s.CurrentState, number(element, l.currentState, l.number))
					require.EqualValues(t, s.EventState, number(element, l.eventState, l.number))
					require.EqualValues(t, s.ATRLen, number(element, l.cbAtr, l.number))
					require.Equal(t, s.ATR[:l.max], element[l.atr:l.atr+l.max])
					for _, b := range element[l.atr+l.max:] {
						require.Zero(t, b, "padding")
					}

					var got winscard.ReaderState
					l.get(element, order, &got)
					require.Equal(t, s.EventState, got.EventState)
					require.Equal(t, s.ATRLen, got.ATRLen)
					require.Equal(t, s.ATR[:l.max], got.ATR[:l.max])
				}
				// A library that says that an ATR is longer than there is room for.
				for i := range 4 {
					array[l.cbAtr+i] = 0xFF
				}
				var got winscard.ReaderState
				l.get(array, order, &got)
				require.LessOrEqual(t, int(got.ATRLen), l.max)
			})
		}
	}
}
