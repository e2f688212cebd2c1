// Command worker measures one operation with the backend that it was built
// with, in a process of its own. Package bench builds and runs it.
//
//	worker [-library FILE] OPERATION N
//	worker -first
//
// It prints the operation and what doing it once costs: nanoseconds, allocations
// and bytes allocated. With -first it prints the nanoseconds from the time in
// BENCH_STARTED to the first list of readers.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/gopcsc/gopcsc/internal/bench"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "worker (%s): %v\n", bench.BackendName, err)
		os.Exit(1)
	}
}

func run() error {
	library := flag.String("library", "", "library to load, purego only")
	first := flag.Bool("first", false, "measure the time to the first list of readers")
	flag.Parse()
	if *first {
		return firstList()
	}
	if flag.NArg() != 2 {
		return errors.New("usage: worker [-library FILE] OPERATION N")
	}
	op, err := bench.Find(flag.Arg(0))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(flag.Arg(1))
	if err != nil {
		return err
	}
	s, err := bench.Open(*library)
	if err != nil {
		return err
	}
	defer s.Close()
	loop, err := s.Prepare(op)
	if err != nil {
		return err
	}
	m, err := bench.Measure(loop, n)
	if err != nil {
		return err
	}
	fmt.Printf("%s %.1f %d %d\n", op.Name, m.Nanoseconds, m.Allocations, m.Bytes)
	return nil
}

func firstList() error {
	started, err := strconv.ParseInt(os.Getenv("BENCH_STARTED"), 10, 64)
	if err != nil {
		return fmt.Errorf("BENCH_STARTED: %w", err)
	}
	if err := bench.FirstList(); err != nil {
		return err
	}
	fmt.Printf("first %d\n", time.Now().UnixNano()-started)
	return nil
}
