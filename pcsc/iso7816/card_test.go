package iso7816_test

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// client connects a program of its own to the reader.
func client(t *testing.T, service *virtual.Service, reader *virtual.Reader) *pcsc.Card {
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pc.Close()) })
	card, err := pc.Connect(bg, reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	require.NoError(t, err)
	t.Cleanup(func() { _ = card.Disconnect(pcsc.LeaveCard) })
	return card
}

// Over a card, the APDUs of one command are in one transaction: neither another program nor another goroutine gets
// between them.
func TestCardIsNotInterrupted(t *testing.T) {
	var interrupted atomic.Int32
	var open []byte // P1 and P2 of the command that is not complete yet
	service := virtual.New()
	reader := service.AddReader("Reader")
	reader.Insert(virtual.NewCard([]byte{0x3B, 0x80, 0x01, 0x81}, func(apdu []byte) []byte {
		if open != nil && !bytes.Equal(open, apdu[2:4]) && apdu[1] != iso7816.InsGetResponse {
			interrupted.Add(1)
		}
		switch {
		case apdu[0]&0x10 != 0:
			open = slices.Clone(apdu[2:4])
			return []byte{0x90, 0x00}
		case apdu[1] == 0xDB:
			open = slices.Clone(apdu[2:4])
			return []byte{0x61, 0x02}
		case apdu[1] == iso7816.InsGetResponse:
			answer := append(slices.Clone(open), 0x90, 0x00)
			open = nil
			return answer
		}
		open = nil
		return []byte{0x90, 0x00}
	}))
	one, other := client(t, service, reader), client(t, service, reader)

	var wg sync.WaitGroup
	for i, tr := range []*iso7816.Transport{
		iso7816.NewTransport(one), iso7816.NewTransport(one), // two goroutines of one program
		iso7816.NewTransport(other),
	} {
		wg.Go(func() {
			for n := range 50 {
				p := []byte{byte(i), byte(n)}
				got, err := tr.Do(bg, iso7816.Command{INS: 0xDB, P1: p[0], P2: p[1], Data: make([]byte, 600), Ne: 256})
				if err != nil || !bytes.Equal(p, got) {
					t.Errorf("% X: % X, %v", p, got, err)
				}
				_, err = tr.Do(bg, iso7816.Command{INS: 0x44, P1: p[0], P2: p[1]})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, interrupted.Load())
}

// Over a transaction no further one is begun, which would wait for the first one for ever.
func TestTransactionIsUsed(t *testing.T) {
	service := virtual.New()
	reader := service.AddReader("Reader")
	reader.Insert(virtual.NewDemoCard())
	card := client(t, service, reader)
	sel, err := iso7816.SelectAID(virtual.DemoAID())
	require.NoError(t, err)
	require.NoError(t, card.Transact(bg, func(tx *pcsc.Transaction) error {
		_, err := iso7816.NewTransport(tx).Do(bg, sel)
		return err
	}))
}

// What happens to the connection is seen through the error.
func TestCardErrors(t *testing.T) {
	service := virtual.New()
	reader := service.AddReader("Reader")
	reader.Insert(virtual.NewDemoCard())
	card := client(t, service, reader)
	tr := iso7816.NewTransport(card)
	reader.Remove()
	_, err := tr.Do(bg, iso7816.VerifyStatus(1))
	require.ErrorIs(t, err, pcsc.ErrRemovedCard)
	require.ErrorContains(t, err, "iso7816: 00200001 VERIFY: pcsc: SCardBeginTransaction")
}
