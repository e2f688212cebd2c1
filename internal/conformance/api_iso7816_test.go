package conformance

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

// Package iso7816 over cards in readers of the real service, reached through the backend that the build selects.

// An isoCard answers as a card does that takes no extended lengths and says no more than 100 bytes at a time:
//
//	CA hh ll     GET DATA: hhll bytes of pcscdtest.Pattern, announced by 61XX
//	B0 00 xx     READ BINARY: xx bytes of it, and 6CXX to every other Le
//	DB           PUT DATA, chained or not: the CRC-32 of all data, announced by 61XX
//	20, 22       VERIFY sets a flag that a reset clears; 22 returns it
//
// It notes what comes between the first and the last APDU of an exchange: of 22 with P1 = 1 only what comes after the
// second.
type isoCard struct {
	mu          sync.Mutex
	apdus       [][]byte
	open        byte   // instruction of the exchange under way; 0 if none is
	steps       int    // its APDUs so far
	data        []byte // of the chain
	rest        []byte // of the response
	interrupted int
	verified    bool

	between func() // called before the answer to every APDU after which an exchange is open; may be nil
}

const isoPiece = 100

func (c *isoCard) ATR() []byte { return pcscdtest.MakeATR("iso7816") }
func (c *isoCard) PowerOn()    { c.Reset() }
func (c *isoCard) PowerOff()   { c.Reset() }

func (c *isoCard) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open, c.data, c.rest, c.verified = 0, nil, nil, false
}

// take returns the APDUs that came, and forgets them.
func (c *isoCard) take() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	apdus := c.apdus
	c.apdus = nil
	return apdus
}

func (c *isoCard) Transmit(apdu []byte) []byte {
	c.mu.Lock()
	c.apdus = append(c.apdus, bytes.Clone(apdu))
	answer := c.answer(apdu)
	between := c.between
	if c.open == 0 {
		between = nil
	}
	c.mu.Unlock()
	if between != nil {
		between()
	}
	return answer
}

func (c *isoCard) answer(apdu []byte) []byte {
	cmd, err := iso7816.ParseCommand(apdu)
	if err != nil || cmd.Extended {
		return []byte{0x67, 0x00}
	}
	switch {
	case c.open == 0:
		c.steps = 1
	case cmd.INS == c.open || cmd.INS == iso7816.InsGetResponse:
		c.steps++
	case cmd.P1 == 0 || c.steps > 1:
		c.interrupted++
	}
	switch cmd.INS {
	case iso7816.InsGetResponse:
		if len(c.rest) == 0 {
			return []byte{0x69, 0x85}
		}
		n := min(len(c.rest), isoPiece)
		if cmd.Ne != n {
			return []byte{0x6C, byte(n)}
		}
		answer := bytes.Clone(c.rest[:n])
		c.rest = c.rest[n:]
		return c.more(answer)
	case iso7816.InsGetData:
		c.open, c.rest = cmd.INS, pcscdtest.Pattern(int(cmd.P1)<<8|int(cmd.P2))
		return c.more(nil)
	case iso7816.InsReadBinary:
		n := int(cmd.P2)
		if cmd.Ne != n {
			c.open = cmd.INS
			return []byte{0x6C, byte(n)}
		}
		c.open = 0
		return append(pcscdtest.Pattern(n), 0x90, 0x00)
	case 0xDB:
		if c.open != cmd.INS {
			c.data = nil
		}
		c.open = cmd.INS
		c.data = append(c.data, cmd.Data...)
		if cmd.CLA&0x10 != 0 {
			return []byte{0x90, 0x00}
		}
		c.rest = binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(c.data))
		return c.more(nil)
	case iso7816.InsVerify:
		c.verified = true
		return []byte{0x90, 0x00}
	case 0x22:
		flag := byte(0)
		if c.verified {
			flag = 1
		}
		return []byte{flag, 0x90, 0x00}
	}
	return []byte{0x6D, 0x00}
}

// more ends an answer with 61XX as long as there is more of the response.
func (c *isoCard) more(answer []byte) []byte {
	if len(c.rest) == 0 {
		c.open = 0
		return append(answer, 0x90, 0x00)
	}
	return append(answer, 0x61, byte(min(len(c.rest), isoPiece)))
}

// isoReader is the real service with an isoCard.
func isoReader(t *testing.T) (*isoCard, *pcscdtest.Service) {
	t.Helper()
	svc := pcscdtest.Start(t)
	card := &isoCard{}
	svc.Insert(0, card)
	return card, svc
}

