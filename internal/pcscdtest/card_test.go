package pcscdtest

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// vpcd plays the reader's side of a card's connection.
type vpcd struct {
	t    *testing.T
	conn net.Conn
}

func newVPCD(t *testing.T, card Card) *vpcd {
	near, far := net.Pipe()
	l := newLink(far, card)
	t.Cleanup(func() { near.Close(); l.pull() })
	require.NoError(t, near.SetDeadline(time.Now().Add(10*time.Second)))
	return &vpcd{t, near}
}

func (v *vpcd) send(payload ...byte) {
	// In two parts, as vpcd does.
	_, err := v.conn.Write(binary.BigEndian.AppendUint16(nil, uint16(len(payload))))
	require.NoError(v.t, err)
	if len(payload) > 0 {
		_, err = v.conn.Write(payload)
		require.NoError(v.t, err)
	}
}

func (v *vpcd) ask(payload ...byte) []byte {
	v.send(payload...)
	var head [2]byte
	_, err := io.ReadFull(v.conn, head[:])
	require.NoError(v.t, err)
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err = io.ReadFull(v.conn, b)
	require.NoError(v.t, err)
	return b
}

func TestCardProtocol(t *testing.T) {
	card := NewEchoCard(nil)
	v := newVPCD(t, card)
	require.Equal(t, DefaultATR(), v.ask(vpcdGetATR))
	v.send(vpcdPowerOn)
	v.send(vpcdReset)
	v.send(vpcdPowerOff)
	v.send()  // no payload: no answer
	v.send(9) // unknown: no answer
	require.Equal(t, DefaultATR(), v.ask(vpcdGetATR))
	require.Equal(t, Counters{PowerOns: 1, Resets: 1, PowerOffs: 1}, card.Counters())
	require.Equal(t, []byte{0x90, 0x00}, v.ask(0x00, 0xA4, 0x04, 0x00, 0x01, 0xA0))
	require.Equal(t, 1, card.Counters().APDUs)
}

func TestFuncCard(t *testing.T) {
	for _, test := range []struct {
		name       string
		give, want []byte
	}{
		{"answer", []byte{1, 2, 0x90, 0}, []byte{1, 2, 0x90, 0}},
		{"one byte", []byte{1}, []byte{1}},
		{"largest", make([]byte, 65535), make([]byte, 65535)},
		{"empty", nil, []byte{0x6F, 0}},
		{"too long", make([]byte, 65536), []byte{0x6F, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			atr := MakeATR("func")
			var got []byte
			v := newVPCD(t, NewCard(atr, func(apdu []byte) []byte {
				got = append(got, apdu...)
				return test.give
			}))
			require.Equal(t, atr, v.ask(vpcdGetATR))
			require.Equal(t, test.want, v.ask(0, 1, 2, 3))
			require.Equal(t, []byte{0, 1, 2, 3}, got)
		})
	}
}

func TestEchoCard(t *testing.T) {
	sum := crc32.ChecksumIEEE([]byte("abc"))
	crc := append(binary.BigEndian.AppendUint32(nil, sum), 0x90, 0)
	ok := func(b ...byte) []byte { return append(b, 0x90, 0) }
	for _, test := range []struct {
		name string
		apdu []byte
		want []byte
	}{
		{"select", []byte{0, 0xA4, 4, 0, 2, 0xA0, 0}, ok()},
		{"select with Le", []byte{0, 0xA4, 4, 0, 2, 0xA0, 0, 0}, ok()},
		{"pattern of 3", []byte{0x80, 0x10, 0, 0, 3}, ok(0, 1, 2)},
		{"pattern of 256", []byte{0x80, 0x10, 0, 0, 0}, ok(Pattern(256)...)},
		{"pattern of 300", []byte{0x80, 0x10, 0, 0, 0, 0x01, 0x2C}, ok(Pattern(300)...)},
		{"pattern of 65533", []byte{0x80, 0x10, 0, 0, 0, 0xFF, 0xFD}, ok(Pattern(65533)...)},
		{"pattern of 65534", []byte{0x80, 0x10, 0, 0, 0, 0xFF, 0xFE}, []byte{0x67, 0}},
		{"pattern of 65536", []byte{0x80, 0x10, 0, 0, 0, 0, 0}, []byte{0x67, 0}},
		{"pattern without Le", []byte{0x80, 0x10, 0, 0}, []byte{0x67, 0}},
		{"checksum 3S", []byte{0x80, 0x20, 0, 0, 3, 'a', 'b', 'c'}, crc},
		{"checksum 4S", []byte{0x80, 0x20, 0, 0, 3, 'a', 'b', 'c', 4}, crc},
		{"checksum 3E", []byte{0x80, 0x20, 0, 0, 0, 0, 3, 'a', 'b', 'c'}, crc},
		{"checksum 4E", []byte{0x80, 0x20, 0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0}, crc},
		{"checksum of nothing", []byte{0x80, 0x20, 0, 0}, ok(0, 0, 0, 0)},
		{"data too short", []byte{0x80, 0x20, 0, 0, 3, 'a', 'b'}, []byte{0x67, 0}},
		{"data too long", []byte{0x80, 0x20, 0, 0, 1, 'a', 'b', 'c'}, []byte{0x67, 0}},
		{"3E of length 0", []byte{0x80, 0x20, 0, 0, 0, 0, 0, 'a'}, []byte{0x67, 0}},
		{"3E too short", []byte{0x80, 0x20, 0, 0, 0, 0}, []byte{0x67, 0}},
		{"count", []byte{0x80, 0x40, 0, 0}, ok(0, 0, 0, 1)},
		{"verified", []byte{0x80, 0x50, 0, 0, 1}, ok(0)},
		{"good PIN", append([]byte{0, 0x20, 0, 1, 6}, PIN...), ok()},
		{"bad PIN", []byte{0, 0x20, 0, 1, 1, '0'}, []byte{0x63, 0xC3}},
		{"unknown", []byte{0x80, 0x60, 0, 0}, []byte{0x6D, 0}},
		{"unknown P2", []byte{0x80, 0x10, 0, 1, 3}, []byte{0x6D, 0}},
		{"too short", []byte{0x80, 0x10, 0}, []byte{0x67, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, NewEchoCard(nil).Transmit(test.apdu))
		})
	}
}

