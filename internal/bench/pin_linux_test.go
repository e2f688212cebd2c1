package bench

import (
	"errors"

	"golang.org/x/sys/unix"
)

// pin binds the calling thread, and all that it starts from now on, to one CPU:
// the last that it may use, as the first is the one that the system is busiest
// on.
func pin() error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	for cpu := len(all)*64 - 1; cpu >= 0; cpu-- {
		if all.IsSet(cpu) {
			one.Set(cpu)
			return unix.SchedSetaffinity(0, &one)
		}
	}
	return errors.New("no CPU to use")
}
