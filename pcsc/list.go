package pcsc

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/internal/cstring"
)

const (
	listSize    = 4 << 10 // fits pcsc-lite's 16 readers of 128 bytes
	listMaxSize = 1 << 20
)

// ListReaders returns the names of all readers, in the service's order. No reader is an empty slice, never nil, and
// not an error. It is the equivalent of SCardListReaders ([pcsc-lite], [Windows]).
//
// Two calls can differ, as readers come and go; one call is consistent.
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardlistreadersw
func (c *Context) ListReaders(ctx context.Context) ([]string, error) {
	return c.ListReadersInGroups(ctx)
}

// ListReadersInGroups is [Context.ListReaders] for the readers of the named groups; none stands for all readers.
// Not every platform has groups, and one that has none lists all readers. See [DefaultReaders] and
// [Context.ListReaderGroups].
func (c *Context) ListReadersInGroups(ctx context.Context, groups ...string) ([]string, error) {
	groups = slices.Clone(groups) // the caller may change them while a call that was given up goes on
	return c.list(ctx, opListReaders, "",
		func(b winscard.Backend, h winscard.Context, buf []byte) (int, winscard.Code) {
			return b.ListReaders(h, groups, buf)
		})
}

// ListReaderGroups returns the names of the reader groups, [DefaultReaders] alone where there are no others. It is the
// equivalent of SCardListReaderGroups ([pcsc-lite], [Windows]).
//
// [pcsc-lite]: https://pcsclite.apdu.fr/api/group__API.html
// [Windows]: https://learn.microsoft.com/windows/win32/api/winscard/nf-winscard-scardlistreadergroupsw
func (c *Context) ListReaderGroups(ctx context.Context) ([]string, error) {
	return c.list(ctx, opListReaderGroups, "",
		func(b winscard.Backend, h winscard.Context, buf []byte) (int, winscard.Code) {
			return b.ListReaderGroups(h, buf)
		})
}

// Readers is [Context.ListReaders] as an iterator. The readers are listed when the iteration starts. An error is
// yielded once, with an empty name, and ends the iteration.
func (c *Context) Readers(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := c.ListReaders(ctx)
		if err != nil {
			yield("", err)
			return
		}
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// ListReadersWithCard returns the names of the readers that hold a card, mute ones included. It lists the readers and
// asks for their states, without waiting.
func (c *Context) ListReadersWithCard(ctx context.Context) ([]string, error) {
	// A reader that leaves between the two calls makes the second one fail for all: begin again, and not forever.
	for try := 1; ; try++ {
		names, err := c.listWithCard(ctx)
		if err == nil || try == 3 || !errors.Is(err, ErrUnknownReader) {
			return names, err
		}
	}
}

func (c *Context) listWithCard(ctx context.Context) ([]string, error) {
	names, err := c.ListReaders(ctx)
	if err != nil {
		return nil, err
	}
	with := []string{}
	// No platform takes fewer readers in one call.
	for part := range slices.Chunk(names, winscard.MaximumSmartcardReaders) {
		states := make([]ReaderState, len(part))
		for i, name := range part {
			states[i] = NewReaderState(name)
		}
		if err := c.GetStatusChangeTimeout(ctx, 0, states); err != nil && !errors.Is(err, ErrTimeout) {
			return nil, err
		}
		if err := checkContext(ctx, opGetStatusChange, ""); err != nil {
			return nil, err // ErrTimeout above may have been ctx's
		}
		for i := range states {
			if states[i].EventState&StatePresent != 0 {
				with = append(with, states[i].Reader)
			}
		}
	}
	return with, nil
}

// fillBuffer is a call that fills a buffer and says how long its data is, or has to be.
type fillBuffer func(b winscard.Backend, h winscard.Context, buf []byte) (int, winscard.Code)

// list makes a call that fills a buffer with a multi-string. reader is for the error.
func (c *Context) list(ctx context.Context, op, reader string, f fillBuffer) ([]string, error) {
	got, err := c.fill(ctx, op, reader, func(b winscard.Backend, h winscard.Context, buf []byte) (int, winscard.Code) {
		n, rc := f(b, h, buf)
		if rc == winscard.ErrNoReadersAvailable { // the list is empty
			return 0, winscard.Success
		}
		return n, rc
	})
	if err != nil {
		return nil, err
	}
	return cstring.Split(got), nil
}

// text is list for a call that fills the buffer with one string.
func (c *Context) text(ctx context.Context, op, reader string, f fillBuffer) (string, error) {
	got, err := c.fill(ctx, op, reader, f)
	if err != nil {
		return "", err
	}
	return cstring.String(got), nil
}

// fill makes a call that fills a buffer, which grows until its data fits.
func (c *Context) fill(ctx context.Context, op, reader string, f fillBuffer) ([]byte, error) {
	return fillContext(ctx, c, op, reader, listSize, listMaxSize, 1, f)
}

// guids is fill for a buffer of GUIDs.
func (c *Context) guids(ctx context.Context, op, reader string,
	f func(winscard.Backend, winscard.Context, []GUID) (int, winscard.Code),
) ([]GUID, error) {
	const size = 16
	return fillContext(ctx, c, op, reader, listSize/size, listMaxSize/size, size, f)
}

// fillContext is fill for a buffer of elements of the given size, from start to limit of them.
func fillContext[T any](ctx context.Context, c *Context, op, reader string, start, limit, size int,
	f func(winscard.Backend, winscard.Context, []T) (int, winscard.Code),
) ([]T, error) {
	got, err := contextCall(ctx, c, op, reader, false, func(b winscard.Backend, h winscard.Context) (filled[T], winscard.Code) {
		return grow(start, limit, makeSlice[T], func(buf []T) (int, winscard.Code) { return f(b, h, buf) })
	}, nil)
	return got.data, addNeeded(err, got.needed*size)
}

// addNeeded adds to err the number of bytes that were missing.
func addNeeded(err error, needed int) error {
	if e, ok := err.(*Error); ok {
		e.Needed = needed
	}
	return err
}
