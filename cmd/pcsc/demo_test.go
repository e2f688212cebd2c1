package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

const tourEnd = "That was all."

// requireVirtual checks that the tour took place on the virtual card, all of it.
func requireVirtual(t *testing.T, r result, why string) {
	t.Helper()
	require.Equal(t, exitOK, r.exit)
	require.Empty(t, r.stderr)
	for _, want := range []string{why, "This tour uses a virtual reader and card", "0: gopcsc Demo Reader 00 00",
		"(Ada Lovelace)", "(12 St James's Square, London)", "< 69 82", "card removed (event 2)", "card inserted (event 3)", tourEnd} {
		require.Contains(t, r.stdout, want)
	}
}

func TestDemoVirtual(t *testing.T) {
	stopped := virtual.New()
	stopped.Stop()
	empty := virtual.New()
	noCard := virtual.New()
	noCard.AddReader("R")
	mute := virtual.New()
	mute.AddReader("R").Insert(virtual.NewCard([]byte{}, nil))
	broken := virtual.New()
	broken.AddReader("R").Insert(virtual.NewCard([]byte{0x3B, 0x80, 0x01}, nil))
	for why, service := range map[string]*virtual.Service{
		"the smart card service is not running": stopped,
		"has no reader":                         empty,
		"no reader of the PC/SC service has a card that can be used\n   insert one": noCard,
		"no reader of the PC/SC service has a card":                                 mute,
		"the real card could not be used to the end: sending":                       broken,
	} {
		synctest.Test(t, func(t *testing.T) {
			// The services were made outside and have nothing that waits.
			began := time.Now()
			requireVirtual(t, start(t.Context(), on(service), "", "demo"), why)
			require.Less(t, time.Since(began), 3*time.Second)
		})
	}
}

// recorder is a card that notes what it is sent.
type recorder struct {
	mu     sync.Mutex
	apdus  [][]byte
	resets int
}

func (c *recorder) Transmit(apdu []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apdus = append(c.apdus, append([]byte(nil), apdu...))
	return []byte{0x6A, 0x82}, nil
}

func (c *recorder) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets++
}

// requireHarmless checks that the card was sent nothing but SELECT, and was reset by nothing but its insertion.
func (c *recorder) requireHarmless(t *testing.T, resets, apdus int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Len(t, c.apdus, apdus)
	for _, apdu := range c.apdus {
		require.Equal(t, []byte{0x00, 0xA4}, apdu[:2])
	}
	require.Equal(t, resets, c.resets)
}

func TestDemoReal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := virtual.New()
		service.AddReader("Empty")
		card := &recorder{}
		reader := service.AddReader("Real")
		reader.Insert(card)
		r := start(t.Context(), on(service), "", "demo")
		require.Equal(t, exitOK, r.exit, r.stderr)
		for _, want := range []string{"the system's PC/SC service and the card in Real 01 00", "< 6A 82", "Nobody is here",
			"card present (event 1)", "nothing happened in 300ms", "left as it is", tourEnd} {
			require.Contains(t, r.stdout, want)
		}
		require.NotContains(t, r.stdout, "virtual reader")
		card.requireHarmless(t, 1, 3)

		// Another program is connected: what it has selected stays.
		ctx, rc := service.EstablishContext(0)
		require.Equal(t, winscard.Success, rc)
		_, _, rc = service.Connect(ctx, reader.Name(), uint32(winscard.ShareShared), uint32(winscard.ProtocolAny))
		require.Equal(t, winscard.Success, rc)
		card.apdus = nil
		r = start(t.Context(), on(service), "", "demo")
		require.Equal(t, exitOK, r.exit, r.stderr)
		card.requireHarmless(t, 1, 2)
		require.Equal(t, card.apdus[0], card.apdus[1])
	})
}

func TestDemoPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := virtual.New()
		reader := service.AddReader("Real")
		env := on(service)
		env.interactive = true
		card := &recorder{}
		done := make(chan result)
		go func() { done <- start(t.Context(), env, "", "demo") }()
		time.Sleep(15 * time.Second)
		reader.Insert(card)
		time.Sleep(15 * time.Second)
		reader.Remove()
		time.Sleep(15 * time.Second)
		reader.Insert(card)
		r := <-done
		require.Equal(t, exitOK, r.exit, r.stderr)
		for _, want := range []string{"Insert one into Real 00 00, within 20s", "Take the card out", "card removed (event 2)", "card inserted (event 3)", tourEnd} {
			require.Contains(t, r.stdout, want)
		}

		// The person has gone.
		r = start(t.Context(), env, "", "demo")
		require.Equal(t, exitOK, r.exit)
		require.Contains(t, r.stdout, "nothing happened in 20s")
		reader.Remove()
		began := time.Now()
		r = start(t.Context(), env, "", "demo")
		requireVirtual(t, r, "no reader of the PC/SC service has a card that can be used")
		require.Greater(t, time.Since(began), 20*time.Second)

		// Ctrl-C.
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r = start(ctx, env, "", "demo")
		require.Equal(t, exitTimeout, r.exit)
		require.Equal(t, "pcsc: interrupted\n", r.stderr)
		require.NotContains(t, r.stdout, "virtual reader")
		r = start(t.Context(), env, "", "demo", "--timeout", "5s")
		require.Equal(t, exitTimeout, r.exit)
		require.Equal(t, "pcsc: out of time\n", r.stderr)
		reader.Insert(card)
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r = start(ctx, env, "", "demo")
		require.Equal(t, exitTimeout, r.exit)
		require.True(t, strings.HasSuffix(r.stdout, "card present (event 5)\n"), r.stdout)
	})
}
