package pcsc

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

var apdu = []byte{0x00, 0xA4, 0x04, 0x00}

// forms are the two ways in which a call is made.
func forms(t *testing.T, f func(t *testing.T, ctx context.Context)) {
	t.Run("direct", func(t *testing.T) { f(t, bg) })
	t.Run("background", func(t *testing.T) { f(t, cancellable(t)) })
}

func TestTransmit(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		require.Equal(t, "Reader 0", card.Reader())
		require.Equal(t, ProtocolT1, card.ActiveProtocol())
		f.transmit = func(send, recv []byte) (int, winscard.Code) {
			require.Equal(t, apdu, send)
			require.Len(t, recv, winscard.MaxBufferSizeExtended)
			return copy(recv, fakeResponse), winscard.Success
		}
		got, err := card.Transmit(ctx, apdu)
		require.NoError(t, err)
		require.Equal(t, fakeResponse, got)
		require.LessOrEqual(t, cap(got), 16, "no 64 KiB behind it")
		got, err = card.TransmitAppend(ctx, []byte("x"), apdu)
		require.NoError(t, err)
		require.Equal(t, append([]byte("x"), fakeResponse...), got)
		require.Equal(t, 2, f.count("Transmit"))
	})
}

// dst and apdu are the same memory.
func TestTransmitInPlace(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		f.transmit = func(send, recv []byte) (int, winscard.Code) {
			n := copy(recv, []byte{1, 2, 3, 4, 5, 6})
			require.Equal(t, apdu, send, "the command is whole while the response arrives")
			return n, winscard.Success
		}
		buf := make([]byte, 0, 32)
		buf = append(buf, apdu...)
		got, err := card.TransmitAppend(ctx, buf[:0], buf)
		require.NoError(t, err)
		require.Equal(t, []byte{1, 2, 3, 4, 5, 6}, got)
		require.Same(t, &buf[0], &got[0])
	})
}

func TestTransmitLargest(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		f.transmit = func(send, recv []byte) (int, winscard.Code) { return copy(recv, send), winscard.Success }
		large := bytes.Repeat([]byte{0xA5}, winscard.MaxBufferSizeExtended)
		got, err := card.Transmit(ctx, large)
		require.NoError(t, err)
		require.True(t, bytes.Equal(large, got))
	})
}

// Nothing goes out that can't be right.
func TestTransmitRefused(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		c, card := f.card()
		for _, bad := range [][]byte{nil, {}, make([]byte, winscard.MaxBufferSizeExtended+1)} {
			got, err := card.TransmitAppend(ctx, []byte("x"), bad)
			e := requireCode(t, err, opTransmit, ErrInvalidParameter)
			require.Equal(t, "Reader 0", e.Reader)
			require.NotEmpty(t, e.Detail)
			require.Equal(t, "x", string(got))
		}
		_, err := card.Control(ctx, 1, make([]byte, winscard.MaxBufferSizeExtended+1))
		requireCode(t, err, opControl, ErrInvalidParameter)
		require.Zero(t, f.count("Control"))

		f.connect = func(string) (uint32, winscard.Code) { return uint32(winscard.ProtocolUndefined), winscard.Success }
		direct, err := c.Connect(ctx, "Reader 0", ShareDirect, ProtocolUndefined)
		require.NoError(t, err)
		_, err = direct.Transmit(ctx, apdu)
		requireCode(t, err, opTransmit, ErrProtoMismatch)
		require.Zero(t, f.count("Transmit"))

		// The card is not left locked.
		_, err = direct.Control(ctx, 1, nil)
		require.NoError(t, err)
		require.NoError(t, direct.Reconnect(ctx, ShareShared, ProtocolAny, LeaveCard))
		require.Equal(t, ProtocolT0, direct.ActiveProtocol())
		_, err = direct.Transmit(ctx, apdu)
		require.NoError(t, err)
	})
}

// An APDU or control code is never sent twice, whatever comes back.
func TestNeverSentTwice(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		for i, code := range []Code{
			ErrInsufficientBuffer, ErrTimeout, ErrResetCard, ErrRemovedCard, ErrCommError, ErrNotTransacted,
			ErrSharingViolation, ErrNoService, ErrInternalError,
		} {
			f.transmit = func(_, recv []byte) (int, winscard.Code) { return len(recv) + 100, code }
			f.control = func(_ uint32, _, out []byte) (int, winscard.Code) { return len(out) + 100, code }
			got, err := card.TransmitAppend(ctx, []byte("x"), apdu)
			e := requireCode(t, err, opTransmit, code)
			require.Equal(t, "x", string(got))
			if code == ErrInsufficientBuffer {
				require.Equal(t, winscard.MaxBufferSizeExtended+100, e.Needed)
			} else {
				require.Zero(t, e.Needed)
			}
			_, err = card.Control(ctx, CtlCode(1), apdu)
			requireCode(t, err, opControl, code)
			require.Equal(t, i+1, f.count("Transmit"))
			require.Equal(t, i+1, f.count("Control"))
		}
	})
}

