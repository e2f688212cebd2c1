// Package pcscclient is a client of pcscd's socket protocol for tests. It speaks any version of it, and says what
// libpcsclite would never say.
package pcscclient

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

// A Client is one connection. It is for one goroutine at a time.
type Client struct {
	net.Conn
	Minor int32 // the version agreed on
}

// Dial connects, without a word yet. Everything on the connection has to be done by the deadline.
func Dial(socket string, deadline time.Time) (*Client, error) {
	conn, err := net.DialTimeout("unix", socket, time.Until(deadline))
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, err
	}
	return &Client{Conn: conn}, nil
}

// Open connects and agrees on a minor version.
func Open(socket string, minor int32, deadline time.Time) (*Client, error) {
	c, err := Dial(socket, deadline)
	if err != nil {
		return nil, err
	}
	if err := c.Agree(minor); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Agree agrees on a minor version, or on the server's if that wants its own.
func (c *Client) Agree(minor int32) error {
	v := protocol.Version{Major: protocol.Major, Minor: minor}
	if err := c.Call(protocol.CmdVersion, &v); err != nil {
		return err
	}
	if v.RV == winscard.ErrServiceStopped && v.Major == protocol.Major && v.Minor >= protocol.FirstMinor && v.Minor <= protocol.LastMinor {
		// The version is in v already.
		minor = v.Minor
		if err := c.Call(protocol.CmdVersion, &v); err != nil {
			return err
		}
	}
	if v.RV != winscard.Success {
		return fmt.Errorf("the server wants protocol %d:%d (%w)", v.Major, v.Minor, v.RV)
	}
	c.Minor = minor
	return nil
}

// Send sends a request: a header, the body unless it is nil, and data.
func (c *Client) Send(cmd protocol.Command, body encoding.BinaryAppender, data ...byte) error {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = body.AppendBinary(nil); err != nil {
			return err
		}
	}
	b, err := (&protocol.Header{BodySize: uint32(len(payload)), Command: cmd}).AppendBinary(nil)
	if err != nil {
		return err
	}
	_, err = c.Write(append(append(b, payload...), data...))
	return err
}

// Receive reads a message.
func (c *Client) Receive(m protocol.Message) error {
	b := make([]byte, m.Size())
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	return m.UnmarshalBinary(b)
}

// Call sends a request and reads the answer into its body.
func (c *Client) Call(cmd protocol.Command, m protocol.Message, data ...byte) error {
	if err := c.Send(cmd, m, data...); err != nil {
		return err
	}
	return c.Receive(m)
}

// Establish opens the context.
func (c *Client) Establish() (uint32, error) {
	m := protocol.Establish{Scope: uint32(winscard.ScopeSystem)}
	if err := c.Call(protocol.CmdEstablishContext, &m); err != nil {
		return 0, err
	}
	return m.Context, errorOf(m.RV)
}

// Connect connects to a card, shared and with any protocol.
func (c *Client) Connect(context uint32, reader string) (card int32, active uint32, err error) {
	m := protocol.Connect{Context: context, Reader: reader, ShareMode: uint32(winscard.ShareShared), PreferredProtocols: uint32(winscard.ProtocolAny)}
	if err := c.Call(protocol.CmdConnect, &m); err != nil {
		return 0, 0, err
	}
	return m.Card, m.ActiveProtocol, errorOf(m.RV)
}

// Transmit sends an APDU. If the error is a code, it is the server's.
func (c *Client) Transmit(card int32, pci uint32, apdu ...byte) ([]byte, error) {
	m := protocol.Transmit{
		Card: card, SendPCIProtocol: pci, SendPCILength: 16, SendLength: uint32(len(apdu)),
		RecvPCIProtocol: uint32(winscard.ProtocolAny), RecvPCILength: 16, RecvLength: protocol.MaxData,
	}
	if err := c.Call(protocol.CmdTransmit, &m, apdu...); err != nil {
		return nil, err
	}
	if m.ReplyData() > protocol.MaxData {
		return nil, fmt.Errorf("a response of %d bytes", m.ReplyData())
	}
	response := make([]byte, m.ReplyData())
	if _, err := io.ReadFull(c, response); err != nil {
		return nil, err
	}
	return response, errorOf(m.RV)
}

// States returns the states of all readers, in the way of the version that was agreed on.
func (c *Client) States() ([]protocol.ReaderState, error) {
	cmd := protocol.CmdGetReadersState
	n := winscard.MaxReaders
	if c.Minor >= 6 {
		var count protocol.ReaderCount
		if err := c.Send(protocol.CmdGetReadersStateSize, nil); err != nil {
			return nil, err
		}
		if err := c.Receive(&count); err != nil {
			return nil, err
		}
		cmd, n = protocol.CmdGetReadersStateArray, int(count.Count)
	}
	if err := c.Send(cmd, nil); err != nil {
		return nil, err
	}
	return c.ReceiveStates(n)
}

// ReceiveStates reads the states of n readers.
func (c *Client) ReceiveStates(n int) ([]protocol.ReaderState, error) {
	if n < 0 || n > 1<<10 {
		return nil, fmt.Errorf("the server has %d readers' states", n)
	}
	states := make([]protocol.ReaderState, n)
	for i := range states {
		if err := c.Receive(&states[i]); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// errorOf is nil for Success.
func errorOf(rc winscard.Code) error {
	if rc == winscard.Success {
		return nil
	}
	return rc
}

// Words encodes numbers as the host has them in memory, for what is no message.
func Words(words ...uint32) []byte {
	var b []byte
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}
