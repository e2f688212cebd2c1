package virtual_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// slowCard answers once somebody lets it.
type slowCard struct {
	release chan struct{}
	inside  atomic.Int32
	overlap atomic.Bool
}

func newSlowCard() *slowCard { return &slowCard{release: make(chan struct{})} }

func (c *slowCard) Transmit([]byte) ([]byte, error) {
	if c.inside.Add(1) > 1 {
		c.overlap.Store(true)
	}
	defer c.inside.Add(-1)
	<-c.release
	return []byte{0x90, 0x00}, nil
}

func TestTransmitArguments(t *testing.T) {
	s, r := setup(t, echo(atrBoth))
	_, card := connect(t, s, r, shared)
	room := make([]byte, 70000)
	for name, test := range map[string]struct {
		card       winscard.Card
		pci        uint32
		send, recv []byte
		want       winscard.Code
		n          int
	}{
		"good":               {card, t1, apdu, room, winscard.Success, 6},
		"any size":           {card, t1, []byte{1}, room, winscard.Success, 3},
		"exact":              {card, t1, apdu, room[:6], winscard.Success, 6},
		"short":              {card, t1, apdu, room[:5], winscard.ErrInsufficientBuffer, 6},
		"very short":         {card, t1, apdu, room[:1], winscard.ErrInsufficientBuffer, 6},
		"no buffer":          {card, t1, apdu, nil, winscard.ErrInvalidParameter, 0},
		"no APDU":            {card, t1, nil, room, winscard.ErrInvalidParameter, 0},
		"raw":                {card, raw, apdu, room, winscard.Success, 6},
		"old mask":           {card, 0x1000, apdu, room, winscard.Success, 6},
		"T=0":                {card, t0, apdu, room, winscard.ErrProtoMismatch, 0},
		"both":               {card, anyT, apdu, room, winscard.ErrProtoMismatch, 0},
		"no protocol":        {card, 0, apdu, room, winscard.ErrProtoMismatch, 0},
		"handle":             {card + 1, t1, apdu, room, winscard.ErrInvalidHandle, 0},
		"longest":            {card, t1, make([]byte, 65546), room, winscard.Success, 65548},
		"response too long":  {card, t1, make([]byte, 65548), room, winscard.ErrNotTransacted, 0},
		"too long":           {card, t1, make([]byte, 65549), room, winscard.ErrInsufficientBuffer, len(room)},
		"too long elsewhere": {card + 1, t1, make([]byte, 65549), room, winscard.ErrInvalidHandle, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n, rc := s.Transmit(test.card, test.pci, test.send, test.recv)
			want(t, test.want, rc)
			require.Equal(t, test.n, n)
		})
	}
}

func TestTransmitErrors(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want winscard.Code
	}{
		"any":     {errors.New("no contact"), winscard.ErrNotTransacted},
		"code":    {winscard.ErrCommDataLost, winscard.ErrCommDataLost},
		"wrapped": {fmt.Errorf("reader: %w", winscard.ErrNoSmartcard), winscard.ErrNoSmartcard},
		"success": {winscard.Success, winscard.ErrNotTransacted},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := setup(t, virtual.CardFunc(func([]byte) ([]byte, error) { return []byte{0x90, 0x00}, test.err }))
			_, card := connect(t, s, r, shared)
			want(t, test.want, transmit(s, card))
		})
	}
	s, r := setup(t, virtual.NewCard(atrBoth, nil))
	_, card := connect(t, s, r, shared)
	want(t, winscard.ErrNotTransacted, transmit(s, card))
}

func TestSlowCardStopsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newSlowCard()
		s, r := setup(t, slow)
		fast := s.AddReader("Fast")
		fast.Insert(echo(atrBoth))
		_, a := connect(t, s, r, shared)
		_, b := connect(t, s, r, shared)
		first := async(func() winscard.Code { return transmit(s, a) })
		second := async(func() winscard.Code { return transmit(s, b) })
		synctest.Wait()

		_, other := connect(t, s, fast, shared)
		ok(t, transmit(s, other))
		ok(t, status(s, b))
		look(t, s, r)
		_, third := connect(t, s, r, shared)
		ok(t, s.Disconnect(third, leave))

		// One APDU at a time; a reset waits for its turn, too.
		closing := async(func() winscard.Code { return s.Disconnect(b, reset) })
		synctest.Wait()
		pending(t, closing)
		slow.release <- struct{}{}
		synctest.Wait()
		select {
		case slow.release <- struct{}{}:
		case <-closing: // came first and left nothing to transmit for
		}
		require.Contains(t, []winscard.Code{winscard.Success, winscard.ErrResetCard}, <-first)
		require.Contains(t, []winscard.Code{winscard.Success, winscard.ErrResetCard, winscard.ErrInvalidHandle}, <-second)
		synctest.Wait()
		require.False(t, slow.overlap.Load())
	})
}

func TestRemovalDuringTransmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := newSlowCard()
		s, r := setup(t, slow)
		_, card := connect(t, s, r, shared)
		done := async(func() winscard.Code { return transmit(s, card) })
		synctest.Wait()
		r.Remove()
		want(t, winscard.ErrRemovedCard, status(s, card))
		// The same card comes back, but is still busy with its past.
		inserted := async(func() winscard.Code { r.Insert(slow); return winscard.Success })
		synctest.Wait()
		pending(t, inserted)
		slow.release <- struct{}{}
		want(t, winscard.ErrNotTransacted, <-done)
		ok(t, <-inserted)
		require.Equal(t, uint32(3), look(t, s, r).EventState>>16)
	})
}

func TestCardMayPullItself(t *testing.T) {
	s, r := setup(t, nil)
	r.Insert(virtual.NewCard(atrBoth, func([]byte) []byte {
		r.Remove()
		return []byte{0x90, 0x00}
	}))
	_, card := connect(t, s, r, shared)
	want(t, winscard.ErrNotTransacted, transmit(s, card))
	want(t, winscard.ErrRemovedCard, status(s, card))
}

// A card that panics ends the test that it is part of, but must not leave others waiting.
func TestCardPanics(t *testing.T) {
	s, r := setup(t, virtual.NewCard(atrBoth, func(apdu []byte) []byte {
		if apdu[0] == 0xFF {
			panic("from the card")
		}
		return []byte{0x90, 0x00}
	}))
	_, card := connect(t, s, r, shared)
	require.PanicsWithValue(t, "from the card", func() { s.Transmit(card, t1, []byte{0xFF}, make([]byte, 2)) })
	ok(t, transmit(s, card))
}

func TestTransmitAllocatesNothing(t *testing.T) {
	answer := []byte{0x90, 0x00}
	s, r := setup(t, virtual.NewCard(atrBoth, func([]byte) []byte { return answer }))
	_, card := connect(t, s, r, shared)
	recv := make([]byte, 258)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, rc := s.Transmit(card, t1, apdu, recv); rc != winscard.Success {
			panic(rc)
		}
	}))
}

// contacts notes what is done to a card.
type contacts struct {
	mu  sync.Mutex
	log string
}

func (c *contacts) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log += s
}

func (c *contacts) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	log := c.log
	c.log = ""
	return log
}

func (c *contacts) Transmit([]byte) ([]byte, error) { c.note("T"); return []byte{0x90, 0x00}, nil }
func (c *contacts) Reset()                          { c.note("R") }

type powered struct{ contacts }

func (c *powered) PowerOn()  { c.note("+") }
func (c *powered) PowerOff() { c.note("-") }

// spoken notes the protocols that it is spoken to in.
type spoken struct{ contacts }

func (c *spoken) SetProtocol(p winscard.Protocol) { c.note(p.String() + " ") }

func TestProtocolIsTold(t *testing.T) {
	var file bytes.Buffer
	card := &spoken{}
	for _, inserted := range []virtual.Card{card, virtual.NewRecorder(&file).Card(card)} {
		s, r := setup(t, inserted)
		_, h := connect(t, s, r, shared)
		card.take()
		ok(t, transmit(s, h))
		_, rc := s.Reconnect(h, shared, t0, reset)
		ok(t, rc)
		ok(t, transmit(s, h))
		require.Equal(t, "T1 TRT0 T", card.take())
	}
}

