//go:build cgo

package backendcgo

import (
	"sync"

	"github.com/gopcsc/gopcsc/internal/callbuf"
)

// buffers are the memory of calls, used again.
var buffers = sync.Pool{New: func() any { return new(callbuf.Buffer) }}

func freeBuffer(b *callbuf.Buffer) {
	b.Reset()
	buffers.Put(b)
}
