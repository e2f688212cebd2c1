package pcsc

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
)

// database is a fake with what Windows has beside. Every function notes what it was given.
type database struct {
	*fake
	mu   sync.Mutex
	got  []any
	fill func(buf []byte) (int, winscard.Code)
	gate *gate // passed before IntroduceCardType and GetTransmitCount look at anything
}

func newDatabase(t testing.TB) *database { return &database{fake: newFake(t)} }

func (d *database) open() *Context {
	d.t.Helper()
	c, err := EstablishContext(ScopeSystem, WithBackend(d))
	require.NoError(d.t, err)
	d.t.Cleanup(func() {
		_ = c.Close()
		d.requireNothingOpen()
	})
	return c
}

func (d *database) pass() {
	if d.gate != nil {
		d.gate.pass()
	}
}

func (d *database) note(args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = args
}

// last is what the last call was given.
func (d *database) last() []any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.got
}

func (d *database) IntroduceCardType(_ winscard.Context, cardType string, primary *winscard.GUID, interfaces []winscard.GUID, atr, mask []byte) winscard.Code {
	d.pass()
	if primary != nil {
		p := *primary
		primary = &p
	}
	d.note(cardType, primary, append([]winscard.GUID(nil), interfaces...), string(atr), string(mask))
	return winscard.Success
}

func (d *database) AddReaderToGroup(_ winscard.Context, reader, group string) winscard.Code {
	d.note(reader, group)
	return winscard.ErrUnknownReader
}

func (d *database) GetProviderID(_ winscard.Context, cardType string) (winscard.GUID, winscard.Code) {
	d.note(cardType)
	return someGUID, winscard.Success
}

func (d *database) ListInterfaces(_ winscard.Context, cardType string, interfaces []winscard.GUID) (int, winscard.Code) {
	const all = 300
	d.note(cardType, len(interfaces))
	if len(interfaces) < all {
		return all, winscard.ErrInsufficientBuffer
	}
	for i := range all {
		interfaces[i] = winscard.GUID{Data1: uint32(i)}
	}
	return all, winscard.Success
}

func (d *database) ListCards(_ winscard.Context, atr []byte, interfaces []winscard.GUID, cardTypes []byte) (int, winscard.Code) {
	d.note(string(atr), interfaces, len(cardTypes))
	return d.fill(cardTypes)
}

func (d *database) GetCardTypeProviderName(_ winscard.Context, cardType string, provider uint32, name []byte) (int, winscard.Code) {
	d.note(cardType, provider, len(name))
	return d.fill(name)
}

func (d *database) ReadCache(_ winscard.Context, cardID winscard.GUID, freshness uint32, name string, data []byte) (int, winscard.Code) {
	d.note(cardID, freshness, name, len(data))
	return d.fill(data)
}

func (d *database) WriteCache(_ winscard.Context, cardID winscard.GUID, freshness uint32, name string, data []byte) winscard.Code {
	d.note(cardID, freshness, name, string(data))
	return winscard.Success
}

func (d *database) GetReaderIcon(_ winscard.Context, reader string, icon []byte) (int, winscard.Code) {
	d.note(reader, len(icon))
	return d.fill(icon)
}

func (d *database) GetDeviceTypeID(_ winscard.Context, reader string) (uint32, winscard.Code) {
	d.note(reader)
	return uint32(winscard.ReaderTypeUSB), winscard.Success
}

func (d *database) GetTransmitCount(card winscard.Card) (uint32, winscard.Code) {
	d.onCard("GetTransmitCount", card)
	d.pass()
	d.note()
	return 7, winscard.Success
}

func (d *database) LocateCards(_ winscard.Context, cardTypes []string, states []winscard.ReaderState) winscard.Code {
	for i := range states {
		states[i].EventState = uint32(winscard.StatePresent | winscard.StateATRMatch)
		states[i].ATRLen = uint32(copy(states[i].ATR[:], fakeATR))
	}
	d.note(append([]string(nil), cardTypes...), len(states), states[0].Reader)
	return winscard.Success
}

