package atr_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

// FuzzParse: whatever the bytes, Parse does not panic, what it makes of them can be put together again, and the check
// byte is judged as a second, simpler reading of the bytes does.
func FuzzParse(f *testing.F) {
	for _, s := range realATRs {
		f.Add(unhex(f, s))
	}
	f.Add([]byte{})
	f.Add(unhex(f, "03 59 5B FF B5 6F A9 F6 FF"))
	f.Add(unhex(f, "3B FD 13 00 00 81 31"))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := string(in)
		a, err := atr.Parse(in)
		require.Equal(t, before, string(in), "the input is the caller's")
		require.NotNil(t, a)
		require.Equal(t, append([]byte{}, in...), a.Bytes())
		useAll(t, a)

		var syntax *atr.SyntaxError
		if err != nil {
			require.ErrorAs(t, err, &syntax)
			require.Empty(t, a.Warnings)
			require.LessOrEqual(t, syntax.Offset, len(in))
			return
		}
		require.LessOrEqual(t, len(in), atr.MaxLen)
		checkTCK(t, a)

		_, strict := atr.ParseStrict(in)
		require.Equal(t, len(a.Warnings) > 0, strict != nil)
		if strict != nil {
			require.True(t, errors.As(strict, &syntax))
		}
		last := 0
		for _, w := range a.Warnings {
			require.GreaterOrEqual(t, w.Offset, last, "in the order of the bytes")
			require.LessOrEqual(t, w.Offset, len(in))
			last = w.Offset
		}

		// The same card behind a reader that does not decode the inverse convention.
		if a.TS == atr.TSInverse && !a.Raw {
			raw := *a
			raw.Raw = true
			again, err := atr.Parse(raw.Bytes())
			require.NoError(t, err)
			require.True(t, again.Raw)
			again.Raw = false
			require.Equal(t, a, again)
		}
	})
}

// checkTCK works out from the bytes alone what the check byte is.
func checkTCK(t *testing.T, a *atr.ATR) {
	b := a.Bytes()
	if a.Raw {
		for i := range b {
			b[i] = reversed(^b[i])
		}
	}
	pos, required := 2, false
	for y := b[1] >> 4; ; {
		for letter := range 3 {
			pos += int(y >> letter & 1)
		}
		if y&8 == 0 {
			break
		}
		required = required || b[pos]&0x0F != 0
		y = b[pos] >> 4
		pos++
	}
	pos += int(b[1] & 0x0F)
	var xor byte
	for _, c := range b[1:pos] {
		xor ^= c
	}
	require.Equal(t, required, a.TCK.Required)
	require.Equal(t, xor, a.TCK.Computed)
	switch {
	case required:
		require.Equal(t, len(b) > pos, a.TCK.Present)
		require.Equal(t, len(b) > pos && b[pos] == xor, a.TCK.Valid())
	case len(b) > pos:
		require.Equal(t, b[pos] == xor, a.TCK.Present)
		require.True(t, a.TCK.Valid())
	default:
		require.False(t, a.TCK.Present)
		require.True(t, a.TCK.Valid())
	}
}

func reversed(b byte) (r byte) {
	for i := range 8 {
		r |= b >> i & 1 << (7 - i)
	}
	return r
}

// useAll calls every method, for panics and for what no card can have.
func useAll(t *testing.T, a *atr.ATR) {
	require.NotEmpty(t, a.Protocols())
	rate, _ := a.InitialRate()
	for _, f := range []atr.Frequency{-1, 0, 1, a.Rate().FMax, 1 << 62} {
		for _, p := range a.Protocols() {
			require.GreaterOrEqual(t, a.GuardTime(p, rate, f), a.GuardTime(p, atr.Rate{}, f))
		}
		t0, t1 := a.T0Parameters(), a.T1Parameters()
		require.GreaterOrEqual(t, int64(t0.WaitingTime(f)), int64(0))
		require.GreaterOrEqual(t, t0.WaitingTimeETU(), 0)
		require.GreaterOrEqual(t, int64(t1.BWT(rate, f)), int64(0))
		require.GreaterOrEqual(t, int64(t1.CWT(rate, f)), int64(0))
		require.GreaterOrEqual(t, t1.CWTETU(), 12)
	}
	require.NotEmpty(t, a.Explain())
	require.NotEmpty(t, a.String())
	_ = a.DefaultProtocol()
	_ = a.Contactless()
	_, _ = a.ATQB()
	_, _ = a.StorageCard()

	h := a.Historical()
	total := 0
	for _, o := range h.Objects {
		require.LessOrEqual(t, o.Offset+len(o.Data), len(h.Bytes))
		total += 1 + len(o.Data)
		if o.BER {
			total++
		}
	}
	require.LessOrEqual(t, total+len(h.Rest), len(h.Bytes))
	_, _ = h.Country()
	_, _ = h.AID()
	_, _ = h.ServiceData()
	_, _ = h.Capabilities()
	_, _ = h.Status()
	_, _ = h.DIRReference()
}
