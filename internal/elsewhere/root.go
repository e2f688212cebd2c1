//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
	lock, err := os.OpenFile(filepath.Join(s.cache, r.name+".lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	if _, err := os.Stat(y.root); err == nil { // made by another meanwhile
		return y, nil
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.cache, &fs); err != nil {
		return nil, fmt.Errorf("%s: %w", s.cache, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize) / 1e6; free < uint64(r.disk)*5/4 {
		return nil, fmt.Errorf("%w: %s: %d MB are free in %s and %d are needed; set %s to a folder with more", errAbsent, r.name, free,
			s.cache, r.disk*5/4, cacheEnv)
	}
	start := time.Now()
	if err := s.make(ctx, r, y); err != nil {
		return nil, fmt.Errorf("making %s: %w", y.root, err)
	}
	fmt.Printf("%s: made in %v\n", r.name, time.Since(start).Round(time.Second))
	return y, nil
}

// makingPatience is for each part of the making of a system.
const makingPatience = 30 * time.Minute

func (s *session) make(ctx context.Context, r *recipe, made *system) (err error) {
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return fmt.Errorf("%w: debootstrap is not installed (apt-get install debootstrap)", errAbsent)
	}
	partial := filepath.Join(s.cache, r.name+".partial")
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
	if err := retry(ctx, r.name, func() error { return s.fetch(ctx, r, partial, log) }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, makingPatience)
	defer cancel()
	y := &system{root: partial, changes: true, emulator: made.emulator}
	if err := y.script(ctx, r.finish+"\napt-get clean\nrm -rf /var/lib/apt/lists/*", log); err != nil {
		return fmt.Errorf("preparing the system: %w", err)
	}
	return os.Rename(partial, made.root)
}

// fetch makes a Debian system with the packages of a recipe.
func (s *session) fetch(ctx context.Context, r *recipe, partial string, log io.Writer) error {
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	// The folder above is private; the system's own has to be as its users, such as apt's, expect it.
	if err := os.Mkdir(partial, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, makingPatience)
	defer cancel()
	args := []string{"--variant=minbase", r.suite, partial}
	if mirror := os.Getenv(mirrorEnv); mirror != "" {
		args = append(args, mirror)
	}
	boot := exec.CommandContext(ctx, "debootstrap", args...)
	boot.Stdout, boot.Stderr = log, log
	// What it mounts ends with it. Else the mounts of one that was killed would keep the folder from being removed.
	boot.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if err := boot.Run(); err != nil && ctx.Err() != nil {
		return fmt.Errorf("debootstrap: %w", ctx.Err()) // it hung: to try again would take as long
	} else if err != nil {
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
	if err := y.script(ctx, script.String(), log); err != nil && ctx.Err() != nil {
		return fmt.Errorf("installing its packages: %w", ctx.Err())
	} else if err != nil {
		return fmt.Errorf("%w: its packages can't be had: %w", errAbsent, err)
	}
	return nil
}

// pauses are those between the tries to fetch something. Mirrors, and what lies on the way to them, fail now and then.
var pauses = []time.Duration{5 * time.Second, 30 * time.Second}

// retry tries again what failed because something can't be had.
func retry(ctx context.Context, name string, try func() error) error {
	for _, pause := range pauses {
		err := try()
		if !errors.Is(err, errAbsent) || ctx.Err() != nil {
			return err
		}
		fmt.Printf("%s: %s; it is tried again in %v\n", name, firstLine([]byte(err.Error())), pause)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
	return try()
}