func TestBrokenBackend(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		for _, n := range []int{-1, winscard.MaxBufferSizeExtended + 1} {
			f.transmit = func([]byte, []byte) (int, winscard.Code) { return n, winscard.Success }
			_, err := card.Transmit(ctx, apdu)
			requireCode(t, err, opTransmit, ErrInternalError)
			f.getAttrib = func(uint32, []byte) (int, winscard.Code) { return n, winscard.Success }
			_, err = card.GetAttrib(ctx, 1)
			requireCode(t, err, opGetAttrib, ErrInternalError)
			f.status = func([]byte, []byte) (int, uint32, uint32, int, winscard.Code) { return 0, 0, 0, n, winscard.Success }
			_, err = card.Status(ctx)
			requireCode(t, err, opStatus, ErrInternalError)
		}
	})
}

func TestTransmitAllocations(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	command := slices.Clone(apdu)
	dst := make([]byte, 0, 16)
	for _, tt := range []struct {
		name string
		most float64
		call func()
	}{
		{"Transmit", 1, func() { _, _ = card.Transmit(bg, command) }},
		{"TransmitAppend", 0, func() { dst, _ = card.TransmitAppend(bg, dst[:0], command) }},
	} {
		tt.call()
		require.Equal(t, tt.most, testing.AllocsPerRun(200, tt.call), tt.name)
	}
	ctx := cancellable(t)
	// One for the goroutine; the runtime may allocate more for the scheduling, now and then.
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { dst, _ = card.TransmitAppend(ctx, dst[:0], command) }), 2.0)
}

func BenchmarkTransmitAppend(b *testing.B) {
	f := newFake(b)
	_, card := f.card()
	dst := make([]byte, 0, 16)
	for name, ctx := range map[string]context.Context{"direct": bg, "background": cancellable(b)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = card.TransmitAppend(ctx, dst[:0], apdu)
			}
		})
	}
}

// With a context that can't end, the library works on the caller's memory; with one that can, never.
func TestWhoseMemory(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	command := slices.Clone(apdu)
	var seen *byte
	f.transmit = func(send, recv []byte) (int, winscard.Code) { seen = &send[0]; return 0, winscard.Success }
	f.control = func(_ uint32, in, _ []byte) (int, winscard.Code) { seen = &in[0]; return 0, winscard.Success }
	f.setAttrib = func(_ uint32, attr []byte) winscard.Code { seen = &attr[0]; return winscard.Success }
	calls := func(ctx context.Context, check func()) {
		_, err := card.Transmit(ctx, command)
		require.NoError(t, err)
		check()
		_, err = card.Control(ctx, 1, command)
		require.NoError(t, err)
		check()
		require.NoError(t, card.SetAttrib(ctx, 1, command))
		check()
	}
	calls(bg, func() { require.Same(t, &command[0], seen) })
	calls(cancellable(t), func() { require.NotSame(t, &command[0], seen) })
}

// What a call leaves in the card's memory is cleared.
func TestMemoryIsCleared(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		for _, code := range []Code{winscard.Success, ErrCommError} {
			f := newFake(t)
			_, card := f.card()
			pin := []byte{0x00, 0x20, 0x00, 0x80, 0x04, '1', '2', '3', '4'}
			var in, out []byte
			f.transmit = func(send, recv []byte) (int, winscard.Code) {
				in, out = send, recv
				n := copy(recv, "a secret")
				if code != winscard.Success {
					n = 0
				}
				return n, code
			}
			_, _ = card.Transmit(ctx, pin)
			require.NotContains(t, string(out), "secret")
			if ctx != bg {
				require.NotContains(t, string(in[:cap(in)]), "1234")
			} else {
				require.Contains(t, string(in), "1234", "the caller's memory is the caller's")
			}
			require.Nil(t, card.s.call.in)
			require.Nil(t, card.s.call.out)
		}
	})
}

