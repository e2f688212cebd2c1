//go:build !unix

package bench

import "testing"

func socket(t *testing.T, _ runner) { t.Skip("libpcsclite has no socket here") }
