package gen_test

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

// bodies make the structures of a command's request, which is nil if it has none, and of its reply.
var bodies = map[protocol.Command]func() (request, reply protocol.Message){
	protocol.CmdEstablishContext:      both[protocol.Establish],
	protocol.CmdReleaseContext:        both[protocol.Release],
	protocol.CmdConnect:               both[protocol.Connect],
	protocol.CmdReconnect:             both[protocol.Reconnect],
	protocol.CmdDisconnect:            both[protocol.Disconnect],
	protocol.CmdBeginTransaction:      both[protocol.BeginTransaction],
	protocol.CmdEndTransaction:        both[protocol.EndTransaction],
	protocol.CmdTransmit:              both[protocol.Transmit],
	protocol.CmdControl:               both[protocol.Control],
	protocol.CmdStatus:                both[protocol.Status],
	protocol.CmdCancel:                both[protocol.Cancel],
	protocol.CmdGetAttrib:             both[protocol.Attrib],
	protocol.CmdSetAttrib:             both[protocol.Attrib],
	protocol.CmdVersion:               both[protocol.Version],
	protocol.CmdGetReadersState:       reply[protocol.ReaderState],
	protocol.CmdWaitReaderStateChange: reply[protocol.ReaderState],
	protocol.CmdStopWaiting:           reply[protocol.Event],
	protocol.CmdGetReaderEvents:       reply[protocol.ReaderEvents],
	protocol.CmdGetReadersStateSize:   reply[protocol.ReaderCount],
	protocol.CmdGetReadersStateArray:  reply[protocol.ReaderState],
}

type message[T any] interface {
	*T
	protocol.Message
}

func both[T any, P message[T]]() (request, reply protocol.Message) { return P(new(T)), P(new(T)) }
func reply[T any, P message[T]]() (request, reply protocol.Message) {
	return nil, P(new(T))
}

func messages() map[string]protocol.Message {
	all := map[string]protocol.Message{"Header": new(protocol.Header)}
	for _, make := range bodies {
		_, m := make()
		all[reflect.TypeOf(m).Elem().Name()] = m
	}
	return all
}