// A call is given up: it goes on with memory that nobody else touches, the card stays busy until it is over, and the
// method has returned at once.
func TestAbandonedTransmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		_, card := f.card()
		ctx, cancel := context.WithCancel(bg)
		var sent []byte
		var recvd []byte
		f.transmit = func(send, recv []byte) (int, winscard.Code) {
			time.Sleep(time.Hour)
			sent, recvd = slices.Clone(send), recv
			return copy(recv, fakeResponse), winscard.Success
		}
		go func() { time.Sleep(time.Second); cancel() }()
		command, dst := slices.Clone(apdu), make([]byte, 3, 100)
		start := time.Now()
		got, err := card.TransmitAppend(ctx, dst, command)
		e := requireCode(t, err, opTransmit, ErrCancelled)
		require.ErrorIs(t, err, context.Canceled)
		require.NotEmpty(t, e.Detail)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, dst, got)
		clear(command) // the caller's again

		// Other calls wait for the card, as long as their contexts let them.
		ctx2, cancel2 := context.WithTimeout(bg, time.Minute)
		defer cancel2()
		_, err = card.Status(ctx2)
		requireCode(t, err, opStatus, ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second+time.Minute, time.Since(start))
		require.Zero(t, f.count("Status"))

		_, err = card.Status(bg)
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(start))
		require.Equal(t, apdu, sent, "the command was not changed under the call")
		require.Equal(t, make([]byte, 97), dst[3:100], "nor the caller's memory by it")
		require.Equal(t, make([]byte, 4), recvd[:4], "and nothing remains of either")
		require.Equal(t, 1, f.count("Transmit"))
	})
}

func TestCloseWaitsForAbandonedCall(t *testing.T) {
	for _, end := range []func(*Context, *Card) error{
		func(_ *Context, card *Card) error { return card.Close() },
		func(_ *Context, card *Card) error { return card.Disconnect(LeaveCard) },
		func(c *Context, _ *Card) error { return c.Close() },
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			c, card := f.card()
			f.transmit = func([]byte, []byte) (int, winscard.Code) { time.Sleep(time.Hour); return 0, winscard.Success }
			ctx, cancel := context.WithTimeout(bg, time.Second)
			defer cancel()
			start := time.Now()
			_, err := card.Transmit(ctx, apdu)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, end(c, card))
			require.Equal(t, time.Hour, time.Since(start))
			_, err = card.Transmit(bg, apdu)
			require.ErrorIs(t, err, ErrInvalidHandle)
		})
	}
}

// A close with a context gives up waiting when it ends; what it began is finished all the same.
func TestCloseContext(t *testing.T) {
	for name, end := range map[string]struct {
		bounded func(*Context, *Card, context.Context) error
		close   func(*Context, *Card) error
		op      string
	}{
		"Card": {
			func(_ *Context, card *Card, ctx context.Context) error { return card.CloseContext(ctx) },
			func(_ *Context, card *Card) error { return card.Close() },
			opDisconnect,
		},
		"Context": {
			func(c *Context, _ *Card, ctx context.Context) error { return c.CloseContext(ctx) },
			func(c *Context, _ *Card) error { return c.Close() },
			opReleaseContext,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				c, card := f.card()
				f.transmit = func([]byte, []byte) (int, winscard.Code) { time.Sleep(time.Hour); return 0, winscard.Success }
				go card.Transmit(bg, apdu)
				synctest.Wait()
				start := time.Now()
				ctx, cancel := context.WithTimeout(bg, time.Second)
				defer cancel()
				e := requireCode(t, end.bounded(c, card, ctx), end.op, ErrTimeout)
				require.ErrorIs(t, e, context.DeadlineExceeded)
				require.NotEmpty(t, e.Detail)
				require.Equal(t, time.Second+endPatience, time.Since(start))
				require.Zero(t, f.count("Disconnect"), "not under the call")
				for range 50 {
					requireCode(t, end.bounded(c, card, ctx), end.op, ErrTimeout)
				}
				stacks := make([]byte, 1<<20)
				stacks = stacks[:runtime.Stack(stacks, true)]
				require.Equal(t, 1, bytes.Count(stacks, []byte("created by github.com/gopcsc/gopcsc/pcsc.(*ending).within")),
					"one goroutine waits for the call, however many ask")
				_, err := card.Status(bg)
				requireCode(t, err, opStatus, ErrInvalidHandle)
				require.Equal(t, time.Hour, time.Since(start), "a call that had to wait finds out late")

				require.NoError(t, end.close(c, card), "the rest")
				require.Equal(t, 1, f.count("Disconnect"))
				require.NoError(t, end.bounded(c, card, bg), "again")
				require.Equal(t, 1, f.count("Disconnect"))
			})
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				c, card := f.card()
				f.transmit = func([]byte, []byte) (int, winscard.Code) { time.Sleep(time.Hour); return 0, winscard.Success }
				go card.Transmit(bg, apdu)
				synctest.Wait()
				ended, cancel := context.WithCancel(bg)
				cancel()
				requireCode(t, end.bounded(c, card, ended), end.op, ErrCancelled)
				require.NoError(t, end.close(c, card), "waits for what goes on, which virtual time does not stop")
				require.Equal(t, 1, f.count("Disconnect"))
			})
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				c, card := f.card()
				ended, cancel := context.WithCancel(bg)
				cancel()
				require.NoError(t, end.bounded(c, card, ended), "nothing holds it up, so it is done")
				require.Equal(t, 1, f.count("Disconnect"))
			})
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				c, card := f.card()
				var none context.Context
				requireCode(t, end.bounded(c, card, none), end.op, ErrInvalidParameter)
				_, err := card.Status(bg)
				require.NoError(t, err, "nothing was done")
			})
		})
	}
	requireCode(t, (*Card)(nil).CloseContext(bg), opDisconnect, ErrInvalidHandle)
	requireCode(t, (*Context)(nil).CloseContext(bg), opReleaseContext, ErrInvalidHandle)
}

