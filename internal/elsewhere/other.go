//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "elsewhere: only Linux can run the programs of other systems")
	os.Exit(1)
}