func (d *database) LocateCardsByATR(_ winscard.Context, masks []winscard.ATRMask, states []winscard.ReaderState) winscard.Code {
	d.note(masks, len(states))
	return winscard.ErrUnknownReader
}

// What Windows alone has is an error elsewhere, of the function, with the reader that it is about.
func TestWindowsFunctionsElsewhere(t *testing.T) {
	f := newFake(t)
	c, card := f.card()
	tx, err := card.BeginTransaction(bg)
	require.NoError(t, err)
	states := []ReaderState{NewReaderState("Reader 0")}
	for op, call := range map[string]func() error{
		"SCardIntroduceReaderGroup":  func() error { return c.IntroduceReaderGroup(bg, "group") },
		"SCardForgetReaderGroup":     func() error { return c.ForgetReaderGroup(bg, "group") },
		"SCardIntroduceReader":       func() error { return c.IntroduceReader(bg, "Reader 0", "device") },
		"SCardForgetReader":          func() error { return c.ForgetReader(bg, "Reader 0") },
		"SCardAddReaderToGroup":      func() error { return c.AddReaderToGroup(bg, "Reader 0", "group") },
		"SCardRemoveReaderFromGroup": func() error { return c.RemoveReaderFromGroup(bg, "Reader 0", "group") },
		"SCardIntroduceCardType": func() error {
			return c.IntroduceCardType(bg, "card", &someGUID, []GUID{someGUID}, fakeATR, nil)
		},
		"SCardForgetCardType": func() error { return c.ForgetCardType(bg, "card") },
		"SCardSetCardTypeProviderName": func() error {
			return c.SetCardTypeProviderName(bg, "card", ProviderCSP, "name")
		},
		"SCardGetCardTypeProviderName": func() error {
			_, err := c.GetCardTypeProviderName(bg, "card", ProviderCSP)
			return err
		},
		"SCardGetProviderId":  func() error { _, err := c.GetProviderID(bg, "card"); return err },
		"SCardListCards":      func() error { _, err := c.ListCards(bg, nil, nil); return err },
		"SCardListInterfaces": func() error { _, err := c.ListInterfaces(bg, "card"); return err },
		"SCardLocateCards":    func() error { return c.LocateCards(bg, []string{"card"}, states) },
		"SCardLocateCardsByATR": func() error {
			return c.LocateCardsByATR(bg, []ATRMask{{ATR: fakeATR}}, states)
		},
		"SCardReadCache":       func() error { _, err := c.ReadCache(bg, someGUID, 1, "item"); return err },
		"SCardWriteCache":      func() error { return c.WriteCache(bg, someGUID, 1, "item", []byte("data")) },
		"SCardGetReaderIcon":   func() error { _, err := c.GetReaderIcon(bg, "Reader 0"); return err },
		"SCardGetDeviceTypeId": func() error { _, err := c.GetDeviceTypeID(bg, "Reader 0"); return err },
		"SCardGetReaderDeviceInstanceId": func() error {
			_, err := c.GetReaderDeviceInstanceID(bg, "Reader 0")
			return err
		},
		"SCardListReadersWithDeviceInstanceId": func() error {
			_, err := c.ListReadersWithDeviceInstanceID(bg, `USB\VID_1234`)
			return err
		},
		"SCardAudit":              func() error { return c.Audit(bg, AuditCHVSuccess) },
		"SCardAccessStartedEvent": func() error { return WaitStarted(bg, WithBackend(f)) },
		"SCardGetTransmitCount":   func() error { _, err := tx.GetTransmitCount(bg); return err },
	} {
		e := requireCode(t, call(), op, ErrUnsupportedFunction)
		require.ErrorIs(t, e, errors.ErrUnsupported, op)
		if reader := strings.Contains(op, "Reader") && !strings.Contains(op, "ReaderGroup") && !strings.Contains(op, "List") ||
			op == "SCardGetDeviceTypeId" || op == "SCardGetTransmitCount"; reader {
			require.Equal(t, "Reader 0", e.Reader, op)
		} else {
			require.Empty(t, e.Reader, op)
		}
	}
	require.Equal(t, NewReaderState("Reader 0"), states[0], "an error leaves states as they were")
	require.NoError(t, tx.Close())
}

