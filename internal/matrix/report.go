package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// report counts and prints how runs went.
type report struct {
	verbose                        bool
	vetted, built, failed, skipped int
	said                           map[string]bool
}

// possible reports whether there is what a run needs. Under PCSC_MUST_RUN=1 it fails if there is not.
func (rep *report) possible(r run) bool {
	if !r.cgo {
		return true
	}
	_, err := exec.LookPath(strings.Fields(r.cc)[0])
	if err == nil {
		return true
	}
	if os.Getenv("PCSC_MUST_RUN") == "1" {
		fmt.Printf("FAIL %s: %v\n", r, err)
		rep.failed++
	} else {
		fmt.Printf("skip %s: %v\n", r, err)
		rep.skipped++
	}
	return false
}

// done says how a run went. What is wrong with one target is mostly wrong with many: it is printed once.
func (rep *report) done(count *int, how string, o outcome) {
	if len(o.wrong) == 0 {
		*count++
		if rep.verbose {
			fmt.Printf("ok   %s %s %.1fs\n", how, o.run, o.took.Seconds())
		}
		return
	}
	rep.failed++
	fmt.Printf("FAIL %s %s\n", how, o.run)
	repeated := 0
	for _, text := range o.wrong {
		if rep.said[text] {
			repeated++
			continue
		}
		rep.said[text] = true
		fmt.Println(text)
	}
	if repeated > 0 {
		fmt.Printf("and %d that are above\n", repeated)
	}
}
