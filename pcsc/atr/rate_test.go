package atr_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/atr"
)

// TestRateOf goes through the tables of ISO/IEC 7816-3, 8.3.
func TestRateOf(t *testing.T) {
	const khz = atr.Kilohertz
	for hi, want := range []atr.Rate{
		{Fi: 372, FMax: 4000 * khz}, {Fi: 372, FMax: 5000 * khz}, {Fi: 558, FMax: 6000 * khz}, {Fi: 744, FMax: 8000 * khz},
		{Fi: 1116, FMax: 12000 * khz}, {Fi: 1488, FMax: 16000 * khz}, {Fi: 1860, FMax: 20000 * khz}, {},
		{}, {Fi: 512, FMax: 5000 * khz}, {Fi: 768, FMax: 7500 * khz}, {Fi: 1024, FMax: 10000 * khz},
		{Fi: 1536, FMax: 15000 * khz}, {Fi: 2048, FMax: 20000 * khz}, {}, {},
	} {
		for lo, di := range []int{0, 1, 2, 4, 8, 16, 32, 64, 12, 20, 0, 0, 0, 0, 0, 0} {
			want.Di = di
			r := atr.RateOf(byte(hi<<4 | lo))
			require.Equal(t, want, r, "TA1 %X%X", hi, lo)
			require.Equal(t, want.Fi > 0 && di > 0, r.Known())
		}
	}
	require.Equal(t, atr.Rate{Fi: 372, Di: 1, FMax: 5 * atr.Megahertz}, atr.DefaultRate())
}

func TestRate(t *testing.T) {
	// 1 ETU at the default rate and 3.5712 MHz is 1/9600 s: the well-known 9600 bit/s.
	r := atr.DefaultRate()
	require.Equal(t, 372.0, r.CyclesPerETU())
	require.Equal(t, 9600.0, r.BitRate(3571200))
	require.Equal(t, 104167*time.Nanosecond, r.ETU(1, 3571200))
	require.Equal(t, time.Second, r.ETU(9600, 3571200))

	// TA1 of 18: 372/12 is 31 cycles; 5 MHz / 31 is 161290 bit/s.
	r = atr.RateOf(0x18)
	require.Equal(t, 31.0, r.CyclesPerETU())
	require.InDelta(t, 161290.3, r.BitRate(r.FMax), 0.1)

	// TA1 of 16: 372/32 is no integer.
	require.Equal(t, 11.625, atr.RateOf(0x16).CyclesPerETU())

	for _, r := range []atr.Rate{{}, atr.RateOf(0x10), atr.RateOf(0x71)} {
		require.Zero(t, r.CyclesPerETU())
		require.Zero(t, r.BitRate(5*atr.Megahertz))
		require.Zero(t, r.ETU(1, 5*atr.Megahertz))
	}
	for _, f := range []atr.Frequency{0, -1} {
		require.Zero(t, atr.DefaultRate().BitRate(f))
		require.Zero(t, atr.DefaultRate().ETU(1, f))
	}
	require.Equal(t, "Fi=372, Di=1, fmax 5 MHz", atr.DefaultRate().String())
	require.Equal(t, "Fi=reserved, Di=reserved", atr.RateOf(0xFF).String())
}

func TestFrequency(t *testing.T) {
	require.Equal(t, "7.5 MHz", (7500 * atr.Kilohertz).String())
	require.Equal(t, "3.5712 MHz", atr.Frequency(3571200).String())
	require.Equal(t, "32.768 kHz", atr.Frequency(32768).String())
	require.Equal(t, "50 Hz", (50 * atr.Hertz).String())
	require.Equal(t, "0 Hz", atr.Frequency(0).String())
}

func TestInitialRate(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     atr.Rate
		known    bool
	}{
		{"negotiable: default whatever TA1 says", yubiKey5, atr.DefaultRate(), true},
		{"specific: TA1", nagra, atr.RateOf(0x95), true},
		{"specific and implicit", "3B 90 95 10 10", atr.Rate{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, known := parse(t, c.in).InitialRate()
			require.Equal(t, c.want, r)
			require.Equal(t, c.known, known)
		})
	}
}

