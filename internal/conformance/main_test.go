package conformance

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/internal/cstub"
	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

func TestMain(m *testing.M) {
	if !pcscdtest.HasRemote() {
		pcscdtest.Prepare()
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		cstub.Clean()
		os.Exit(code)
	}))
}
