package tlv_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/iso7816/tlv"
)

// unhex reads hexadecimal digits with blanks; "xx*n" is a byte n times.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var out []byte
	for _, part := range strings.Fields(text) {
		digits, count, repeated := strings.Cut(part, "*")
		b, err := hex.DecodeString(digits)
		require.NoError(t, err, part)
		n := 1
		if repeated {
			_, err := fmt.Sscan(count, &n)
			require.NoError(t, err, part)
		}
		out = append(out, bytes.Repeat(b, n)...)
	}
	return out
}

func TestTag(t *testing.T) {
	for tag, want := range map[tlv.Tag]struct {
		text               string
		constructed, valid bool
	}{
		0x84:       {"84", false, true},
		0x6F:       {"6F", true, true},
		0x5F20:     {"5F20", false, true},
		0x7F4E:     {"7F4E", true, true},
		0x9F02:     {"9F02", false, true}, // EMV: a number that would fit one byte
		0xDF8101:   {"DF8101", false, true},
		0xFF8105:   {"FF8105", true, true},
		0xDF818101: {"DF818101", false, true},
		0x00:       {"00", false, false},
		0x5F:       {"5F", false, false},       // cut off
		0x5F81:     {"5F81", false, false},     // cut off
		0xDF818181: {"DF818181", false, false}, // too long
		0x5F8020:   {"5F8020", false, false},   // a superfluous byte
		0x8401:     {"8401", false, false},     // two
		0x5F2001:   {"5F2001", false, false},   // two
	} {
		require.Equal(t, want.text, tag.String())
		require.Equal(t, want.constructed, tag.Constructed(), want.text)
		require.Equal(t, want.valid, tag.Valid(), want.text)
	}
}

// Lengths of all forms (ISO/IEC 7816-4, BER-TLV length fields), each at its bounds.
func TestLengths(t *testing.T) {
	for n, field := range map[int]string{
		0: "00", 1: "01", 127: "7F", 128: "81 80", 255: "81 FF", 256: "82 01 00", 65535: "82 FF FF",
		65536: "83 01 00 00", 1<<24 - 1: "83 FF FF FF", 1 << 24: "84 01 00 00 00",
	} {
		want := append(unhex(t, "53 "+field), make([]byte, n)...)
		got, err := tlv.Encode(tlv.New(0x53, make([]byte, n)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), field)
		objects, err := tlv.Decode(got)
		require.NoError(t, err)
		require.Len(t, objects, 1)
		require.Len(t, objects[0].Value, n)
	}
	// Longer than needed is read as well, and not written.
	for _, field := range []string{"01", "81 01", "82 00 01", "83 00 00 01", "84 00 00 00 01"} {
		objects, err := tlv.Decode(unhex(t, "53 "+field+" AA"))
		require.NoError(t, err)
		require.Equal(t, []tlv.Object{tlv.New(0x53, []byte{0xAA})}, objects)
		short, err := tlv.Encode(objects...)
		require.NoError(t, err)
		require.Equal(t, unhex(t, "53 01 AA"), short)
	}
}

func TestDecode(t *testing.T) {
	for data, want := range map[string][]tlv.Object{
		"":                     {},
		"84 00":                {tlv.New(0x84, []byte{})},
		"84 01 AA 50 02 01 02": {tlv.New(0x84, []byte{0xAA}), tlv.New(0x50, []byte{1, 2})},
		"6F 00":                {tlv.NewConstructed(0x6F)},
		"6F 09 84 02 A0 00 A5 03 50 01 41": {tlv.NewConstructed(0x6F, tlv.New(0x84, []byte{0xA0, 0}),
			tlv.NewConstructed(0xA5, tlv.New(0x50, []byte("A"))))},
		"7F 4E 81 04 5F 20 01 AA": {tlv.NewConstructed(0x7F4E, tlv.New(0x5F20, []byte{0xAA}))},
		"FF 81 05 03 84 01 00":    {tlv.NewConstructed(0xFF8105, tlv.New(0x84, []byte{0}))},
	} {
		got, err := tlv.Decode(unhex(t, data))
		require.NoError(t, err, data)
		require.Equal(t, want, got, data)
	}
}

