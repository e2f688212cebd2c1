package pcsc

import "time"

// eventCounter makes the number of insertions and removals out of the counter of a reader.
//
// Each event makes the counter one more and the card there or not there, so an odd step of the counter goes with a
// change of the state, and an even one with none. If they do not fit, one of two readings was taken between the
// service's two writes, of which the state comes first: the state was one event ahead of the counter. Where nothing
// counts, the state always is.
type eventCounter struct {
	count  uint16    // events so far, as far as the state shows them
	ahead  bool      // count is more than was read
	first  time.Time // when the first reading was taken, of which nobody knows whether it was ahead
	proved bool      // the first reading was right, or has been put right
}

// settleTime is how long a first reading may have been ahead. The service's two writes are next to each other; the
// time is for one that is held up between them.
const settleTime = time.Second

// start takes the first reading.
func (c *eventCounter) start(read uint16, now time.Time) {
	*c = eventCounter{count: read, first: now}
}

// advance takes the next reading and returns how many events have happened since the last; changed says whether the
// state is another one. It returns a number less than zero if the counter went back: it is another reader's.
func (c *eventCounter) advance(read uint16, changed bool, now time.Time) int {
	step := int16(read - c.count) // the counter wraps around
	switch {
	case c.ahead && (step == -1 || step == -2) && !changed: // nothing was counted
		return 0
	case c.ahead && step == -1 && read == 0: // nothing ever is: the state is as it was before it was ahead
		c.count, c.ahead = read, false
		return 1
	case c.ahead && step == -1: // it was ahead for another reason
		c.count++
		return 1
	case step < 0:
		return -1
	case (step%2 != 0) == changed:
		if step > 0 {
			c.proved = true
		}
		c.count, c.ahead = read, false
		return int(step)
	case step > 0 && !c.proved && now.Sub(c.first) < settleTime: // the first reading was ahead
		c.count, c.ahead, c.proved = read, false, true
		return int(step) - 1
	}
	c.count, c.ahead, c.proved = read+1, true, true
	return int(step) + 1
}