// program is another program's connection to the reader: a Context of its own.
func program(t *testing.T, svc *pcscdtest.Service) *pcsc.Card {
	t.Helper()
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	card, err := c.Connect(t.Context(), svc.Readers()[0], pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	t.Cleanup(func() { _ = card.Disconnect(pcsc.LeaveCard) })
	return card
}

func headers(apdus [][]byte) [][]byte {
	var out [][]byte
	for _, a := range apdus {
		out = append(out, a[:min(5, len(a))])
	}
	return out
}

// Each thing that a transport does of itself, seen by the card: nothing more and nothing less arrives.
func TestISO7816Real(t *testing.T) {
	card, svc := isoReader(t)
	tr := iso7816.NewTransport(program(t, svc))
	for _, ctx := range []context.Context{context.Background(), t.Context()} { // can't end, can end
		card.take()
		get, err := iso7816.GetData(0x0104, 256)
		require.NoError(t, err)
		data, err := tr.Do(ctx, get) // 260 bytes
		require.NoError(t, err)
		require.Equal(t, pcscdtest.Pattern(260), data)
		require.Equal(t, [][]byte{
			{0, 0xCA, 1, 4, 0}, {0, 0xC0, 0, 0, 100}, {0, 0xC0, 0, 0, 100}, {0, 0xC0, 0, 0, 60},
		}, headers(card.take()))

		read, err := iso7816.ReadBinary(0x21, 256)
		require.NoError(t, err)
		data, err = tr.Do(ctx, read)
		require.NoError(t, err)
		require.Equal(t, pcscdtest.Pattern(0x21), data)
		require.Equal(t, [][]byte{{0, 0xB0, 0, 0x21, 0}, {0, 0xB0, 0, 0x21, 0x21}}, headers(card.take()))

		put := iso7816.Command{CLA: 0x01, INS: 0xDB, Data: pcscdtest.Pattern(600), Ne: 256} // channel 1
		data, err = tr.Do(ctx, put)
		require.NoError(t, err)
		require.Equal(t, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(put.Data)), data)
		require.Equal(t, [][]byte{
			{0x11, 0xDB, 0, 0, 255}, {0x11, 0xDB, 0, 0, 255}, {0x01, 0xDB, 0, 0, 90}, {0x01, 0xC0, 0, 0, 4},
		}, headers(card.take()))

		challenge, err := iso7816.GetChallenge(300)
		require.NoError(t, err)
		_, err = tr.Do(ctx, challenge)
		require.ErrorIs(t, err, iso7816.ErrWrongLength)
		require.Len(t, card.take(), 1)
		_, err = tr.Do(ctx, iso7816.Command{INS: 0x44})
		require.ErrorIs(t, err, iso7816.ErrInstructionNotSupported)
	}
}

// Other programs do all they can to get between the APDUs of one command, some in transactions of their own. pcsc-lite's
// library lets them try every 100 ms while there is a transaction; the card takes its time, so that they do try. They get
// their turn between commands.
//
// From a program without transactions pcscd can let an APDU through after the first one: it looks whether there is a
// transaction, then waits for the reader, and does not look again (1.9.9). That is how it is.
func TestISO7816NotInterruptedReal(t *testing.T) {
	card, svc := isoReader(t)
	card.mu.Lock()
	card.between = func() { time.Sleep(20 * time.Millisecond) }
	card.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var turns [4]atomic.Int64
	var stopped []<-chan error
	for i := range turns {
		other := program(t, svc)
		stopped = append(stopped, start(func() error {
			bg := context.Background()
			for ctx.Err() == nil {
				var err error
				if i%2 == 0 {
					err = other.Transact(bg, func(tx *pcsc.Transaction) error {
						return second(tx.Transmit(bg, []byte{0x00, 0x22, 0x00, 0x00}))
					})
				} else {
					_, err = other.Transmit(bg, []byte{0x00, 0x22, 0x01, 0x00})
				}
				if err != nil {
					return err
				}
				turns[i].Add(1)
			}
			return nil
		}))
	}
	tr := iso7816.NewTransport(program(t, svc))
	for n := range 6 {
		data, err := tr.Do(ctx, iso7816.Command{INS: iso7816.InsGetData, P2: 200, Ne: 256})
		require.NoError(t, err)
		require.Equal(t, pcscdtest.Pattern(200), data)
		data, err = tr.Do(ctx, iso7816.Command{INS: iso7816.InsReadBinary, P2: byte(n + 1), Ne: 256})
		require.NoError(t, err)
		require.Equal(t, pcscdtest.Pattern(n+1), data)
		put := iso7816.Command{INS: 0xDB, Data: pcscdtest.Pattern(1200 + n), Ne: 256}
		data, err = tr.Do(ctx, put)
		require.NoError(t, err)
		require.Equal(t, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(put.Data)), data)
		for i := range turns {
			before := turns[i].Load()
			require.Eventually(t, func() bool { return turns[i].Load() > before }, patience, time.Millisecond)
		}
	}
	cancel()
	for _, s := range stopped {
		require.NoError(t, await(t, s, "the other program"))
	}
	card.mu.Lock()
	defer card.mu.Unlock()
	require.Zero(t, card.interrupted)
}