// Whoever waits for the card when it is closed does not get it.
func TestCloseGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		_, card := f.card()
		f.transmit = func([]byte, []byte) (int, winscard.Code) { time.Sleep(time.Minute); return 0, winscard.Success }
		errs := make(chan error, 5)
		for range 5 {
			go func() { errs <- second(card.Transmit(bg, apdu)) }()
		}
		synctest.Wait()
		require.NoError(t, card.Close())
		ok := 0
		for range 5 {
			if err := <-errs; err == nil {
				ok++
			} else {
				require.ErrorIs(t, err, ErrInvalidHandle)
			}
		}
		require.Equal(t, 1, ok)
		require.Equal(t, 1, f.count("Transmit"))
	})
}

func TestControl(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		got, err := card.Control(ctx, 7, []byte("abc"))
		require.NoError(t, err)
		require.Equal(t, "abc", string(got))
		got, err = card.ControlAppend(ctx, []byte("x"), 7, nil)
		require.NoError(t, err)
		require.Equal(t, "x", string(got))
		require.Contains(t, f.calls(), "Control 7")
	})
}

func TestGetAttrib(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		got, err := card.GetAttrib(ctx, winscard.AttrVendorName)
		require.NoError(t, err)
		require.Equal(t, "attribute", string(got))
		require.Contains(t, f.calls(), "GetAttrib 264", "pcsc-lite takes no larger buffer")

		// A long one is read again, with room for it.
		long := bytes.Repeat([]byte("long"), 1000)
		f.getAttrib = func(_ uint32, attr []byte) (int, winscard.Code) {
			if len(attr) < len(long) {
				return len(long), winscard.ErrInsufficientBuffer
			}
			return copy(attr, long), winscard.Success
		}
		before := f.count("GetAttrib")
		got, err = card.GetAttribAppend(ctx, []byte("x"), winscard.AttrVendorName)
		require.NoError(t, err)
		require.Equal(t, "x"+string(long), string(got))
		require.Equal(t, before+2, f.count("GetAttrib"))

		// pcsc-lite says this of buffers that are too large, too, and returns the length given.
		f.getAttrib = func(_ uint32, attr []byte) (int, winscard.Code) {
			return len(attr), winscard.ErrInsufficientBuffer
		}
		_, err = card.GetAttrib(ctx, 1)
		require.Zero(t, requireCode(t, err, opGetAttrib, ErrInsufficientBuffer).Needed)

		f.getAttrib = func(uint32, []byte) (int, winscard.Code) { return 1 << 20, winscard.ErrInsufficientBuffer }
		before = f.count("GetAttrib")
		_, err = card.GetAttrib(ctx, 1)
		require.Equal(t, 1<<20, requireCode(t, err, opGetAttrib, ErrInsufficientBuffer).Needed)
		require.LessOrEqual(t, f.count("GetAttrib"), before+2)

		f.getAttrib = func(uint32, []byte) (int, winscard.Code) { return 0, winscard.ErrUnsupportedFeature }
		_, err = card.GetAttrib(ctx, 1)
		requireCode(t, err, opGetAttrib, winscard.ErrUnsupportedFeature)
	})
}