func TestIntroduceCardType(t *testing.T) {
	d := newDatabase(t)
	c := d.open()
	require.NoError(t, c.IntroduceCardType(bg, "Kärtchen 𝄞", &someGUID, []GUID{{Data1: 1}, {Data1: 2}}, fakeATR, []byte{0xFF, 0, 0xFF, 0xFF}))
	require.Equal(t, []any{"Kärtchen 𝄞", &someGUID, []winscard.GUID{{Data1: 1}, {Data1: 2}}, string(fakeATR), "\xFF\x00\xFF\xFF"}, d.last())
	require.NoError(t, c.IntroduceCardType(bg, "card", nil, nil, fakeATR, nil))
	require.Equal(t, []any{"card", (*winscard.GUID)(nil), []winscard.GUID(nil), string(fakeATR), ""}, d.last())

	require.NoError(t, c.IntroduceCardType(bg, "card", nil, nil, make([]byte, 33), []byte{}), "the longest ATR, and all of its bits")
	require.Equal(t, []any{"card", (*winscard.GUID)(nil), []winscard.GUID(nil), string(make([]byte, 33)), ""}, d.last())
}

// badATRs are what is refused, and what the error says.
var badATRs = map[string]ATRMask{
	"an empty ATR is that of no card: give":                                    {Mask: []byte{}},
	"the ATR has 34 bytes, the most is 33: give":                               {ATR: make([]byte, 34)},
	"the ATR has 36 bytes, the most is 33: give":                               {ATR: make([]byte, 36), Mask: make([]byte, 36)},
	"the mask has 1 bytes and the ATR has 2: make them equally long, or leave": {ATR: []byte{1, 2}, Mask: []byte{1}},
}

// The methods that take an answer to reset refuse the same, and do not reach the library then.
func TestBadATRs(t *testing.T) {
	d := newDatabase(t)
	c := d.open()
	states := []ReaderState{NewReaderState("Reader 0")}
	for detail, mask := range badATRs {
		e := requireCode(t, c.IntroduceCardType(bg, "card", nil, nil, mask.ATR, mask.Mask), opIntroduceCardType, ErrInvalidParameter)
		require.Contains(t, e.Detail, detail)
		e = requireCode(t, c.LocateCardsByATR(bg, []ATRMask{{ATR: fakeATR}, mask}, states), opLocateCardsByATR, ErrInvalidParameter)
		require.Contains(t, e.Detail, "masks[1]: "+detail)
		if len(mask.ATR) > 33 {
			_, err := c.ListCards(bg, mask.ATR, nil)
			e = requireCode(t, err, opListCards, ErrInvalidParameter)
			require.Contains(t, e.Detail, "the most is 33")
		}
	}
	require.Nil(t, d.last())
}

// What the caller changes after a call was given up does not reach the call.
func TestDatabaseCallOwnsItsArguments(t *testing.T) {
	d := newDatabase(t)
	d.gate = newGate()
	c := d.open()
	ctx, cancel := context.WithCancel(bg)
	go func() {
		<-d.gate.reached
		cancel()
	}()
	primary, interfaces, atr, mask := someGUID, []GUID{{Data1: 1}}, []byte{0x3B, 0x01}, []byte{1, 2}
	err := c.IntroduceCardType(ctx, "card", &primary, interfaces, atr, mask)
	e := requireCode(t, err, opIntroduceCardType, ErrCancelled)
	require.ErrorIs(t, e, context.Canceled)
	primary, interfaces[0], atr[0], mask[0] = GUID{}, GUID{}, 0, 0
	close(d.gate.open)
	require.Eventually(t, func() bool { return d.last() != nil }, patience, time.Millisecond)
	require.Equal(t, []any{"card", &someGUID, []winscard.GUID{{Data1: 1}}, "\x3B\x01", "\x01\x02"}, d.last())
}