// decode reads a message and requires that it is encoded as it was.
func decode(t require.TestingT, m protocol.Message, p []byte) {
	require.NoError(t, m.UnmarshalBinary(p))
	again, err := m.AppendBinary([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(p), hex.EncodeToString(again[1:]))
}

// wire is a recorded connection that is read to its end.
type wire struct {
	t       *testing.T
	minor   int32
	waiting bool
	states  int // the number that CmdGetReadersStateSize told
	open    []protocol.Command
	seen    map[protocol.Command]bool
}

func (w *wire) request(b []byte) protocol.Message {
	var h protocol.Header
	decode(w.t, &h, b[:8])
	size, ok := h.Command.Request(w.minor)
	require.True(w.t, ok, "%v", h.Command)
	require.Equal(w.t, int(h.BodySize), size, "%v", h.Command)
	w.seen[h.Command] = true
	if _, count := h.Command.Reply(w.minor); count != 0 {
		w.open = append(w.open, h.Command)
	}
	w.waiting = w.waiting || h.Command == protocol.CmdWaitReaderStateChange
	m, _ := bodies[h.Command]()
	rest := b[8:]
	if m == nil {
		require.Empty(w.t, rest, "%v", h.Command)
		return nil
	}
	require.GreaterOrEqual(w.t, len(rest), size)
	decode(w.t, m, rest[:size])
	data := 0
	if d, ok := m.(interface{ RequestData() uint32 }); ok {
		data = int(d.RequestData())
	}
	require.Len(w.t, rest[size:], data, "%v", h.Command)
	return m
}

func (w *wire) reply(b []byte) protocol.Message {
	if len(w.open) == 0 {
		require.True(w.t, w.waiting, "an answer to nothing")
		w.waiting = false
		var e protocol.Event
		decode(w.t, &e, b)
		return &e
	}
	c := w.open[0]
	w.open = w.open[1:]
	size, count := c.Reply(w.minor)
	if count < 0 {
		count = w.states
	}
	require.GreaterOrEqual(w.t, len(b), size*count, "%v", c)
	var m protocol.Message // the first of them
	for range count {
		_, next := bodies[c]()
		decode(w.t, next, b[:size])
		b = b[size:]
		if m == nil {
			m = next
		}
	}
	data := 0
	switch m := m.(type) {
	case interface{ ReplyData() uint32 }:
		data = int(m.ReplyData())
	case *protocol.ReaderCount:
		w.states = int(m.Count)
	case *protocol.Event:
		w.waiting = false
	}
	require.Len(w.t, b, data, "%v", c)
	return m
}

var zeros = regexp.MustCompile(` ?00\*(\d+) ?`)

// The bytes that libpcsclite and pcscd send are what the codec reads and writes.
func TestProtocolWire(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		pcscdtest.Skip(t, "the recordings are of a little-endian machine")
	}
	seen := map[protocol.Command]bool{}
	for minor := int32(protocol.FirstMinor); minor <= protocol.LastMinor; minor++ {
		data, err := os.ReadFile(fmt.Sprintf("testdata/wire/%d.%d.txt", protocol.Major, minor))
		require.NoError(t, err)
		main, second := &wire{t: t, minor: minor, seen: seen}, &wire{t: t, minor: minor, seen: seen}
		var got []protocol.Message
		for line := range strings.Lines(string(data)) {
			who, text, _ := strings.Cut(strings.TrimSpace(line), " ")
			if who == "#" {
				continue
			}
			text = zeros.ReplaceAllStringFunc(text, func(s string) string {
				n, err := strconv.Atoi(zeros.FindStringSubmatch(s)[1])
				require.NoError(t, err)
				return strings.Repeat("00", n)
			})
			b, err := hex.DecodeString(text)
			require.NoError(t, err)
			w := main
			if len(who) == 2 {
				w = second
			}
			if who[0] == '>' {
				got = append(got, w.request(b))
			} else {
				got = append(got, w.reply(b))
			}
		}
		require.Empty(t, main.open)
		require.False(t, main.waiting)

		// What the client was known to say, and the server to answer.
		version := &protocol.Version{Major: 4, Minor: minor}
		require.Equal(t, version, got[0])
		require.Equal(t, version, got[1])
		require.Equal(t, &protocol.Establish{Scope: 2}, got[2])
		connect := find[protocol.Connect](got)
		require.Equal(t, &protocol.Connect{Context: got[3].(*protocol.Establish).Context, Reader: "Virtual Reader A 00 00", ShareMode: 2, PreferredProtocols: 3}, connect[0])
		require.Equal(t, uint32(2), connect[1].ActiveProtocol)
		transmit := find[protocol.Transmit](got)
		require.Equal(t, &protocol.Transmit{Card: connect[1].Card, SendPCIProtocol: 2, SendPCILength: 16, SendLength: 5, RecvPCIProtocol: 3, RecvPCILength: 16, RecvLength: 300}, transmit[0])
		require.Equal(t, uint32(7), transmit[1].RecvLength)
		require.Equal(t, winscard.ErrCancelled, find[protocol.Event](got)[1].RV)
		state := find[protocol.ReaderState](got)[0]
		require.Equal(t, uint32(1), state.EventCounter)
		require.Equal(t, uint32(winscard.CardPresent|winscard.CardPowered|winscard.CardNegotiable), state.State)
		require.Equal(t, []byte{0x3B, 0x80, 0x80, 0x01, 0x01}, state.ATR[:state.ATRLength])
		attrib := find[protocol.Attrib](got)
		require.Equal(t, "xyz", string(attrib[4].Value[:attrib[4].Length]))
		require.Equal(t, winscard.ErrNotTransacted, attrib[5].RV)
	}
	for c := range bodies {
		require.True(t, seen[c], "no recording has %v", c)
	}
}

func find[T any, P message[T]](all []protocol.Message) (found []P) {
	for _, m := range all {
		if x, ok := m.(P); ok {
			found = append(found, x)
		}
	}
	return found
}