func TestSetAttrib(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		f.setAttrib = func(id uint32, attr []byte) winscard.Code {
			require.EqualValues(t, 5, id)
			require.Equal(t, "value", string(attr))
			return winscard.ErrUnsupportedFeature
		}
		requireCode(t, card.SetAttrib(ctx, 5, []byte("value")), opSetAttrib, winscard.ErrUnsupportedFeature)
	})
}

func TestStatus(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		got, err := card.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, Status{
			Readers:    []string{"Reader 0"},
			State:      CardPresent | CardPowered,
			EventCount: 9,
			Protocol:   ProtocolT1,
			ATR:        fakeATR,
		}, got)

		// Names and ATR longer than expected, with and without a needed length.
		long := []string{string(bytes.Repeat([]byte("r"), 3000)), "b"}
		for _, tell := range []bool{true, false} {
			f.status = func(readers, atr []byte) (int, uint32, uint32, int, winscard.Code) {
				n, rc := fillMulti(readers, long)
				if rc != winscard.Success && !tell {
					n = 0
				}
				return n, uint32(winscard.CardAbsent), 0, 0, rc
			}
			got, err = card.Status(ctx)
			require.NoError(t, err)
			require.Equal(t, long, got.Readers)
			require.Nil(t, got.ATR)
			require.Equal(t, CardAbsent, got.State)
		}
		f.status = func([]byte, []byte) (int, uint32, uint32, int, winscard.Code) {
			return 1 << 30, 0, 0, 1 << 30, winscard.ErrInsufficientBuffer
		}
		_, err = card.Status(ctx)
		requireCode(t, err, opStatus, ErrInsufficientBuffer)
		f.status = func([]byte, []byte) (int, uint32, uint32, int, winscard.Code) {
			return 0, 0, 0, 0, winscard.ErrResetCard
		}
		_, err = card.Status(ctx)
		require.Equal(t, "Reader 0", requireCode(t, err, opStatus, ErrResetCard).Reader)
	})
}

func TestReconnect(t *testing.T) {
	forms(t, func(t *testing.T, ctx context.Context) {
		f := newFake(t)
		_, card := f.card()
		f.reconnect = func() (uint32, winscard.Code) { return 0, winscard.ErrRemovedCard }
		requireCode(t, card.Reconnect(ctx, ShareShared, ProtocolAny, ResetCard), opReconnect, ErrRemovedCard)
		require.Equal(t, ProtocolT1, card.ActiveProtocol(), "as it was")
		f.reconnect = nil
		require.NoError(t, card.Reconnect(ctx, ShareShared, ProtocolAny, ResetCard))
		require.Equal(t, ProtocolT0, card.ActiveProtocol())
	})
}

func TestDisconnect(t *testing.T) {
	f := newFake(t)
	c, card := f.card()
	requireCode(t, card.Disconnect(99), opDisconnect, ErrInvalidValue)
	require.Zero(t, f.count("Disconnect"))
	require.NoError(t, card.Disconnect(UnpowerCard))
	require.Equal(t, "Disconnect 2", last(f.calls()))
	requireCode(t, card.Disconnect(UnpowerCard), opDisconnect, ErrInvalidHandle)
	require.NoError(t, card.Close())
	require.Equal(t, 1, f.count("Disconnect"))

	card, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(t, err)
	require.NoError(t, card.Close())
	require.NoError(t, card.Close())
	require.Equal(t, "Disconnect 1", last(f.calls()), "reset")
	requireCode(t, card.Disconnect(LeaveCard), opDisconnect, ErrInvalidHandle)

	card, err = c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
	require.NoError(t, err)
	f.disconnect = func(uint32) winscard.Code { return winscard.ErrNoService }
	requireCode(t, card.Disconnect(LeaveCard), opDisconnect, ErrNoService)
	requireCode(t, card.Disconnect(LeaveCard), opDisconnect, ErrInvalidHandle)
	require.NoError(t, card.Close())
}

func last[T any](list []T) T { return list[len(list)-1] }

