package pinclient

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The Go of the guide is that of the tests, as it is.
func TestGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/testing.md")
	require.NoError(t, err)
	tests, err := os.ReadFile("client_test.go")
	require.NoError(t, err)
	blocks := strings.Split(string(guide), "```go\n")[1:]
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		block, _, ok := strings.Cut(block, "```")
		require.True(t, ok)
		require.Contains(t, string(tests), block)
	}
}
