package pcscdtest

import (
	"fmt"
	"os"
	"testing"
)

// MaxReaders is the largest number of readers that one pcscd serves
// (PCSCLITE_MAX_READERS_CONTEXTS).
const MaxReaders = 16

// Main prepares the process as [Prepare] does, runs the tests and exits. It is
// to be called from TestMain.
func Main(m *testing.M) {
	Prepare()
	os.Exit(m.Run())
}

// Skip skips the test because something it needs cannot exist here. With
// PCSC_MUST_RUN=1 in the environment the test fails instead, so that a suite
// that is meant to run cannot pass by skipping itself.
func Skip(tb testing.TB, format string, args ...any) {
	tb.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv("PCSC_MUST_RUN") == "1" {
		tb.Fatalf("must not be skipped (PCSC_MUST_RUN=1): %s", reason)
	}
	tb.Skip(reason)
}

// An Option changes how [Start] and [Service.Restart] set up the service.
type Option func(*config)

type config struct {
	readers int
	names   []string
	args    []string
	driver  string
	driven  []string
	hotPlug bool
}

// WithReaders sets the number of readers, 0 to [MaxReaders]. The default is 1.
func WithReaders(n int) Option { return func(c *config) { c.readers = n } }

// WithNames names the readers, in order; those without a name of their own are
// called "Virtual Reader A" and so on. It sets the number of readers as well.
// pcscd appends " 00 00" to each and cuts what is longer than 127 bytes with
// it. A name can't contain a quote or a newline.
func WithNames(names ...string) Option {
	return func(c *config) { c.names, c.readers = names, len(names) }
}

// WithHotPlug makes USB readers of vpcd's, so that [Service.AddReader] and [Service.RemoveReader] work. It needs a C
// compiler.
func WithHotPlug() Option { return func(c *config) { c.hotPlug = true } }

// WithArgs adds arguments to pcscd's command line, such as "--debug" and
// "--apdu" for a complete log.
func WithArgs(args ...string) Option { return func(c *config) { c.args = args } }

// WithDriver adds readers with those names that another driver serves, an IFD
// handler at an absolute path outside /run. They come after those of vpcd, and
// what is in them is the driver's business: [Service.Insert] and
// [Service.Remove] are not for them. The driver is loaded once for all of them;
// it has to say that it serves as many (TAG_IFD_SIMULTANEOUS_ACCESS).
func WithDriver(path string, names ...string) Option {
	return func(c *config) { c.driver, c.driven = path, names }
}
