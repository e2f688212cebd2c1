//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A mirror is where the machine's own packages come from. Without apt's lists there is no url, which is enough while there
// is nothing to fetch.
type mirror struct{ url, suite string }

// findMirror asks apt, which knows by what the machine was installed from.
func findMirror(ctx context.Context) (*mirror, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(CODENAME) $(COMPONENT)",
		"Identifier: Packages").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get: %w; it takes a Debian machine", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 4 && f[1] == "Debian" && f[3] == "main" && !strings.ContainsRune(f[2], '-') {
			m := &mirror{f[0], f[2]}
			if url := os.Getenv(mirrorEnv); url != "" {
				m.url = url
			}
			return m, nil
		}
	}
	m := &mirror{url: os.Getenv(mirrorEnv)}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(release)) {
		if name, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			m.suite = strings.TrimSpace(name)
		}
	}
	return m, nil
}

func (m *mirror) suiteOf(a *arch) string {
	if a.suite != "" {
		return a.suite
	}
	return m.suite
}

func (s *session) rootPath(m *mirror, a *arch) string {
	h := sha256.Sum256(fmt.Appendf(nil, "2 %q %q", m.suiteOf(a), a.packages()))
	return filepath.Join(s.cache, "root-"+a.debian+"-"+hex.EncodeToString(h[:8]))
}

// root returns the folder with the libraries of a processor. The first time it fetches their packages, with an apt of
// its own: the machine's knows nothing of it, and nothing is installed.
func (s *session) root(ctx context.Context, m *mirror, a *arch) (string, error) {
	root := s.rootPath(m, a)
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if m.url == "" {
		return "", fmt.Errorf("%w: apt has no index of Debian's main packages; run apt-get update", errAbsent)
	}
	work := filepath.Join(s.work, "apt-"+a.debian)
	partial := filepath.Join(work, "root")
	for _, dir := range []string{partial, work + "/lists/partial", work + "/cache/archives/partial", work + "/debs"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
	}
	source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", m.url, m.suiteOf(a))
	if err := os.WriteFile(work+"/sources.list", []byte(source), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(work+"/status", nil, 0o600); err != nil {
		return "", err
	}
	apt := func(args ...string) error {
		var options []string
		for _, o := range []string{
			"APT::Architecture=" + a.debian, "APT::Architectures=" + a.debian,
			"Dir::State=" + work, "Dir::State::lists=" + work + "/lists", "Dir::State::status=" + work + "/status",
			"Dir::Cache=" + work + "/cache", "Dir::Etc::sourcelist=" + work + "/sources.list", "Dir::Etc::sourceparts=/dev/null",
			"APT::Sandbox::User=root", // the folder is private
			"Acquire::Languages=none", "APT::Update::Error-Mode=any",
		} {
			options = append(options, "-o", o)
		}
		cmd := exec.CommandContext(ctx, "apt-get", append(append(options, "-qq"), args...)...)
		cmd.Dir = work + "/debs"
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: its packages can't be had: apt-get %s: %w\n%s", errAbsent, args[0], err, tail(out, 4<<10))
		}
		return nil
	}
	err := retry(ctx, a.debian, func() error {
		if err := apt("update"); err != nil {
			return err
		}
		return apt(append([]string{"download"}, a.packages()...)...)
	})
	if err != nil {
		return "", err
	}
	debs, err := filepath.Glob(work + "/debs/*.deb")
	if err != nil {
		return "", err
	}
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, partial).CombinedOutput(); err != nil {
			return "", fmt.Errorf("unpacking %s: %w\n%s", filepath.Base(deb), err, out)
		}
	}
	if err := linkRoot(partial); err != nil {
		return "", err
	}
	if err := os.Rename(partial, root); err != nil && !errors.Is(err, fs.ErrExist) { // made by another meanwhile
		return "", err
	}
	return root, nil
}

// linkRoot makes the links of an unpacked root right. Later releases have /lib and /lib64 by links that no package has,
// and a link to an absolute path leads out of the root.
func linkRoot(root string) error {
	for _, dir := range []string{"lib", "lib64"} {
		usr := filepath.Join("usr", dir)
		if _, err := os.Stat(filepath.Join(root, usr)); err != nil {
			continue
		}
		if err := os.Symlink(usr, filepath.Join(root, dir)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil || !filepath.IsAbs(target) {
			return err
		}
		inside, err := filepath.Rel(filepath.Dir(path), filepath.Join(root, target))
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(inside, path)
	})
}
