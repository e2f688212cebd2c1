// Package bench compares what PC/SC costs a C program, the cgo backend and the
// purego backend.
//
//	go test ./internal/bench -run TestTable -count=1 -v -bench-table
//
// prints a table of four parts. In the first, all three call the same library,
// which returns at once: what is left is the cost of the binding. In the second
// they call the stub library of package cstub, which checks its arguments. In the
// third they talk to the same private pcscd with one virtual card (package
// pcscdtest), as programs do. The fourth is not about bindings: the C program
// alone talks to the virtual service on its socket and to pcscd.
//
// # How it is measured
//
// Every figure comes from a process of its own: the C program of package cstub
// and the command in folder worker, built once for each backend. The three take
// turns, round after round, so that whatever slows the machine down for a while
// hits all of them; in the fourth part the services do. The table has the medians
// over the rounds, and the ratio to the median of C in the same run. Everything,
// pcscd and the card included, is pinned to one CPU: a round trip that wanders
// between CPUs costs several times as much, and not always the same.
//
// Nothing here asserts a speed. Allocations are exact, and TestAllocations
// asserts them.
//
// # Other ways to use it
//
// With -bench-lines=FILE every single measurement is written to FILE in the
// format of Go benchmarks, for example for benchstat -col /impl. The ordinary
// benchmarks
//
//	go test ./internal/bench -run '^$' -bench .
//	go test ./internal/bench -run '^$' -bench . -tags pcsc_purego
//
// run the same operations on the stub library in the test's own process, which
// makes profiles easy. The tag purego would select the same backend, but it also
// switches off the assembly in the standard library.
package bench
