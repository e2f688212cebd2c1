//go:build unix

package virtual

import (
	"fmt"
	"io"
	"net"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/generated/winscard"
)

// do carries out a command and answers it. An error ends the connection.
func (p *peer) do(c protocol.Command, body []byte) error {
	switch c {
	case protocol.CmdVersion:
		return carryOut(p, body, p.version)
	case protocol.CmdEstablishContext:
		return carryOut(p, body, p.establish)
	case protocol.CmdReleaseContext:
		return carryOut(p, body, p.releaseContext)
	case protocol.CmdConnect:
		return carryOut(p, body, p.connect)
	case protocol.CmdReconnect:
		return carryOut(p, body, p.reconnect)
	case protocol.CmdDisconnect:
		return carryOut(p, body, p.disconnect)
	case protocol.CmdBeginTransaction:
		return carryOut(p, body, p.beginTransaction)
	case protocol.CmdEndTransaction:
		return carryOut(p, body, p.endTransaction)
	case protocol.CmdStatus:
		return carryOut(p, body, p.status)
	case protocol.CmdCancel:
		return carryOut(p, body, p.cancel)
	case protocol.CmdGetAttrib:
		return carryOut(p, body, p.getAttrib)
	case protocol.CmdSetAttrib:
		return carryOut(p, body, p.setAttrib)
	case protocol.CmdTransmit:
		return p.transmit(body)
	case protocol.CmdControl:
		return p.control(body)
	case protocol.CmdGetReadersState:
		return p.readersState()
	case protocol.CmdGetReadersStateSize:
		return p.readersStateSize()
	case protocol.CmdGetReadersStateArray:
		return p.readersStateArray()
	case protocol.CmdGetReaderEvents:
		return p.readerEvents()
	case protocol.CmdWaitReaderStateChange:
		return p.startWaiting()
	case protocol.CmdStopWaiting:
		return p.stopWaitingAndTell()
	}
	return errOrder // Command.Request knows no other
}

// carryOut decodes a request that is also its answer, carries it out and sends it back.
func carryOut[M any, P interface {
	*M
	protocol.Message
}](p *peer, body []byte, do func(P) error) error {
	m := P(new(M))
	if err := m.UnmarshalBinary(body); err != nil {
		return err
	}
	if err := do(m); err != nil {
		return err
	}
	return p.reply(nil, m)
}

// owns reports whether a handle is the client's. If it is not, pcscd cuts the client off, and so do we.
func (p *peer) owns(card int32) error {
	s := p.server.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.connections[winscard.Card(card)]; h == nil || h.client != p.client {
		return errForeign
	}
	return nil
}

// context checks that a context is the client's.
func (p *peer) context(id uint32) winscard.Code {
	s := p.server.service
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.client == nil:
		return winscard.ErrInvalidHandle
	case p.client.id != winscard.Context(id):
		return winscard.ErrInvalidValue
	}
	return winscard.Success
}

func (p *peer) version(m *protocol.Version) error {
	if p.client != nil {
		return errOrder
	}
	m.RV = winscard.ErrServiceStopped
	if m.Major == protocol.Major && m.Minor >= protocol.FirstMinor && m.Minor <= protocol.LastMinor {
		m.RV = winscard.Success
		p.minor = m.Minor
	}
	m.Major, m.Minor = protocol.Major, protocol.LastMinor
	return nil
}

