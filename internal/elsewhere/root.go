//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mirrorEnv is the variable with the mirror that debootstrap and apt use, where their own choice won't do.
const mirrorEnv = "DEBIAN_MIRROR"

// A recipe says how a Debian system is made.
type recipe struct {
	name     string
	suite    string
	foreign  []string // architectures beside the machine's
	packages []string
	finish   string // a script that runs in it, without a network, when the packages are there
	// What it takes, as measured.
	download, disk int // MB
	time           time.Duration
}

// id changes with the recipe.
func (r *recipe) id() string {
	h := sha256.Sum256(fmt.Appendf(nil, "1 %q %q %q %q", r.suite, r.foreign, r.packages, r.finish))
	return hex.EncodeToString(h[:8])
}

func (r *recipe) path(s *session) string { return filepath.Join(s.cache, r.name+"-"+r.id()) }

// system returns the system of a recipe, with the emulator that it needs. The first time it says what that takes, and
// makes it.
func (s *session) system(ctx context.Context, r *recipe, emulator string) (*system, error) {
	y := &system{root: r.path(s), emulator: emulator}
	// The root is known to be whole by its name: it gets it last.
	if _, err := os.Stat(y.root); err == nil {
		fmt.Printf("%s: uses %s\n", r.name, y.root)
		return y, nil
	}
	fmt.Printf("%s: makes a Debian %s system in %s, once: fetches %d MB, takes %.1f GB there and about %v\n",
		r.name, r.suite, y.root, r.download, float64(r.disk)/1000, r.time)
	fmt.Println("  Debian packages, with what they depend on:", strings.Join(r.packages, " "))
	var fs unix.Statfs_t
	if err := unix.Statfs(s.cache, &fs); err != nil {
		return nil, fmt.Errorf("%s: %w", s.cache, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize) / 1e6; free < uint64(r.disk)*5/4 {
		return nil, fmt.Errorf("%w: %s: %d MB are free in %s and %d are needed; set %s to a folder with more", errAbsent, r.name, free,
			s.cache, r.disk*5/4, cacheEnv)
	}
	lock, err := os.OpenFile(filepath.Join(s.cache, r.name+".lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(y.root); err == nil { // made by another meanwhile
		return y, nil
	}
	start := time.Now()
	if err := s.make(ctx, r, y); err != nil {
		return nil, fmt.Errorf("making %s: %w", y.root, err)
	}
	fmt.Printf("%s: made in %v\n", r.name, time.Since(start).Round(time.Second))
	return y, nil
}

func (s *session) make(ctx context.Context, r *recipe, made *system) (err error) {
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return fmt.Errorf("%w: debootstrap is not installed (apt-get install debootstrap)", errAbsent)
	}
	partial := filepath.Join(s.cache, r.name+".partial")
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	// The folder above is private; the system's own has to be as its users, such as apt's, expect it.
	if err := os.Mkdir(partial, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.cache, r.name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	defer func() {
		if err != nil {
			os.RemoveAll(partial)
			err = fmt.Errorf("%w; see %s", err, log.Name())
		}
	}()
	args := []string{"--variant=minbase", r.suite, partial}
	if mirror := os.Getenv(mirrorEnv); mirror != "" {
		args = append(args, mirror)
	}
	boot := exec.CommandContext(ctx, "debootstrap", args...)
	boot.Stdout, boot.Stderr = log, log
	if err := boot.Run(); err != nil {
		return fmt.Errorf("%w: its packages can't be had: debootstrap: %w", errAbsent, err)
	}
	// No daemon is started by its package.
	if err := os.WriteFile(filepath.Join(partial, "usr/sbin/policy-rc.d"), []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
		return err
	}
	if conf, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		if err := os.WriteFile(filepath.Join(partial, "etc/resolv.conf"), conf, 0o644); err != nil {
			return err
		}
	}
	y := &system{root: partial, network: true, changes: true}
	var script strings.Builder
	for _, arch := range r.foreign {
		fmt.Fprintln(&script, "dpkg --add-architecture", arch)
	}
	fmt.Fprintln(&script, "apt-get update -q")
	fmt.Fprintln(&script, "apt-get install -qy --no-install-recommends", strings.Join(r.packages, " "))
	if err := y.script(ctx, script.String(), log); err != nil {
		return fmt.Errorf("%w: its packages can't be had: %w", errAbsent, err)
	}
	y.network, y.emulator = false, made.emulator
	if err := y.script(ctx, r.finish+"\napt-get clean\nrm -rf /var/lib/apt/lists/*", log); err != nil {
		return fmt.Errorf("preparing the system: %w", err)
	}
	return os.Rename(partial, made.root)
}
