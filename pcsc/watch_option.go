package pcsc

import (
	"slices"
	"time"
)

// A WatchOption changes how [Watch] works. The function Watch also takes the options of [EstablishContext], of which
// [WithContext] has no effect; [Context.Watch] refuses them.
type WatchOption interface {
	applyWatch(*watchOptions)
}

type watchOptions struct {
	options
	scope      Scope
	scoped     bool     // WithScope was given
	readers    []string // to watch; nil for all
	changes    bool     // no snapshot
	poll       time.Duration
	backoffMin time.Duration
	backoffMax time.Duration
}

// Defaults.
const (
	watchPoll       = 2 * time.Second
	watchBackoffMin = 10 * time.Millisecond
	watchBackoffMax = 2 * time.Second
)

func newWatchOptions(opts []WatchOption) *watchOptions {
	o := &watchOptions{
		scope:      ScopeSystem,
		poll:       watchPoll,
		backoffMin: watchBackoffMin,
		backoffMax: watchBackoffMax,
	}
	for _, opt := range opts {
		if opt != nil {
			opt.applyWatch(o)
		}
	}
	return o
}

func (opt Option) applyWatch(o *watchOptions) {
	if opt != nil {
		opt(&o.options)
	}
}

type watchOption func(*watchOptions)

func (opt watchOption) applyWatch(o *watchOptions) { opt(o) }

// WithReaders makes a watch tell of the named readers only; they need not be there yet. Without names, the watch tells
// of all readers, which is the default.
func WithReaders(names ...string) WatchOption {
	names = slices.Clone(names)
	return watchOption(func(o *watchOptions) { o.readers = names })
}

// WithoutSnapshot makes a watch leave out what is there when it begins. What is there when the service comes up later
// is not left out.
func WithoutSnapshot() WatchOption {
	return watchOption(func(o *watchOptions) { o.changes = true })
}

// WithScope sets the scope of a watch's native context. The default is the Context's or, without one, ScopeSystem.
func WithScope(scope Scope) WatchOption {
	return watchOption(func(o *watchOptions) { o.scope, o.scoped = scope, true })
}

// WithPollInterval sets how often readers are listed where the service does not tell of readers that come. The default
// is 2 s; 0 and less stand for it.
func WithPollInterval(d time.Duration) WatchOption {
	return watchOption(func(o *watchOptions) {
		if o.poll = d; d <= 0 {
			o.poll = watchPoll
		}
	})
}

// WithBackoff sets the pauses between attempts to reach a service that is down: the first lasts about the time first,
// and each one twice as long as the one before, up to longest. So that many watches do not come all at once, a pause is
// shortened by up to a quarter, at random. The defaults are 10 ms and 2 s; 0 and less stand for them.
func WithBackoff(first, longest time.Duration) WatchOption {
	return watchOption(func(o *watchOptions) {
		if o.backoffMin = first; first <= 0 {
			o.backoffMin = watchBackoffMin
		}
		if o.backoffMax = longest; longest <= 0 {
			o.backoffMax = watchBackoffMax
		}
		o.backoffMax = max(o.backoffMin, o.backoffMax)
	})
}