// A reset by another program, between two commands: the next one is not sent, whatever the transport is over, and
// works after a reconnection.
func TestISO7816ResetReal(t *testing.T) {
	card, svc := isoReader(t)
	reset := func() {
		t.Helper()
		require.NoError(t, program(t, svc).Close()) // which resets the card
	}
	ctx := t.Context()
	long := iso7816.Command{INS: 0xDB, Data: pcscdtest.Pattern(600), Ne: 256}
	verify, err := iso7816.Verify(1, []byte("1234"))
	require.NoError(t, err)
	flag := iso7816.Command{INS: 0x22, Ne: 256}
	one := program(t, svc)
	reconnect := func() {
		t.Helper()
		require.NoError(t, one.Reconnect(ctx, pcsc.ShareShared, pcsc.ProtocolAny, pcsc.LeaveCard))
		card.take()
	}

	t.Run("BetweenCommands", func(t *testing.T) {
		tr := iso7816.NewTransport(one)
		require.NoError(t, second(tr.Do(ctx, verify)))
		reset()
		card.take()
		for range 2 { // until somebody reconnects
			_, err := tr.Do(ctx, long)
			require.ErrorIs(t, err, pcsc.ErrResetCard)
			var e *iso7816.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, byte(0xDB), e.Header[1])
		}
		require.Empty(t, card.take(), "APDUs after the reset")
		reconnect()
		got, err := tr.Do(ctx, flag)
		require.NoError(t, err)
		require.Equal(t, []byte{0}, got, "the PIN has to be verified again")
		require.NoError(t, second(tr.Do(ctx, long)))
	})
	t.Run("WithinACommand", func(t *testing.T) {
		// Nobody can reset the card in a transaction. So here there is none, and the reset comes after an APDU.
		for _, test := range []struct {
			cmd   iso7816.Command
			after int // APDUs
			link  int
		}{
			{long, 1, 2},
			{long, 3, 0}, // before GET RESPONSE
			{iso7816.Command{INS: iso7816.InsGetData, P2: 200, Ne: 256}, 1, 0},
			{iso7816.Command{INS: iso7816.InsReadBinary, P2: 20, Ne: 256}, 1, 0}, // before the corrected command
		} {
			reconnect()
			n := 0
			tr := iso7816.NewTransport(transmitter(func(ctx context.Context, apdu []byte) ([]byte, error) {
				if n++; n == test.after+1 {
					reset()
				}
				return one.Transmit(ctx, apdu)
			}))
			_, err := tr.Do(ctx, test.cmd)
			require.ErrorIs(t, err, pcsc.ErrResetCard)
			var e *iso7816.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, test.link, e.Link)
			require.Len(t, card.take(), test.after, "nothing is sent again")
			require.Equal(t, test.after+1, n)
		}
		reconnect()
	})
	t.Run("Retry", func(t *testing.T) {
		// A function that may run again, which a single command may not.
		reset()
		card.take()
		runs := 0
		err := one.Transact(ctx, func(tx *pcsc.Transaction) error {
			runs++
			tr := iso7816.NewTransport(tx)
			if _, err := tr.Do(ctx, verify); err != nil {
				return err
			}
			got, err := tr.Do(ctx, flag)
			if err == nil && !bytes.Equal(got, []byte{1}) {
				err = errors.New("not verified")
			}
			return err
		}, pcsc.RetryAfterReset(1))
		require.NoError(t, err)
		require.Equal(t, 1, runs)
		require.Len(t, card.take(), 2)
	})
}

// A card that is pulled out in the midst of an exchange.
func TestISO7816RemovalReal(t *testing.T) {
	_, svc := isoReader(t)
	one := program(t, svc)
	n := 0
	tr := iso7816.NewTransport(one, iso7816.WithTransaction(func(ctx context.Context, f func(iso7816.Transmitter) error) error {
		return one.Transact(ctx, func(tx *pcsc.Transaction) error {
			return f(transmitter(func(ctx context.Context, apdu []byte) ([]byte, error) {
				if n++; n == 2 {
					svc.Remove(0)
				}
				return tx.Transmit(ctx, apdu)
			}))
		})
	}))
	_, err := tr.Do(t.Context(), iso7816.Command{INS: 0xDB, Data: pcscdtest.Pattern(600)})
	require.ErrorIs(t, err, pcsc.ErrRemovedCard)
	require.NotErrorIs(t, err, pcsc.ErrResetCard)
	require.ErrorContains(t, err, "command 2 of 3 in the chain")
	require.Equal(t, 2, n)
	_, err = tr.Do(t.Context(), iso7816.Command{INS: 0x22, Ne: 1})
	require.ErrorIs(t, err, pcsc.ErrRemovedCard)
}

type transmitter func(context.Context, []byte) ([]byte, error)

func (f transmitter) Transmit(ctx context.Context, apdu []byte) ([]byte, error) {
	return f(ctx, slices.Clone(apdu))
}