func TestDatabaseLists(t *testing.T) {
	d := newDatabase(t)
	c := d.open()
	long := strings.Repeat("x", 5000)
	d.fill = func(buf []byte) (int, winscard.Code) { return fillMulti(buf, []string{"Kärtchen 𝄞", long}) }
	cards, err := c.ListCards(bg, fakeATR, []GUID{someGUID})
	require.NoError(t, err)
	require.Equal(t, []string{"Kärtchen 𝄞", long}, cards)
	require.Equal(t, []any{string(fakeATR), []winscard.GUID{someGUID}, 2 * listSize}, d.last(), "the buffer has grown")

	interfaces, err := c.ListInterfaces(bg, "card")
	require.NoError(t, err)
	require.Len(t, interfaces, 300)
	require.Equal(t, GUID{Data1: 299}, interfaces[299])
	require.Equal(t, []any{"card", 512}, d.last(), "the buffer has grown")

	d.fill = func(buf []byte) (int, winscard.Code) {
		b, _ := cstring.Append(nil, "Provider Ж𝄞")
		return copy(buf, b), winscard.Success
	}
	name, err := c.GetCardTypeProviderName(bg, "card", ProviderCardModule)
	require.NoError(t, err)
	require.Equal(t, "Provider Ж𝄞", name)
	require.Equal(t, []any{"card", uint32(0x80000001), listSize}, d.last())

	provider, err := c.GetProviderID(bg, "card")
	require.NoError(t, err)
	require.Equal(t, someGUID, provider)
}

func TestCache(t *testing.T) {
	d := newDatabase(t)
	c := d.open()
	require.NoError(t, c.WriteCache(bg, someGUID, 3, "Cached_ContainerMap", []byte{0, 1, 2}))
	require.Equal(t, []any{someGUID, uint32(3), "Cached_ContainerMap", "\x00\x01\x02"}, d.last())

	d.fill = func(buf []byte) (int, winscard.Code) { return copy(buf, "\x00\x01\x02"), winscard.Success }
	data, err := c.ReadCache(bg, someGUID, 3, "Cached_ContainerMap")
	require.NoError(t, err)
	require.Equal(t, []byte{0, 1, 2}, data)

	d.fill = func([]byte) (int, winscard.Code) { return 0, winscard.ErrCacheItemStale }
	_, err = c.ReadCache(bg, someGUID, 4, "Cached_ContainerMap")
	requireCode(t, err, opReadCache, ErrCacheItemStale)

	// More than is ever asked for.
	d.fill = func(buf []byte) (int, winscard.Code) { return 2 << 20, winscard.ErrInsufficientBuffer }
	_, err = c.ReadCache(bg, someGUID, 4, "item")
	require.Equal(t, 2<<20, requireCode(t, err, opReadCache, ErrInsufficientBuffer).Needed)
}

func TestReaderAsDevice(t *testing.T) {
	d := newDatabase(t)
	c := d.open()
	d.fill = func(buf []byte) (int, winscard.Code) {
		if len(buf) < 300_000 {
			return 0, winscard.ErrInsufficientBuffer // as wine: without the length
		}
		return 300_000, winscard.Success
	}
	icon, err := c.GetReaderIcon(bg, "Léser 𝄞")
	require.NoError(t, err)
	require.Len(t, icon, 300_000)
	kind, err := c.GetDeviceTypeID(bg, "Léser 𝄞")
	require.NoError(t, err)
	require.Equal(t, ReaderTypeUSB, kind)
	require.Equal(t, []any{"Léser 𝄞"}, d.last())

	e := requireCode(t, c.AddReaderToGroup(bg, "Léser 𝄞", "Gruppe"), opAddReaderToGroup, ErrUnknownReader)
	require.Equal(t, "Léser 𝄞", e.Reader)
}

