//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gopcsc/gopcsc/spec"
)

// compareClaims adds a failure for each backend of a target that the spec says a make target runs and that has no result,
// and for each that has one and that the spec does not know of: the reference tables say what the spec says.
func (s *session) compareClaims(makeTarget string) error {
	sp, err := spec.LoadDir(filepath.Join(s.module, "spec"))
	if err != nil {
		return err
	}
	type row struct{ platform, backend string }
	var claims, rows []row
	for _, p := range sp.Platforms {
		for _, proof := range p.Proofs {
			platform := proof.Target
			if proof.Libc != "" {
				platform += " " + proof.Libc
			}
			for backend, by := range map[string]string{"dlopen": proof.Dlopen, "cgo": proof.Cgo} {
				if by == makeTarget && s.wanted(platform, backend) {
					claims = append(claims, row{platform, backend})
				}
			}
		}
	}
	for _, r := range s.results {
		rows = append(rows, row{r.Platform, r.Backend})
	}
	for _, c := range claims {
		if !slices.Contains(rows, c) {
			s.addError(result{Platform: c.platform, Backend: c.backend, Suite: "all"},
				fmt.Errorf("spec/platforms.yaml says that make %s runs it, and it has no test here", makeTarget))
		}
	}
	for _, r := range rows {
		if !slices.Contains(claims, r) {
			s.addError(result{Platform: r.platform, Backend: r.backend, Suite: "all"},
				fmt.Errorf("spec/platforms.yaml does not say that make %s runs it: add it to the proofs", makeTarget))
		}
	}
	return nil
}
