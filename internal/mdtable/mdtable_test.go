package mdtable

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tables.md")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("# T\n\n|a|b|\n|---|---|\n| 1 | 2 |\n|3||\n\n## S\ntext\n| c |\n|---|\n| 4 |\n")
	tables, err := Read(file)
	require.NoError(t, err)
	require.Equal(t, []Table{
		{"", []string{"a", "b"}, [][]string{{"1", "2"}, {"3", ""}}},
		{"S", []string{"c"}, [][]string{{"4"}}},
	}, tables)
	write("|a|b|\n|---|---|\n|1|\n")
	_, err = Read(file)
	require.ErrorContains(t, err, "not as many cells")
}