func TestEchoCardVerified(t *testing.T) {
	for name, lose := range map[string]func(*EchoCard){
		"reset":     (*EchoCard).Reset,
		"power off": (*EchoCard).PowerOff,
		"power on":  (*EchoCard).PowerOn,
		"bad PIN":   func(c *EchoCard) { c.Transmit([]byte{0, 0x20, 0, 1, 1, '0'}) },
	} {
		t.Run(name, func(t *testing.T) {
			card := NewEchoCard(nil)
			card.Transmit(append([]byte{0, 0x20, 0, 1, 6}, PIN...))
			require.True(t, card.Verified())
			require.Equal(t, []byte{1, 0x90, 0}, card.Transmit([]byte{0x80, 0x50, 0, 0}))
			lose(card)
			require.False(t, card.Verified())
			require.Equal(t, []byte{0, 0x90, 0}, card.Transmit([]byte{0x80, 0x50, 0, 0}))
		})
	}
}

func TestEchoCardSleep(t *testing.T) {
	card := NewEchoCard(nil)
	start := time.Now()
	require.Equal(t, []byte{0x90, 0}, card.Transmit([]byte{0x80, 0x30, 0, 50}))
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)

	answer := make(chan []byte, 1)
	before := card.Counters().APDUs
	go func() { answer <- card.Transmit([]byte{0x80, 0x30, 0xFF, 0xFF}) }()
	require.Eventually(t, func() bool { return card.Counters().APDUs > before }, 10*time.Second, time.Millisecond)
	card.PowerOff()
	select {
	case got := <-answer:
		require.Equal(t, []byte{0x6F, 0}, got)
	case <-time.After(30 * time.Second): // it would sleep for twice as long
		t.Fatal("the command did not end with the power")
	}
}

func TestPattern(t *testing.T) {
	p := Pattern(MaxPattern)
	require.Len(t, p, MaxPattern)
	require.Equal(t, p[:1000], Pattern(1000))
	for _, period := range []int{1, 2, 255, 256, 512, 4096, 16384} {
		require.NotEqual(t, p[:256], p[period:period+256], "period %d", period)
	}
}

func TestMakeATR(t *testing.T) {
	for _, historical := range []string{"", "gopcsc", "123456789012345"} {
		atr := MakeATR(historical)
		require.Len(t, atr, 5+len(historical))
		var x byte
		for _, b := range atr[1:] {
			x ^= b
		}
		require.Zero(t, x, "TCK")
	}
	require.Panics(t, func() { MakeATR("1234567890123456") })
}

func FuzzEchoCard(f *testing.F) {
	f.Add([]byte{0x80, 0x20, 0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0})
	f.Add([]byte{0x80, 0x10, 0, 0, 0})
	f.Fuzz(func(t *testing.T, apdu []byte) {
		if len(apdu) > 1 && apdu[1] == 0x30 {
			return // it sleeps
		}
		answer := NewEchoCard(nil).Transmit(apdu)
		require.GreaterOrEqual(t, len(answer), 2)
		require.LessOrEqual(t, len(answer), 0xFFFF)
	})
}
