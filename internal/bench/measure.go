package bench

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// A Measurement is what an operation costs once.
type Measurement struct {
	Nanoseconds float64
	Allocations int
	Bytes       int
}

// Measure does an operation n times and some more, see [Session.Prepare].
func Measure(run func(n int) error, n int) (Measurement, error) {
	if n < 1 {
		return Measurement{}, fmt.Errorf("%d times is too few", n)
	}
	// The first calls bind symbols, fill caches and allocate what is used again.
	if err := run(n/10 + 1); err != nil {
		return Measurement{}, err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := run(n)
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	if err != nil {
		return Measurement{}, err
	}

	m := Measurement{
		Nanoseconds: float64(elapsed.Nanoseconds()) / float64(n),
		// Rounded down, as the allocations below are: now and then the collector empties the pools.
		Bytes: int((after.TotalAlloc - before.TotalAlloc) / uint64(n)),
	}
	m.Allocations = int(testing.AllocsPerRun(min(n, 1000), func() {
		if e := run(1); e != nil {
			err = e
		}
	}))
	return m, err
}