func TestDecodeErrors(t *testing.T) {
	for data, want := range map[string]string{
		"84":                      "offset 1: tag 84: the length is missing",
		"84 01":                   "offset 1: tag 84: the length is 1, more than the 0 that are left",
		"84 00 50 03 01 02":       "offset 3: tag 50: the length is 3, more than the 2 that are left",
		"84 80 00 00":             "offset 1: tag 84: the indefinite length is not supported",
		"84 85 00 00 00 00 00":    "offset 1: tag 84: 85 is not the beginning of a length of at most 4 bytes",
		"84 FF":                   "offset 1: tag 84: FF is not the beginning of a length of at most 4 bytes",
		"84 82 01":                "offset 1: tag 84: the length is cut off",
		"84 84 FF FF FF FF 01":    "offset 1: tag 84: the length is 4294967295, more than the 1 that are left",
		"00":                      "offset 0: 00 is padding and no tag",
		"84 00 00":                "offset 2: 00 is padding and no tag",
		"5F":                      "offset 0: the tag is cut off",
		"84 00 5F 81":             "offset 2: the tag is cut off",
		"5F 81 81 81 01 00":       "offset 0: the tag has more than 4 bytes",
		"5F 80 01 00":             "offset 0: the tag begins with a superfluous byte",
		"6F 03 84 02 00":          "offset 3: tag 84: the length is 2, more than the 1 that are left", // beyond its parent
		"84 00 6F 04 A5 02 50 01": "offset 7: tag 50: the length is 1, more than the 0 that are left",
		"6F 81 03 84 01 00 84":    "offset 7: tag 84: the length is missing",
	} {
		objects, err := tlv.Decode(unhex(t, data))
		require.EqualError(t, err, "tlv: "+want, data)
		require.Nil(t, objects)
		var syntax *tlv.SyntaxError
		require.ErrorAs(t, err, &syntax)
	}
}

func TestPadding(t *testing.T) {
	want := []tlv.Object{tlv.New(0x84, []byte{1}), tlv.NewConstructed(0x6F, tlv.New(0x50, []byte{0, 0xFF}))}
	zeros := unhex(t, "00 00 84 01 01 00 6F 07 00 50 02 00 FF 00 00 00")
	got, err := tlv.Decode(zeros, tlv.SkipZeros())
	require.NoError(t, err)
	require.Equal(t, want, got)

	ones := unhex(t, "84 01 01 FF 6F 05 50 02 00 FF FF FF*100")
	got, err = tlv.Decode(ones, tlv.SkipFF())
	require.NoError(t, err)
	require.Equal(t, want, got)

	both := unhex(t, "FF 00 84 01 01 00 FF 6F 06 00 50 02 00 FF FF")
	got, err = tlv.Decode(both, tlv.SkipFF(), tlv.SkipZeros(), nil)
	require.NoError(t, err)
	require.Equal(t, want, got)

	_, err = tlv.Decode(zeros, tlv.SkipFF())
	require.EqualError(t, err, "tlv: offset 0: 00 is padding and no tag")
	_, err = tlv.Decode(zeros[3:5], tlv.SkipZeros())
	require.Error(t, err)
}

func TestDepth(t *testing.T) {
	nested := func(n int) []byte {
		o := tlv.New(0x50, nil)
		for range n - 1 {
			o = tlv.NewConstructed(0x6F, o)
		}
		b, err := tlv.Encode(o)
		require.NoError(t, err)
		return b
	}
	_, err := tlv.Decode(nested(tlv.DefaultMaxDepth))
	require.NoError(t, err)
	_, err = tlv.Decode(nested(tlv.DefaultMaxDepth+1), tlv.WithMaxDepth(0))
	require.EqualError(t, err, "tlv: offset 32: tag 50 lies within 16 others, which is the limit")
	_, err = tlv.Decode(nested(3), tlv.WithMaxDepth(3))
	require.NoError(t, err)
	_, err = tlv.Decode(nested(3), tlv.WithMaxDepth(2))
	require.Error(t, err)
	_, err = tlv.Decode(nested(3), tlv.WithMaxDepth(1), tlv.Flat())
	require.NoError(t, err)
}

// A card may put into a constructed object what is no BER-TLV.
func TestFlat(t *testing.T) {
	data := unhex(t, "6F 03 FF 00 01")
	_, err := tlv.Decode(data)
	require.Error(t, err)
	objects, err := tlv.Decode(data, tlv.Flat())
	require.NoError(t, err)
	require.Equal(t, []tlv.Object{tlv.New(0x6F, []byte{0xFF, 0, 1})}, objects)
	back, err := tlv.Encode(objects...)
	require.NoError(t, err)
	require.Equal(t, data, back)
}

func TestElements(t *testing.T) {
	data := unhex(t, "00 84 01 AA 6F 82 00 03 FF 00 01 50")
	var got []tlv.Element
	var failure error
	for e, err := range tlv.Elements(data, tlv.SkipZeros()) {
		if err != nil {
			failure = err
			continue
		}
		got = append(got, e)
	}
	require.Equal(t, []tlv.Element{
		{Tag: 0x84, Value: data[3:4], Raw: data[1:4], Offset: 1},
		{Tag: 0x6F, Value: data[8:11], Raw: data[4:11], Offset: 4},
	}, got)
	require.EqualError(t, failure, "tlv: offset 12: tag 50: the length is missing")
	for range tlv.Elements(data[1:]) {
		break
	}
}