// Each command has its sizes in the versions that have it.
func TestProtocolCommands(t *testing.T) {
	require.Equal(t, "SCARD_TRANSMIT", protocol.CmdTransmit.String())
	require.Equal(t, "0x00000003", protocol.Command(3).String())
	for c := range protocol.Command(0x20) {
		make, known := bodies[c]
		for minor := int32(protocol.FirstMinor - 1); minor <= protocol.LastMinor+1; minor++ {
			size, ok := c.Request(minor)
			replySize, count := c.Reply(minor)
			since := int32(protocol.FirstMinor)
			if c >= protocol.CmdGetReaderEvents {
				since = 5
			}
			if c >= protocol.CmdGetReadersStateSize {
				since = 6
			}
			require.Equal(t, known && minor >= since, ok, "%v in 4:%d", c, minor)
			if !ok {
				require.Zero(t, size)
				require.Zero(t, count)
				continue
			}
			request, reply := make()
			if request == nil {
				require.Zero(t, size)
			} else {
				require.Equal(t, request.Size(), size)
				require.LessOrEqual(t, size, protocol.MaxRequestSize)
			}
			switch {
			case minor > protocol.LastMinor, c == protocol.CmdWaitReaderStateChange && minor > 5:
				require.Zero(t, count)
			default:
				require.Equal(t, reply.Size(), replySize)
				require.NotZero(t, count)
			}
		}
	}
}

// Whatever a message holds survives, as long as its texts fit.
func TestProtocolRoundTrip(t *testing.T) {
	for name, m := range messages() {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			v := reflect.New(reflect.TypeOf(m).Elem())
			for i := range v.Elem().NumField() {
				draw(t, v.Elem().Type().Field(i).Name, v.Elem().Field(i))
			}
			b, err := v.Interface().(encoding.BinaryAppender).AppendBinary(nil)
			require.NoError(t, err)
			require.Len(t, b, m.Size())
			again := reflect.New(v.Type().Elem())
			require.NoError(t, again.Interface().(protocol.Message).UnmarshalBinary(b))
			require.Equal(t, v.Interface(), again.Interface())
		}))
	}
}

// textSize is the size of all arrays of char.
const textSize = 128

func draw(t *rapid.T, name string, field reflect.Value) {
	switch field.Kind() {
	case reflect.Int32:
		field.SetInt(int64(rapid.Int32().Draw(t, name)))
	case reflect.Uint32:
		field.SetUint(uint64(rapid.Uint32().Draw(t, name)))
	case reflect.String:
		field.SetString(string(rapid.SliceOfN(rapid.ByteRange(1, 255), 0, textSize).Draw(t, name)))
	case reflect.Array:
		reflect.Copy(field, reflect.ValueOf(rapid.SliceOfN(rapid.Byte(), field.Len(), field.Len()).Draw(t, name)))
	default:
		t.Fatalf("a field of kind %v", field.Kind())
	}
}

// A message of another size is refused, and its structure is left as it was.
func TestProtocolSizes(t *testing.T) {
	for name, m := range messages() {
		for n := range m.Size() + 20 {
			if n == m.Size() {
				continue
			}
			v := reflect.New(reflect.TypeOf(m).Elem()).Interface().(protocol.Message)
			err := v.UnmarshalBinary(bytes.Repeat([]byte{0xFF}, n))
			require.ErrorContains(t, err, fmt.Sprintf("of %d bytes, it has %d", n, m.Size()), name)
			require.Zero(t, reflect.ValueOf(v).Elem().Interface())
		}
	}
}

// A text that does not fit is an error, and not another reader's name.
func TestProtocolTexts(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("x", textSize+1): "connect_struct.szReader of 129 bytes, there is room for 128",
		"Reader\x00 A":                  "connect_struct.szReader has a NUL in it",
	} {
		b, err := (&protocol.Connect{Reader: text}).AppendBinary([]byte("before"))
		require.ErrorContains(t, err, want)
		require.Equal(t, "before", string(b))
	}
}

// FuzzProtocol decodes any bytes: what was decoded is encoded to something that decodes to the same.
func FuzzProtocol(f *testing.F) {
	f.Add([]byte(strings.Repeat("\xFF\x00", 200)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, m := range messages() {
			p := make([]byte, m.Size())
			copy(p, b)
			require.NoError(t, m.UnmarshalBinary(p))
			again, err := m.AppendBinary(nil)
			require.NoError(t, err, name)
			second := reflect.New(reflect.TypeOf(m).Elem()).Interface().(protocol.Message)
			require.NoError(t, second.UnmarshalBinary(again))
			require.Equal(t, m, second)
		}
	})
}
