//go:build unix

package virtual

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gopcsc/gopcsc/generated/protocol"
)

// A peer is a client behind a connection: one context of libpcsclite, or one call of its SCardCancel.
type peer struct {
	server *server
	conn   net.Conn
	minor  int32 // the version of the protocol, 0 before it was agreed on
	places int   // the number of readers' states that the client expects, from 4:6 on

	client *client // its context, nil if there is none; Service.mu guards it

	// write guards what is sent, so that messages stay whole and in order.
	write    sync.Mutex
	wait     *wait     // for the one event that the client waits for
	answered time.Time // when it was sent something
	out      []byte    // what is sent, for the next time
}

// firstMessageTime is how long a client may take for its first message. libpcsclite sends it at once.
const firstMessageTime = 10 * time.Second

// Why a client is cut off, besides what the connection's errors are.
var (
	errOrder   = errors.New("the command does not fit here")
	errForeign = errors.New("the handle is not the client's")
	errTooLong = fmt.Errorf("more than %d bytes", protocol.MaxData)
)

// run serves the client until it is gone.
func (p *peer) run() {
	defer p.end()
	// Why it fails does not matter: the connection is then closed, and reading fails.
	_ = p.conn.SetReadDeadline(time.Now().Add(firstMessageTime))
	buf := make([]byte, protocol.MaxRequestSize)
	for {
		var h protocol.Header
		if err := p.receive(buf[:h.Size()], &h); err != nil {
			p.say(err)
			return
		}
		if err := p.request(&h, buf); err != nil {
			p.say(fmt.Errorf("%v: %w", h.Command, err))
			return
		}
		_ = p.conn.SetReadDeadline(time.Time{})
	}
}

// say logs why a client is cut off, unless it has gone by itself or with the service.
func (p *peer) say(err error) {
	var lost *net.OpError
	if err == io.EOF || errors.As(err, &lost) && !lost.Timeout() || errors.Is(err, net.ErrClosed) {
		return
	}
	p.server.log.Warn("client cut off", "reason", err)
}

// request reads the rest of a request and answers it.
func (p *peer) request(h *protocol.Header, buf []byte) error {
	minor := p.minor
	if minor == 0 {
		if h.Command != protocol.CmdVersion && h.Command != protocol.CmdCancel {
			return errOrder
		}
		minor = protocol.FirstMinor
	}
	size, ok := h.Command.Request(minor)
	switch {
	case !ok:
		return fmt.Errorf("no such command in protocol %d:%d", protocol.Major, minor)
	case h.BodySize != uint32(size):
		return fmt.Errorf("a body of %d bytes, it has %d", h.BodySize, size)
	}
	body := buf[:size]
	if _, err := io.ReadFull(p.conn, body); err != nil {
		return fmt.Errorf("the body: %w", err)
	}
	return p.do(h.Command, body)
}

// receive reads a message by way of a buffer of its size.
func (p *peer) receive(buf []byte, m protocol.Message) error {
	if _, err := io.ReadFull(p.conn, buf); err != nil {
		return err
	}
	return m.UnmarshalBinary(buf)
}

// reply sends messages, and data after the last.
func (p *peer) reply(data []byte, messages ...protocol.Message) error {
	p.write.Lock()
	defer p.write.Unlock()
	return p.send(data, messages...)
}

// send is reply for a caller that holds write.
func (p *peer) send(data []byte, messages ...protocol.Message) error {
	b := p.out[:0]
	for _, m := range messages {
		var err error
		if b, err = m.AppendBinary(b); err != nil {
			return err
		}
	}
	p.out = append(b, data...)
	_, err := p.conn.Write(p.out)
	clear(p.out) // it may be anything that a card has answered
	p.answered = time.Now()
	return err
}

// end closes the connection and does what ReleaseContext does.
func (p *peer) end() {
	p.conn.Close()
	p.stopWaiting()
	s := p.server.service
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(p.server.peers, p)
	p.release()
}

// release closes the context, if there is one. The caller holds s.mu, which is released meanwhile.
func (p *peer) release() {
	c, s := p.client, p.server.service
	if c == nil {
		return
	}
	p.client = nil
	s.retire(c)
	if !c.dead {
		s.disconnectAll(c)
	}
}

// buffers are for APDUs and what drivers are told. They have the most that there can be, so nothing depends on a length
// that a client tells.
var buffers = sync.Pool{New: func() any { return new([protocol.MaxData]byte) }}

func getBuffer() *[protocol.MaxData]byte { return buffers.Get().(*[protocol.MaxData]byte) }

// putBuffer gives a buffer back, of which n bytes were used. They may be a PIN.
func putBuffer(b *[protocol.MaxData]byte, n int) {
	clear(b[:min(n, len(b))])
	buffers.Put(b)
}
