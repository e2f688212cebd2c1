package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// buildPrograms compiles and links what programs are made of.
func buildPrograms(r run) outcome {
	began := time.Now()
	o := outcome{run: r}
	dir, err := os.MkdirTemp("", "matrix-*")
	if err != nil {
		o.wrong = []string{err.Error()}
		return o
	}
	defer os.RemoveAll(dir)
	args := []string{"build", "-o", dir, "-tags=" + r.tag}
	if r.flags != "" {
		args = append(args, r.flags)
	}
	cmd := exec.Command("go", append(args, r.what...)...)
	cmd.Env = r.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		o.wrong = []string{fmt.Sprintf("%v\n%s", err, out)}
	}
	o.took = time.Since(began)
	return o
}
