package gen

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Dirs are the directories, below the module's root, that hold generated files, and how such a file is known: in
// generated/ all are, elsewhere those whose name starts with z.
var Dirs = []string{"generated", "backend_cgo", "backend_purego", "pcsc"}

// subDirs are the packages below a directory of Dirs that hold generated files too.
var subDirs = []string{"pcsc/iso7816"}

// Generated reports whether a path below the module's root is that of a generated file.
func Generated(path string) bool {
	path = filepath.ToSlash(path)
	dir, base := filepath.ToSlash(filepath.Dir(path)), filepath.Base(path)
	if dir == "generated" || strings.HasPrefix(dir, "generated/") {
		return true
	}
	return strings.HasPrefix(base, "z") && strings.HasSuffix(base, ".go") && (slices.Contains(Dirs, dir) || slices.Contains(subDirs, dir))
}

// Change is a file that differs from what the spec gives.
type Change struct {
	Path     string
	Old, New []byte // nil if there is none
}

// Diff returns the change as a unified diff.
func (c Change) Diff() string {
	from, to := "a/"+c.Path, "b/"+c.Path
	if c.Old == nil {
		from = "/dev/null"
	}
	if c.New == nil {
		to = "/dev/null"
	}
	return udiff.Unified(from, to, string(c.Old), string(c.New))
}

// Changes compares the files with the tree below root: those that are missing, that differ, and orphans that no
// longer come from the spec.
func Changes(root string, files []File) ([]Change, error) {
	var changes []Change
	want := map[string]bool{}
	for _, f := range files {
		want[f.Path] = true
		old, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f.Path)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("gen: %w", err)
		}
		if err != nil || !bytes.Equal(old, f.Content) {
			changes = append(changes, Change{Path: f.Path, Old: old, New: f.Content})
		}
	}
	for _, dir := range Dirs {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			rel = filepath.ToSlash(rel)
			if Generated(rel) && !want[rel] {
				old, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				changes = append(changes, Change{Path: rel, Old: old})
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("gen: %w", err)
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return changes, nil
}

// Write brings the changes to the tree below root and calls done after each. Only files that differ are touched, each
// is replaced as a whole. If there is a file that the generator did not write where one of its own would be, nothing is
// changed at all.
func Write(root string, changes []Change, done func(Change)) error {
	for _, c := range changes {
		if c.Old != nil && !isGenerated(c.Old) {
			return fmt.Errorf("gen: %s has the name of a generated file but was not generated; rename or delete it", c.Path)
		}
	}
	for _, c := range changes {
		path := filepath.Join(root, filepath.FromSlash(c.Path))
		var err error
		if c.New == nil {
			err = os.Remove(path)
		} else {
			err = replace(path, c.New)
		}
		if err != nil {
			return fmt.Errorf("gen: %w", err)
		}
		done(c)
	}
	return nil
}

func isGenerated(src []byte) bool {
	f, err := parser.ParseFile(token.NewFileSet(), "", src, parser.ParseComments|parser.PackageClauseOnly)
	return err == nil && ast.IsGenerated(f)
}

// replace writes a file beside its place and renames it, so that nobody sees half of it.
func replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".pcscgen-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
