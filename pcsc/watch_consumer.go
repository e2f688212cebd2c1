package pcsc

import (
	"context"
	"errors"
	"strings"

	"github.com/gopcsc/gopcsc/generated/winscard"
)

// consumer is the loop over a watch, in the goroutine of the program.
type consumer struct {
	ctx     context.Context
	context *contextState // whose Close ends the watch; may be nil
	yield   func(Event, error) bool
	began   func() bool // called after the snapshot if it is not nil; false ends the watch
}

// errLeft ends a watch whose consumer is not to hear of it.
var errLeft = errors.New("pcsc: the loop was left")

// watch is the whole watch.
func (c *consumer) watch(b winscard.Backend, o *watchOptions) {
	if err := c.follow(b, o); err != errLeft {
		c.yield(Event{}, err)
	}
}

func (c *consumer) follow(b winscard.Backend, o *watchOptions) error {
	for _, name := range o.readers {
		switch {
		case name == "":
			return &Error{Op: opGetStatusChange, Code: ErrUnknownReader, Detail: "the name of a reader is empty"}
		case strings.IndexByte(name, 0) >= 0:
			return &Error{Op: opGetStatusChange, Reader: name, Code: ErrInvalidParameter, Detail: "name contains a NUL"}
		}
	}
	s := subscribe(b, o)
	defer s.unsubscribe() // also if the loop's body panics
	for began := c.began; ; began = nil {
		news, err := c.next(s)
		if err != nil {
			return err
		}
		for i := range news {
			if err := news[i].tell(c.emit); err != nil {
				return err
			}
		}
		if began != nil && !began() {
			return errLeft
		}
	}
}

// emit yields an event, unless the watch has to end.
func (c *consumer) emit(e Event) error {
	if err := c.check(); err != nil {
		return err
	}
	if !c.yield(e, nil) {
		return errLeft
	}
	return nil
}

// check says why the watch has to end.
func (c *consumer) check() error {
	switch {
	case c.ctx.Err() != nil:
		return endedError(c.ctx, opGetStatusChange, "", "")
	case c.context != nil && c.context.isClosed():
		return invalidUse(opGetStatusChange, "", closedContext)
	}
	return nil
}

// next waits for news.
func (c *consumer) next(s *subscription) ([]change, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	stop, leave, err := c.enter()
	if err != nil {
		return nil, err
	}
	for {
		news, err := s.take()
		if news != nil || err != nil {
			_ = leave() // why it would have ended
			return news, err
		}
		select {
		case <-s.ready:
			continue
		case <-c.ctx.Done():
		case <-stop:
		}
		s.unsubscribe()
		return nil, leave()
	}
}

// enter makes the watch one of the Context's waits until leave, though one without a native context that the Context
// knows of. stop is closed when it has to end, and leave says why. The Context waits for leave; so the watch is none of
// its waits while the loop's body is at work, which may be what closes the Context.
func (c *consumer) enter() (stop <-chan struct{}, leave func() error, err error) {
	s := c.context
	if s == nil {
		return nil, c.check, nil
	}
	reg := &wait{s: s, stop: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, invalidUse(opGetStatusChange, "", closedContext)
	}
	s.waits[reg] = struct{}{}
	return reg.stop, func() error {
		s.mu.Lock()
		why := reg.ended
		delete(s.waits, reg)
		s.mu.Unlock()
		close(reg.gone)
		switch {
		case c.ctx.Err() != nil:
			return endedError(c.ctx, opGetStatusChange, "", "")
		case why == endedByClose:
			return &Error{Op: opGetStatusChange, Code: ErrCancelled, Detail: "the Context was closed"}
		}
		return &Error{Op: opGetStatusChange, Code: ErrCancelled}
	}, nil
}