func TestLocateCards(t *testing.T) {
	d := newDatabase(t)
	c := d.open()
	states := []ReaderState{NewReaderState("Reader 0"), NewReaderState("Léser 1")}
	require.NoError(t, c.LocateCards(bg, []string{"Kärtchen 𝄞", "card"}, states))
	require.Equal(t, []any{[]string{"Kärtchen 𝄞", "card"}, 2, "Reader 0"}, d.last())
	require.Equal(t, StatePresent|StateATRMatch, states[1].EventState)
	require.Equal(t, fakeATR, states[1].ATR())

	states[0] = NewReaderState("")
	e := requireCode(t, c.LocateCards(bg, []string{"card"}, states), opLocateCards, ErrUnknownReader)
	require.Contains(t, e.Detail, "empty")

	states[0] = NewReaderState("Reader 0")
	before := states[1]
	requireCode(t, c.LocateCardsByATR(bg, []ATRMask{{ATR: fakeATR}, {ATR: []byte{1, 2}, Mask: []byte{3, 4}}}, states),
		opLocateCardsByATR, ErrUnknownReader)
	require.Equal(t, before, states[1])
	masks := []winscard.ATRMask{{ATRLen: 4}, {ATRLen: 2}}
	copy(masks[0].ATR[:], fakeATR)
	copy(masks[0].Mask[:], "\xFF\xFF\xFF\xFF")
	copy(masks[1].ATR[:], "\x01\x02")
	copy(masks[1].Mask[:], "\x03\x04")
	require.Equal(t, []any{masks, 2}, d.last())

	requireCode(t, c.LocateCardsByATR(bg, []ATRMask{{ATR: fakeATR, Mask: []byte{}}}, states), opLocateCardsByATR, ErrUnknownReader)
	require.Equal(t, []any{masks[:1], 2}, d.last(), "without a mask all bits matter")
}

func TestGetTransmitCount(t *testing.T) {
	d := newDatabase(t)
	c := d.open()
	card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(t, err)
	n, err := card.GetTransmitCount(bg)
	require.NoError(t, err)
	require.Equal(t, uint32(7), n)

	d.gate = newGate()
	ctx, cancel := context.WithCancel(bg)
	go func() {
		<-d.gate.reached
		cancel()
	}()
	n, err = card.GetTransmitCount(ctx)
	requireCode(t, err, opGetTransmitCount, ErrCancelled)
	require.Zero(t, n)
	close(d.gate.open)
}

// macOS alone can give up a transaction without touching the card.
func TestCancelTransaction(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	tx, err := card.BeginTransaction(bg)
	require.NoError(t, err)
	require.NoError(t, tx.Cancel())
	require.Equal(t, 1, f.count("CancelTransaction"))
	requireCode(t, tx.Cancel(), opCancelTransaction, ErrInvalidHandle)
	requireCode(t, tx.End(LeaveCard), opEndTransaction, ErrInvalidHandle)
	require.Zero(t, f.count("EndTransaction"))
	again, err := card.BeginTransaction(bg)
	require.NoError(t, err, "the gate is open")
	require.NoError(t, again.Close())
	requireCode(t, (*Transaction)(nil).Cancel(), opCancelTransaction, ErrInvalidHandle)
}

// noCancelTransaction is every other platform.
type noCancelTransaction struct{ *fake }

func (noCancelTransaction) CancelTransaction(winscard.Card) winscard.Code {
	return winscard.ErrUnsupportedFunction
}

func TestCancelTransactionElsewhere(t *testing.T) {
	f := newFake(t)
	c, err := EstablishContext(ScopeSystem, WithBackend(noCancelTransaction{f}))
	require.NoError(t, err)
	defer c.Close()
	card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(t, err)
	tx, err := card.BeginTransaction(bg)
	require.NoError(t, err)
	require.ErrorIs(t, tx.Cancel(), errors.ErrUnsupported)
	_, err = tx.Transmit(bg, []byte{0, 1, 2, 3})
	require.NoError(t, err, "the transaction goes on")
	require.NoError(t, tx.End(LeaveCard))
	require.Equal(t, 1, f.count("EndTransaction"))
}

func TestWaitStartedRefuses(t *testing.T) {
	requireCode(t, WaitStarted(endedContext()), opAccessStartedEvent, ErrCancelled)
	var none context.Context
	requireCode(t, WaitStarted(none), opAccessStartedEvent, ErrInvalidParameter)
	var e *Error
	require.ErrorAs(t, WaitStarted(bg, WithBackend(nil)), &e)
	require.Equal(t, ErrInvalidParameter, e.Code)
}
