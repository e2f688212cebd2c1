package pcscdtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// A client speaks pcscd's socket protocol, as libpcsclite does.
type client struct{ conn net.Conn }

// Commands, with the structures below as their bodies.
const (
	cmdEstablishContext = 0x01
	cmdConnect          = 0x04
	cmdDisconnect       = 0x06
	cmdTransmit         = 0x09
	cmdVersion          = 0x11
	cmdGetReadersState  = 0x12
)

type versionMsg struct {
	Major, Minor int32
	RV           uint32
}

type readerState struct {
	Name         [128]byte
	EventCounter uint32
	State        uint32
	Sharing      int32
	ATR          [33]byte
	_            [3]byte
	ATRLength    uint32
	Protocol     uint32
}

// Bits of readerState.State.
const (
	stateAbsent  = 0x0002
	statePresent = 0x0004
)

func (s *readerState) name() string {
	name, _, _ := bytes.Cut(s.Name[:], []byte{0})
	return string(name)
}

func dial(socket string, deadline time.Time) (*client, error) {
	minor := int32(4)
	for {
		conn, err := net.DialTimeout("unix", socket, time.Until(deadline))
		if err != nil {
			return nil, err
		}
		c := &client{conn}
		if err := conn.SetDeadline(deadline); err != nil {
			conn.Close()
			return nil, err
		}
		v := versionMsg{Major: 4, Minor: minor}
		if err := c.call(cmdVersion, &v); err != nil {
			conn.Close()
			return nil, err
		}
		switch {
		case v.RV == 0:
			return c, nil
		case v.Major == 4 && v.Minor != minor && minor == 4:
			// A service that wants its own version says so.
			conn.Close()
			minor = v.Minor
		default:
			conn.Close()
			return nil, fmt.Errorf("pcscd wants protocol %d:%d (0x%08X)", v.Major, v.Minor, v.RV)
		}
	}
}

func (c *client) close() { c.conn.Close() }

// call sends msg as a command's body and reads the answer into it.
func (c *client) call(cmd uint32, msg any, extra ...byte) error {
	var b bytes.Buffer
	size := 0
	if msg != nil {
		size = binary.Size(msg)
	}
	binary.Write(&b, binary.NativeEndian, [2]uint32{uint32(size), cmd})
	if msg != nil {
		if err := binary.Write(&b, binary.NativeEndian, msg); err != nil {
			return err
		}
	}
	b.Write(extra)
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		return err
	}
	if msg == nil {
		return nil
	}
	return binary.Read(c.conn, binary.NativeEndian, msg)
}

// states returns the states of all readers, those that are not there included.
func (c *client) states() ([]readerState, error) {
	if err := c.call(cmdGetReadersState, nil); err != nil {
		return nil, err
	}
	buf := make([]byte, MaxReaders*binary.Size(readerState{}))
	if _, err := io.ReadFull(c.conn, buf); err != nil {
		return nil, err
	}
	states := make([]readerState, MaxReaders)
	_, err := binary.Decode(buf, binary.NativeEndian, states)
	return states, err
}
