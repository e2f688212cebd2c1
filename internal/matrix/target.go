package main

import (
	"go/build"
	"slices"
	"time"
)

// A target has the packages of its runs.
type target struct {
	*world
	runs     []loaded
	unlisted []outcome // runs whose packages the go command did not list
}

// An outcome is what is wrong with a run, if anything.
type outcome struct {
	run
	took  time.Duration
	wrong []string
}

// listed yields the targets of runs in a folder; the runs of a target are neighbours. While one target is vetted, the go
// command lists the files of the next.
func listed(runs []run, dir string) <-chan target {
	ready := make(chan target)
	src := newSource()
	go func() {
		defer close(ready)
		for len(runs) > 0 {
			n := slices.IndexFunc(runs, func(r run) bool { return r.target() != runs[0].target() })
			if n < 0 {
				n = len(runs)
			}
			t := target{world: newWorld(src, runs[0].goarch)}
			for _, r := range runs[:n] {
				l, err := t.load(r, dir)
				if err != nil {
					t.unlisted = append(t.unlisted, outcome{run: r, wrong: []string{err.Error()}})
					continue
				}
				t.runs = append(t.runs, l)
			}
			runs = runs[n:]
			ready <- t
		}
	}()
	return ready
}

// vet vets all runs of a target.
func (t target) vet() []outcome {
	outcomes := t.unlisted
	if len(t.runs) == 0 {
		return outcomes
	}
	began := time.Now()
	// Analyzers of assembly ask this for the target.
	build.Default.GOOS, build.Default.GOARCH = t.runs[0].goos, t.runs[0].goarch
	t.check()
	found, err := vet(t.runs)
	for _, l := range t.runs {
		o := outcome{run: l.run, took: time.Since(began), wrong: found.of(l.all)}
		if err != nil {
			o.wrong = append(o.wrong, err.Error())
		}
		outcomes = append(outcomes, o)
		began = time.Now() // what the first needed the others share
	}
	return outcomes
}