func TestPower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := &powered{}
		s, r := setup(t, card)
		require.Equal(t, "+", card.take())
		_, h := connect(t, s, r, shared)
		require.Empty(t, card.take())
		_, rc := s.Reconnect(h, shared, anyT, reset)
		ok(t, rc)
		require.Equal(t, "R", card.take())
		_, rc = s.Reconnect(h, shared, anyT, unpower)
		ok(t, rc)
		require.Equal(t, "-+", card.take())
		ok(t, s.BeginTransaction(h))
		ok(t, s.EndTransaction(h, unpower))
		require.Equal(t, "-+", card.take())
		_, rc = s.Reconnect(h, shared, anyT, leave)
		ok(t, rc)

		// A card without power is powered up for the next connection, or the next APDU.
		_, other := connect(t, s, r, shared)
		ok(t, s.Disconnect(other, unpower))
		require.Equal(t, "-", card.take())
		_, other = connect(t, s, r, shared)
		require.Equal(t, "+", card.take())
		_, rc = s.Reconnect(h, shared, anyT, leave)
		ok(t, rc)

		// After a Reconnect that leaves the card as it is, it counts as in use, without power: no new connections.
		ok(t, s.Disconnect(other, unpower))
		require.Equal(t, "-", card.take())
		want(t, winscard.ErrResetCard, status(s, h))
		_, rc = s.Reconnect(h, shared, anyT, leave)
		ok(t, rc)
		_, state, protocol, _, rc := s.Status(h, nil, nil)
		ok(t, rc)
		require.Equal(t, uint32(winscard.CardPresent), state&0xFFFF)
		require.Equal(t, t1, protocol)
		ok(t, transmit(s, h))
		require.Equal(t, "+T", card.take())
		_, _, rc = s.Connect(establish(t, s), r.Name(), shared, anyT)
		want(t, winscard.ErrUnpoweredCard, rc)
		ok(t, transmit(s, h), "not disturbed")
		require.Equal(t, "T", card.take())
		ok(t, s.Disconnect(h, unpower))
		require.Equal(t, "-", card.take())
		_, h = connect(t, s, r, shared)
		require.Equal(t, "+", card.take())

		// Used or not, a card keeps its power for 5 s after the last connection.
		time.Sleep(time.Minute)
		ok(t, transmit(s, h))
		require.Equal(t, "T", card.take())
		ok(t, s.Disconnect(h, leave))
		time.Sleep(5*time.Second - 1)
		_, h = connect(t, s, r, shared)
		require.Empty(t, card.take())
		ok(t, s.Disconnect(h, leave))
		time.Sleep(5 * time.Second)
		require.Equal(t, atrLength, int(look(t, s, r).ATRLen), "nothing of it is to be seen")
		h, active, rc := s.Connect(establish(t, s), r.Name(), shared, t0)
		ok(t, rc, "and the protocol is free again")
		require.Equal(t, t0, active)
		require.Equal(t, "-+", card.take())

		r.Remove()
		require.Equal(t, "-", card.take())
		r.Insert(card)
		require.Equal(t, "+", card.take())
		want(t, winscard.ErrRemovedCard, status(s, h))
		s.Stop()
		require.Empty(t, card.take())
		s.Start()
		require.Equal(t, "-+", card.take())
		s.RemoveReader(r)
		require.Equal(t, "-", card.take())
	})
}

const atrLength = 5 // of a card that has none of its own

func TestResetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card := &contacts{}
		s, r := setup(t, card)
		require.Equal(t, "R", card.take())
		_, h := connect(t, s, r, shared)
		ok(t, s.Disconnect(h, reset))
		require.Equal(t, "R", card.take())
		time.Sleep(time.Hour)
		_, h = connect(t, s, r, shared)
		require.Equal(t, "R", card.take())
		ok(t, s.Disconnect(h, unpower))
		require.Empty(t, card.take())
		r.Remove()
		require.Empty(t, card.take())
	})
}

func TestWithPowerOff(t *testing.T) {
	for after, loses := range map[time.Duration]bool{0: false, -1: false, time.Second: true, 2 * time.Hour: false} {
		synctest.Test(t, func(t *testing.T) {
			card := &contacts{}
			s := virtual.New(virtual.WithPowerOff(after), nil)
			r := s.AddReader("R")
			r.Insert(card)
			card.take()
			time.Sleep(time.Hour)
			connect(t, s, r, shared)
			require.Equal(t, loses, card.take() != "", "%v", after)
		})
	}
}
