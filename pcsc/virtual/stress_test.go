package virtual_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// Everybody does anything with arguments good and bad, while cards, readers and the service come and go. Nothing may
// crash, race or hang, and afterwards the service has forgotten all of it.
func TestStress(t *testing.T) {
	const workers = 12
	var (
		s       = virtual.New(virtual.WithPowerOff(time.Millisecond))
		readers [3]*virtual.Reader
		done    atomic.Bool
		mu      sync.Mutex
		ctxs    = []winscard.Context{0, 1}
		cards   = []winscard.Card{0, 1}
	)
	for i := range readers {
		readers[i] = s.AddReader("Stress")
	}
	// Not those after which readers or the service are gone for the rest of the test.
	faults := []virtual.Fault{
		{}, virtual.PullCard(), virtual.PullCard().When(virtual.Before()), virtual.RestartService(0), virtual.ResetCard(),
		virtual.RestartService(0).When(virtual.Before()), virtual.MuteCard(), virtual.Delay(time.Microsecond),
		virtual.Fail(winscard.ErrTimeout), virtual.CommError(), virtual.Answer(0x90), virtual.Oversize(300),
	}
	ops := []virtual.Op{
		virtual.OpGetStatusChange, virtual.OpConnect, virtual.OpReconnect, virtual.OpDisconnect, virtual.OpStatus,
		virtual.OpBeginTransaction, virtual.OpEndTransaction, virtual.OpTransmit, virtual.OpControl, virtual.OpPowerUp,
	}
	pad := &virtual.PINPad{Timeout: time.Millisecond, User: func(virtual.PINPrompt) string { return "1234\r" }}
	readers[2].SetPINPad(pad)
	var injections []*virtual.Injection
	names := []string{readers[0].Name(), readers[1].Name(), readers[2].Name(), "", "nope", "a\x00", virtualPnP}
	deck := []virtual.Card{
		virtual.NewDemoCard(), &powered{}, &contacts{}, echo(nil), echo(atrT0),
		virtual.CardFunc(func([]byte) ([]byte, error) {
			time.Sleep(time.Microsecond)
			return []byte{0x90, 0x00}, nil
		}),
	}

	padInput, err := asciiVerify().AppendBinary(nil)
	require.NoError(t, err)
	padInput[0] = 0

	work := func(seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		ctx := func() winscard.Context {
			mu.Lock()
			defer mu.Unlock()
			return ctxs[r.IntN(len(ctxs))]
		}
		card := func() winscard.Card {
			mu.Lock()
			defer mu.Unlock()
			return cards[r.IntN(len(cards))]
		}
		number := func() uint32 { return r.Uint32N(6) }
		protocols := func() uint32 { return []uint32{0, t0, t1, anyT, anyT, anyT, raw, 8, 0x1000}[r.IntN(9)] }
		buffer := func() []byte { return make([]byte, []int{0, 1, 10, 258, 70000}[r.IntN(5)]) }
		reader := func() *virtual.Reader { return readers[r.IntN(len(readers))] }
		for !done.Load() {
			switch r.IntN(24) {
			case 0:
				if c, rc := s.EstablishContext(number()); rc == winscard.Success {
					mu.Lock()
					ctxs = append(ctxs, c)
					mu.Unlock()
				}
			case 1:
				c := ctx()
				if r.IntN(4) == 0 {
					s.ReleaseContext(c)
				}
				s.IsValidContext(c)
			case 2, 3, 4, 5:
				if c, _, rc := s.Connect(ctx(), names[r.IntN(len(names))], number(), protocols()); rc == winscard.Success {
					mu.Lock()
					cards = append(cards, c)
					mu.Unlock()
				}
			case 6:
				s.Reconnect(card(), number(), protocols(), number())
			case 7, 8:
				s.Disconnect(card(), number())
			case 9:
				c := card()
				if s.BeginTransaction(c) == winscard.Success {
					s.Transmit(c, protocols(), apdu, buffer())
					s.EndTransaction(c, number())
				}
			case 10:
				s.EndTransaction(card(), number())
			case 11, 12, 13:
				s.Transmit(card(), protocols(), buffer(), buffer())
			case 14:
				s.Status(card(), buffer(), buffer())
			case 15, 16:
				states := make([]winscard.ReaderState, r.IntN(4))
				for i := range states {
					states[i] = winscard.ReaderState{Reader: names[r.IntN(len(names))], CurrentState: r.Uint32() & 0x300FF}
				}
				s.GetStatusChange(ctx(), r.Uint32N(3), states)
			case 17:
				s.Cancel(ctx())
			case 18:
				s.Control(card(), number(), buffer(), buffer())
				s.Control(card(), winscard.CtlCode(0x806), padInput, buffer())
			case 19:
				s.GetAttrib(card(), uint32(winscard.AttrATRString), buffer())
				s.SetAttrib(card(), number(), buffer())
			case 20:
				s.ListReaders(ctx(), nil, buffer())
				s.ListReaderGroups(ctx(), buffer())
			case 21:
				reader().Insert(deck[r.IntN(len(deck))])
			case 22:
				reader().Remove()
				reader().SetEject(r.IntN(2) == 0)
			case 23:
				switch r.IntN(24) {
				case 2, 3, 4, 5, 6, 7, 8, 9:
					fault := faults[r.IntN(len(faults))].When(virtual.On(ops[r.IntN(len(ops))]))
					inject := s.Inject
					if r.IntN(2) == 0 {
						inject = reader().Inject
					}
					injection := inject(fault)
					mu.Lock()
					injections = append(injections, injection)
					mu.Unlock()
				case 0:
					s.Stop()
					s.Start()
				case 1:
					s.RemoveReader(s.AddReader("Passing"))
				}
			}
		}
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { work(uint64(i)) })
	}
	time.Sleep(500 * time.Millisecond)
	done.Store(true)
	s.Stop() // ends the calls that wait for each other
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(30 * time.Second):
		panic("a call hangs") // with all stacks
	}

	for _, injection := range injections {
		injection.Remove()
	}
	s.Stop()
	s.Start()
	for _, r := range readers {
		r.SetEject(false)
		r.Insert(echo(atrBoth))
		_, card := connect(t, s, r, exclusive)
		ok(t, transmit(s, card))
		require.Equal(t, sChanged|sPresent|sExclusive, look(t, s, r).EventState&0xFFFF)
	}
}