func TestFind(t *testing.T) {
	objects, err := tlv.Decode(unhex(t, "A5 00 6F 03 50 01 01 6F 08 A5 06 50 01 02 50 01 03 84 00"))
	require.NoError(t, err)
	for want, path := range map[byte][]tlv.Tag{1: {0x6F, 0x50}, 2: {0x6F, 0xA5, 0x50}} {
		o, ok := tlv.Find(objects, path...)
		require.True(t, ok)
		require.Equal(t, []byte{want}, o.Value)
	}
	for _, path := range [][]tlv.Tag{nil, {0x50}, {0xA5, 0x50}, {0x84, 0x84}, {0x6F, 0x6F}} {
		_, ok := tlv.Find(objects, path...)
		require.False(t, ok, path)
	}
	o, ok := objects[2].Find(0xA5)
	require.True(t, ok)
	require.Len(t, o.Objects, 2)

	var values []byte
	for o := range tlv.All(objects, 0x6F, 0xA5, 0x50) {
		values = append(values, o.Value...)
	}
	require.Equal(t, []byte{2, 3}, values)
}

func TestEncode(t *testing.T) {
	inner := tlv.NewConstructed(0xA5, tlv.New(0x50, []byte("demo")))
	got, err := tlv.Append([]byte{1}, tlv.NewConstructed(0x6F, tlv.New(0x84, []byte{0xA0}), inner), tlv.New(0x7F4E, unhex(t, "84 00")))
	require.NoError(t, err)
	require.Equal(t, unhex(t, "01 6F 0B 84 01 A0 A5 06 50 04 64 65 6D 6F 7F 4E 02 84 00"), got)

	for want, o := range map[string]tlv.Object{
		"00 is no tag":          {},
		"in 6F: 8401 is no tag": tlv.NewConstructed(0x6F, tlv.New(0x8401, nil)),
		"tag 84 is primitive and cannot hold data objects": tlv.NewConstructed(0x84),
		"in 6F: in A5: tag 6F has both a value and data objects": tlv.NewConstructed(0x6F, tlv.NewConstructed(0xA5,
			tlv.Object{Tag: 0x6F, Value: []byte{}, Objects: []tlv.Object{}})),
	} {
		b, err := tlv.Append([]byte{7}, tlv.New(0x84, nil), o)
		require.EqualError(t, err, "tlv: "+want)
		require.Equal(t, []byte{7}, b)
		b, err = tlv.Encode(o)
		require.Error(t, err)
		require.Nil(t, b)
	}
}

// More than a length of four bytes can say, or an int of 32 bits, is refused and not written. The objects share the
// memory of their values, so that there is not really as much.
func TestEncodeTooLong(t *testing.T) {
	const size, head = 1 << 20, 1 + 4
	million := tlv.New(0x53, make([]byte, size))
	const fit = (1<<31 - 1) / (size + head) // so many fit, and no more
	many := make([]tlv.Object, fit+1)
	for i := range many {
		many[i] = million
	}
	const want = "with tag 53 the data objects have more than 2147483647 bytes"
	for prefix, objects := range map[string][]tlv.Object{
		"":        many,
		"in 6F: ": {tlv.NewConstructed(0x6F, many...)},
	} {
		b, err := tlv.Append([]byte{7}, objects...)
		require.EqualError(t, err, "tlv: "+prefix+want)
		require.Equal(t, []byte{7}, b)
	}
	// Tag and length count too, of an object that fills what there is but for a byte.
	inner := tlv.NewConstructed(0x6F, append(many[:fit:fit], tlv.New(0x53, make([]byte, 1<<31-1-fit*(size+head)-4-1)))...)
	_, err := tlv.Encode(inner)
	require.EqualError(t, err, "tlv: with tag 6F the data objects have more than 2147483647 bytes")
	_, err = tlv.Encode(inner, tlv.New(0x84, nil))
	require.EqualError(t, err, "tlv: with tag 6F the data objects have more than 2147483647 bytes")
}

// Whatever is read can be written, and what is written does not change any more.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "8400", "6F098402A000A503500141", "7F4E81045F2001AA", "FF8105038401000000", "84840000000101", "5F8001", "6F80", "6F036F016F",
	} {
		b, _ := hex.DecodeString(seed)
		f.Add(b, false, false, false)
		f.Add(b, true, true, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, zeros, ones, flat bool) {
		var opts []tlv.Option
		if zeros {
			opts = append(opts, tlv.SkipZeros())
		}
		if ones {
			opts = append(opts, tlv.SkipFF())
		}
		if flat {
			opts = append(opts, tlv.Flat())
		}
		objects, err := tlv.Decode(data, opts...)
		if err != nil {
			var syntax *tlv.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.LessOrEqual(t, syntax.Offset, len(data))
			require.GreaterOrEqual(t, syntax.Offset, 0)
			return
		}
		canonical, err := tlv.Encode(objects...)
		require.NoError(t, err)
		require.LessOrEqual(t, len(canonical), len(data))
		again, err := tlv.Decode(canonical, opts...)
		require.NoError(t, err)
		require.Equal(t, objects, again)
		twice, err := tlv.Encode(again...)
		require.NoError(t, err)
		require.Equal(t, canonical, twice)
	})
}