func TestSpecificMode(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     atr.SpecificMode
		ok       bool
		protocol atr.Protocol // the default
	}{
		{"none", soneraUICC, atr.SpecificMode{}, false, atr.ProtocolT0},
		{"TA2 is 81", nagra, atr.SpecificMode{Protocol: 1}, true, atr.ProtocolT1},
		{"TA2 is 80", videoGuard, atr.SpecificMode{}, true, atr.ProtocolT0},
		{"TA2 is 11", "3B 80 90 11 01 00", atr.SpecificMode{Protocol: 1, CanChange: true, Implicit: true}, true, atr.ProtocolT1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := parse(t, c.in)
			m, ok := a.SpecificMode()
			require.Equal(t, c.want, m)
			require.Equal(t, c.ok, ok)
			require.Equal(t, c.protocol, a.DefaultProtocol())
		})
	}
}

func TestProtocols(t *testing.T) {
	for in, want := range map[string][]atr.Protocol{
		"3B 00":                {0},     // none announced
		"3B 80 00":             {0},     // T=0 announced
		"3B 80 81 81 81 01 00": {1},     // each once
		"3B 80 80 81 1F 42 DC": {0, 1},  // T=15 is no protocol
		"3B 80 0E 8E":          {14},    // not standardized
		"3B 80 81 0E 0F":       {1, 14}, // in the card's order
		"3B 80 0F 8F":          {0},     // T=15 alone offers nothing
	} {
		a, err := atr.Parse(unhex(t, in))
		require.NoError(t, err)
		require.Equal(t, want, a.Protocols(), in)
	}
}

// The time of n cycles at 5 MHz, in which a cycle is 200 ns.
func at5MHz(cycles int) time.Duration { return time.Duration(cycles) * 200 * time.Nanosecond }

func TestGuardTime(t *testing.T) {
	const f = 5 * atr.Megahertz
	d := atr.DefaultRate()
	fast := atr.RateOf(0x94) // 64 cycles
	for _, c := range []struct {
		name, in string
		p        atr.Protocol
		inUse    atr.Rate
		cycles   int
	}{
		{"no TC1", multiflex, 0, d, 12 * 372},
		{"N=3", videoGuard, 0, d, 15 * 372},
		{"N=255, T=0", estEID1, 0, fast, 12 * 64},
		{"N=255, T=1", estEID1, 1, fast, 11 * 64},
		{"N=5 without T=15: of the rate in use", "3B 50 94 05", 0, d, 17 * 372},
		{"N=5 with T=15: of TA1", "3B D0 94 05 80 1F 01 5F", 0, d, 12*372 + 5*64},
		{"N=254", "3B 40 FE", 1, d, 266 * 372},
		{"unknown rate", multiflex, 0, atr.Rate{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, at5MHz(c.cycles), parse(t, c.in).GuardTime(c.p, c.inUse, f))
		})
	}
	require.Zero(t, parse(t, multiflex).GuardTime(0, d, 0))
}

func TestT0WaitingTime(t *testing.T) {
	// The defaults: 960 * 10 * 372 cycles, a second at 3.5712 MHz.
	p := parse(t, multiflex).T0Parameters()
	require.Equal(t, time.Second, p.WaitingTime(3571200))
	require.Equal(t, at5MHz(960*10*372), p.WaitingTime(5*atr.Megahertz))
	require.Equal(t, 9600, p.WaitingTimeETU())

	// TA1 of 94, TC2 of 0A: 512 cycles in place of 372, but Di = 8 ETU in them.
	p = parse(t, o2SIM).T0Parameters()
	require.Equal(t, at5MHz(960*10*512), p.WaitingTime(5*atr.Megahertz))
	require.Equal(t, 960*10*8, p.WaitingTimeETU())

	p = parse(t, "3B 80 40 FF").T0Parameters()
	require.Equal(t, 255, p.WI)
	require.Equal(t, 960*255, p.WaitingTimeETU())

	p = parse(t, "3B 10 71").T0Parameters() // Fi is reserved
	require.Zero(t, p.WaitingTime(5*atr.Megahertz))
	require.Zero(t, p.WaitingTimeETU())

	// The slowest clock there is: the duration is the longest, not negative.
	huge := atr.T0Parameters{WI: math.MaxInt32, Rate: atr.RateOf(0xD1)}
	require.Equal(t, time.Duration(math.MaxInt64), huge.WaitingTime(1))
}