func (p *peer) establish(m *protocol.Establish) error {
	if p.client != nil {
		return errOrder
	}
	s := p.server.service
	var ctx winscard.Context
	if ctx, m.RV = s.EstablishContext(m.Scope); m.RV != winscard.Success {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.client = s.clients[ctx]; p.client == nil || p.server.closed {
		return net.ErrClosed
	}
	p.client.polls = true
	m.Context = uint32(ctx)
	return nil
}

func (p *peer) releaseContext(m *protocol.Release) error {
	if m.RV = p.context(m.Context); m.RV != winscard.Success {
		return nil
	}
	s := p.server.service
	m.RV = s.ReleaseContext(winscard.Context(m.Context))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[winscard.Context(m.Context)] == nil {
		p.client = nil
	}
	return nil
}

func (p *peer) connect(m *protocol.Connect) error {
	m.Card = 0
	if m.RV = p.context(m.Context); m.RV != winscard.Success {
		return nil
	}
	if len(m.Reader) == maxReaderName {
		m.Reader = m.Reader[:maxReaderName-1]
	}
	var card winscard.Card
	p.whileThere(func() {
		card, m.ActiveProtocol, m.RV = p.server.service.Connect(winscard.Context(m.Context), m.Reader, m.ShareMode, m.PreferredProtocols)
	})
	m.Card = int32(card)
	return nil
}

func (p *peer) reconnect(m *protocol.Reconnect) (err error) {
	if err := p.owns(m.Card); err != nil {
		return err
	}
	m.ActiveProtocol, m.RV = p.server.service.Reconnect(winscard.Card(m.Card), m.ShareMode, m.PreferredProtocols, m.Initialization)
	return nil
}

func (p *peer) disconnect(m *protocol.Disconnect) error {
	if err := p.owns(m.Card); err != nil {
		return err
	}
	p.whileThere(func() { m.RV = p.server.service.Disconnect(winscard.Card(m.Card), m.Disposition) })
	return nil
}

func (p *peer) beginTransaction(m *protocol.BeginTransaction) error {
	if err := p.owns(m.Card); err != nil {
		return err
	}
	m.RV = p.server.service.BeginTransaction(winscard.Card(m.Card))
	return nil
}

func (p *peer) endTransaction(m *protocol.EndTransaction) error {
	if err := p.owns(m.Card); err != nil {
		return err
	}
	m.RV = p.server.service.EndTransaction(winscard.Card(m.Card), m.Disposition)
	return nil
}

func (p *peer) status(m *protocol.Status) error {
	if err := p.owns(m.Card); err != nil {
		return err
	}
	_, _, _, _, m.RV = p.server.service.Status(winscard.Card(m.Card), nil, nil)
	return nil
}

// cancel ends another client's wait, if it is still one. Contexts are hard to guess, and pcscd asks for no more.
func (p *peer) cancel(m *protocol.Cancel) error {
	m.RV = p.server.service.Cancel(winscard.Context(m.Context))
	return nil
}

func (p *peer) getAttrib(m *protocol.Attrib) error {
	if err := p.owns(m.Card); err != nil {
		return err
	}
	if m.Length > maxAttrib {
		return fmt.Errorf("an attribute of %d bytes, there is room for %d", m.Length, maxAttrib)
	}
	var n int
	if n, m.RV = p.server.service.GetAttrib(winscard.Card(m.Card), m.ID, m.Value[:]); m.RV == winscard.Success && n > int(m.Length) {
		m.RV = winscard.ErrInsufficientBuffer
	}
	m.Length = uint32(n)
	return nil
}

func (p *peer) setAttrib(m *protocol.Attrib) error {
	if err := p.owns(m.Card); err != nil {
		return err
	}
	if m.Length > maxAttrib {
		return fmt.Errorf("an attribute of %d bytes, there is room for %d", m.Length, maxAttrib)
	}
	m.RV = p.server.service.SetAttrib(winscard.Card(m.Card), m.ID, m.Value[:m.Length])
	return nil
}

func (p *peer) transmit(body []byte) error {
	var m protocol.Transmit
	if err := m.UnmarshalBinary(body); err != nil {
		return err
	}
	return p.exchange(m.Card, m.SendLength, m.RecvLength, func(send, recv []byte) (int, winscard.Code) {
		return p.server.service.Transmit(winscard.Card(m.Card), m.SendPCIProtocol, send, recv)
	}, func(n uint32, rc winscard.Code) protocol.Message {
		m.RecvLength, m.RV = n, rc
		m.RecvPCIProtocol = 0 // what a driver says: the number after T=
		if m.SendPCIProtocol == uint32(winscard.ProtocolT1) {
			m.RecvPCIProtocol = 1
		}
		return &m
	})
}

func (p *peer) control(body []byte) error {
	var m protocol.Control
	if err := m.UnmarshalBinary(body); err != nil {
		return err
	}
	return p.exchange(m.Card, m.SendLength, m.RecvLength, func(send, recv []byte) (int, winscard.Code) {
		return p.server.service.Control(winscard.Card(m.Card), m.ControlCode, send, recv)
	}, func(n uint32, rc winscard.Code) protocol.Message {
		m.BytesReturned, m.RV = n, rc
		return &m
	})
}

// exchange reads the data after a request, carries it out and answers with what comes back, if that is as much as the
// client has room for.
func (p *peer) exchange(card int32, length, room uint32, do func(send, recv []byte) (int, winscard.Code), result func(n uint32, rc winscard.Code) protocol.Message) error {
	if err := p.owns(card); err != nil {
		return err
	}
	if length > protocol.MaxData {
		return errTooLong
	}
	in := getBuffer()
	defer putBuffer(in, int(length))
	send := in[:length]
	if _, err := io.ReadFull(p.conn, send); err != nil {
		return fmt.Errorf("the data: %w", err)
	}
	out := getBuffer()
	n, rc := do(send, out[:])
	defer putBuffer(out, n)
	if rc == winscard.Success && uint32(n) > room {
		rc = winscard.ErrInsufficientBuffer
	}
	if rc != winscard.Success {
		return p.reply(nil, result(uint32(n), rc))
	}
	return p.reply(out[:n], result(uint32(n), rc))
}
