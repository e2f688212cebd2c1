// Package conformance is one suite of tests that every PC/SC backend passes:
// the cgo and the dlopen backend on a real pcscd, the virtual service, and
// whatever is added later.
//
// [Run] works on the raw contract, [winscard.Backend], and so sees exactly what
// the backend makes of each call. What it expects is what libpcsclite 1.9.9 and
// pcscd 1.9.9 do, found by trying. Where another service may differ, it says so
// in its [Quirks]; what a service cannot do at all is missing from its
// [Features], and the subtests that need it are left out.
//
// The files api_*_test.go test the same matters one floor up, through package
// pcsc; stub_test.go tests the passing of arguments against a C library that
// checks everything it is given.
//
// # Time
//
// vpcd looks for cards every 400 ms, so an insertion costs up to that. Subtests
// share one service and leave its cards where they are, except in the reader
// that is there for insertions. Order is proven by what the card received, not
// by the clock; the few durations are upper bounds on hangs, or lower bounds
// on time-outs.
package conformance
