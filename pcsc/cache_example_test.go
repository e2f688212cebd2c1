package pcsc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// cachedFile gets a file of a card from the cache of Windows, or else from the card, for those who come next. revision
// is what the card counts when it is written to, so that nobody gets what is no longer on it.
func cachedFile(ctx context.Context, c *pcsc.Context, cardID pcsc.GUID, revision uint32, name string, read func() ([]byte, error)) ([]byte, error) {
	data, err := c.ReadCache(ctx, cardID, revision, name)
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, errors.ErrUnsupported): // on other systems there is no cache
		return read()
	case !errors.Is(err, pcsc.ErrCacheItemNotFound) && !errors.Is(err, pcsc.ErrCacheItemStale):
		return nil, err
	}
	if data, err = read(); err != nil {
		return nil, err
	}
	err = c.WriteCache(ctx, cardID, revision, name, data)
	if err != nil && !errors.Is(err, pcsc.ErrCacheItemTooBig) { // that one has to be read each time
		return nil, err
	}
	return data, nil
}

// A file is read from the card once, and again when the card has a later revision of it.
func ExampleContext_ReadCache() {
	// On Windows no backend needs to be given; this one has a cache on every system.
	c, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(&cachingBackend{Backend: virtual.New()}))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	cardID, err := pcsc.ParseGUID("6f5a3f9b-0c1d-4e2a-8b7c-112233445566") // which the card tells
	if err != nil {
		log.Fatal(err)
	}
	for _, revision := range []uint32{1, 1, 2} {
		from := "the cache"
		data, err := cachedFile(context.Background(), c, cardID, revision, "certificate", func() ([]byte, error) {
			from = "the card"
			return fmt.Appendf(nil, "certificate of revision %d", revision), nil
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s, from %s\n", data, from)
	}
	// Output:
	// certificate of revision 1, from the card
	// certificate of revision 1, from the cache
	// certificate of revision 2, from the card
}

// cachingBackend adds the cache to a backend that has none.
type cachingBackend struct {
	winscard.Backend
	mu    sync.Mutex
	items map[cacheKey]cacheItem
}

type cacheKey struct {
	card winscard.GUID
	name string
}

type cacheItem struct {
	revision uint32
	data     string
}

func (b *cachingBackend) ReadCache(_ winscard.Context, card winscard.GUID, revision uint32, name string, data []byte) (int, winscard.Code) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := cacheKey{card, name}
	item, ok := b.items[key]
	switch {
	case !ok:
		return 0, winscard.ErrCacheItemNotFound
	case item.revision != revision:
		delete(b.items, key)
		return 0, winscard.ErrCacheItemStale
	case len(data) < len(item.data):
		return len(item.data), winscard.ErrInsufficientBuffer
	}
	return copy(data, item.data), winscard.Success
}

func (b *cachingBackend) WriteCache(_ winscard.Context, card winscard.GUID, revision uint32, name string, data []byte) winscard.Code {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.items == nil {
		b.items = map[cacheKey]cacheItem{}
	}
	b.items[cacheKey{card, name}] = cacheItem{revision, string(data)}
	return winscard.Success
}