func TestT1WaitingTimes(t *testing.T) {
	const f = 5 * atr.Megahertz
	// Nagra: BWI 4, CWI 7, an ETU of 32 cycles.
	p, r := parse(t, nagra).T1Parameters(), atr.RateOf(0x95)
	require.Equal(t, at5MHz(11*32+16*960*372), p.BWT(r, f))
	require.Equal(t, 11+128, p.CWTETU())
	require.Equal(t, at5MHz(139*32), p.CWT(r, f))

	// BWT is based on Fd = 372 although Fi is 512; only the 11 ETU depend on the rate.
	require.Equal(t, at5MHz(11*372+16*960*372), p.BWT(atr.DefaultRate(), f))

	for bwi, factor := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512} {
		require.Equal(t, at5MHz(11*32+factor*960*372), atr.T1Parameters{BWI: bwi}.BWT(r, f))
	}
	require.Zero(t, atr.T1Parameters{BWI: 10}.BWT(r, f), "reserved")
	require.Zero(t, atr.T1Parameters{BWI: -1}.BWT(r, f))
	require.Equal(t, 11+1, atr.T1Parameters{CWI: 0}.CWTETU())
	require.Equal(t, 11+32768, atr.T1Parameters{CWI: 15}.CWTETU())
	require.Equal(t, "LRC", atr.LRC.String())
	require.Equal(t, "CRC", atr.CRC.String())
}

func TestT1ParametersAreTheFirst(t *testing.T) {
	// TA3 is for T=0 and says nothing of T=1; TA4 is IFSC; TA5, for T=1 too, is not.
	a := parse(t, "3B 80 80 90 20 91 30 11 40 D1")
	require.Equal(t, 0x30, a.T1Parameters().IFSC)
}

func TestClassesAndClockStop(t *testing.T) {
	for _, c := range []struct {
		ta      byte
		stop    atr.ClockStop
		classes string
	}{
		{0x01, atr.ClockStopNotSupported, "class A (5 V)"},
		{0x42, atr.ClockStopLow, "class B (3 V)"},
		{0x84, atr.ClockStopHigh, "class C (1.8 V)"},
		{0xC3, atr.ClockStopAny, "class A (5 V), B (3 V)"},
		{0x06, atr.ClockStopNotSupported, "class B (3 V), C (1.8 V)"},
		{0x07, atr.ClockStopNotSupported, "class A (5 V), B (3 V), C (1.8 V)"},
		{0x05, atr.ClockStopNotSupported, "reserved class indicator 05"},
		{0x00, atr.ClockStopNotSupported, "reserved class indicator 00"},
		{0x3F, atr.ClockStopNotSupported, "reserved class indicator 3F"},
	} {
		a, err := atr.Parse([]byte{0x3B, 0x80, 0x80, 0x1F, c.ta, 0x1F ^ c.ta})
		require.NoError(t, err)
		require.Equal(t, c.stop, a.ClockStop())
		require.Equal(t, c.classes, a.Classes().String())
	}
	require.Equal(t, atr.ClassA, parse(t, multiflex).Classes(), "the default")
}

func TestSPU(t *testing.T) {
	for tb, want := range map[byte]string{
		0x00: "SPU not used",
		0x82: "SPU in proprietary use 02",
		0x02: "SPU in standard use 02 (reserved)",
	} {
		a, err := atr.Parse([]byte{0x3B, 0x80, 0x80, 0x2F, tb, 0x2F ^ tb})
		require.NoError(t, err)
		require.Equal(t, want, a.SPU().String())
		require.Equal(t, tb != 0, a.SPU().Used())
		require.Equal(t, tb >= 0x80, a.SPU().Proprietary())
	}
}