// Another program holds a transaction, and the service refuses to reset the card.
func TestDisconnectUnderTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		c, card := f.card()
		var over atomic.Bool
		f.disconnect = func(disposition uint32) winscard.Code {
			if disposition != uint32(LeaveCard) && !over.Load() {
				return winscard.ErrSharingViolation
			}
			return winscard.Success
		}
		requireCode(t, card.Disconnect(ResetCard), opDisconnect, ErrSharingViolation)
		_, err := card.Transmit(bg, apdu)
		require.NoError(t, err, "still connected")

		// A short transaction is waited for.
		go func() { time.Sleep(300 * time.Millisecond); over.Store(true) }()
		start := time.Now()
		require.NoError(t, card.Close())
		require.Less(t, time.Since(start), 400*time.Millisecond)
		require.Equal(t, "Disconnect 1", last(f.calls()))

		// A long one is not.
		over.Store(false)
		card, err = c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
		require.NoError(t, err)
		start = time.Now()
		e := requireCode(t, card.Close(), opDisconnect, ErrSharingViolation)
		require.NotEmpty(t, e.Detail)
		require.InDelta(t, closePatience, time.Since(start), float64(2*cancelLast))
		calls := f.calls()
		require.Equal(t, "Disconnect 0", calls[len(calls)-2], "before the release of the native context")
		require.NoError(t, card.Close())
	})
}

// One card's reset waits for the other's transaction to end, as in libpcsclite; closing the context ends it.
func TestCloseTwoCardsOneInTransaction(t *testing.T) {
	for range 10 { // whichever is first
		f := newFake(t)
		c, a := f.card()
		b, err := c.Connect(bg, "Reader 0", ShareShared, ProtocolAny)
		require.NoError(t, err)
		_, err = b.BeginTransaction(bg)
		require.NoError(t, err)
		var bGone atomic.Bool
		f.disconnectCard = func(h winscard.Card) {
			if h == b.s.handle {
				bGone.Store(true)
			}
			for h == a.s.handle && !bGone.Load() {
				time.Sleep(time.Millisecond)
			}
		}
		require.NoError(t, c.Close())
	}
}

func TestCardConcurrently(t *testing.T) {
	f := newFake(t)
	c, card := f.card()
	var inside atomic.Int32
	f.transmit = func(send, recv []byte) (int, winscard.Code) {
		if inside.Add(1) != 1 {
			t.Error("two calls on one card at once")
		}
		n := copy(recv, send)
		inside.Add(-1)
		return n, winscard.Success
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithTimeout(bg, time.Duration(j%3)*10*time.Microsecond)
				if i%2 == 0 {
					ctx = bg
				}
				command := []byte{byte(i), byte(j), 3, 4}
				got, err := card.Transmit(ctx, command)
				if err == nil && !bytes.Equal(got, command) {
					t.Errorf("another call's response: %x for %x", got, command)
				}
				if j%20 == 0 {
					_, _ = card.Status(ctx)
					_ = card.Transact(ctx, func(tx *Transaction) error { return second(tx.GetAttrib(ctx, 1)) })
					_, _ = c.ListReaders(ctx)
				}
				if i == 0 && j == 150 {
					_ = card.Close()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.Close())
	f.requireNothingOpen()
}

// The call ends and its context does too: whichever is first, the next call gets its own response.
func TestTransmitBothAtOnce(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	var cancel context.CancelFunc
	f.transmit = func(send, recv []byte) (int, winscard.Code) {
		n := copy(recv, send)
		if send[0] == 0xFF {
			cancel()
		}
		return n, winscard.Success
	}
	next := cancellable(t)
	for i := range 2000 {
		ctx, stop := context.WithCancel(bg)
		cancel = stop
		got, err := card.Transmit(ctx, []byte{0xFF, byte(i), 0, 0})
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
		} else {
			require.Equal(t, []byte{0xFF, byte(i), 0, 0}, got)
		}
		stop()
		command := []byte{0, byte(i), byte(i >> 8), 1}
		got, err = card.Transmit(next, command)
		require.NoError(t, err)
		require.Equal(t, command, got)
	}
}

// A backend that breaks its contract in a call that was given up does no harm.
func TestLateNonsense(t *testing.T) {
	f := newFake(t)
	_, card := f.card()
	g := newGate()
	f.transmit = func(_, _ []byte) (int, winscard.Code) { g.pass(); return -5, winscard.Success }
	ctx := newExpiring()
	go func() { <-g.reached; ctx.expire() }()
	_, err := card.Transmit(ctx, apdu)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(g.open)
	_, err = card.Transmit(bg, apdu)
	requireCode(t, err, opTransmit, ErrInternalError)
}
