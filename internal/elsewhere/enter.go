//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// enterCommand is the name under which this program runs itself in new namespaces, to be there before the command is.
const enterCommand = "-enter"

// A system is a Debian system in a folder, for commands to run in.
type system struct {
	root    string
	env     []string
	binds   []string // folders of the machine that are seen there too, as SOURCE:TARGET, or as SOURCE:TARGET:ro
	network bool
	// changes says that what commands change in the system stays. Else each begins with the system as it was made.
	changes  bool
	emulator string // of the machine, that runs what is for 32-bit x86; empty where the machine does
}

// command makes a command that runs in the system: with its own processes, mounts and, unless it has the network, an
// empty network with a loopback. All that it starts ends with it, and its mounts go with its namespace, be it killed.
func (y *system) command(ctx context.Context, args ...string) *exec.Cmd {
	self := []string{enterCommand, y.root, strconv.FormatBool(y.changes), strings.Join(y.binds, "\n"), y.emulator, "--"}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append(self, args...)...)
	cmd.Env = slices.Concat([]string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
	}, y.env)
	flags := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if !y.network {
		flags |= unix.CLONE_NEWNET
	}
	// The command is process 1 of its namespace; with it the kernel ends all others.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
	if y.emulator != "" {
		userNamespace(cmd.SysProcAttr)
	}
	return cmd
}

// run runs a command in the system and returns what it prints.
func (y *system) run(ctx context.Context, args ...string) ([]byte, error) {
	out, err := y.command(ctx, args...).CombinedOutput()
	if err != nil {
		tail := out[max(0, len(out)-2000):]
		return out, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, tail)
	}
	return out, nil
}

// script runs a shell script in the system.
func (y *system) script(ctx context.Context, text string, log io.Writer) error {
	cmd := y.command(ctx, "/bin/sh", "-euc", text)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

// enter makes the mounts of a system, moves into it and becomes the command. It returns only what went wrong.
func enter(args []string) error {
	if len(args) < 6 || args[4] != "--" {
		return errors.New("not to be called by hand")
	}
	root, changes, binds, emulator, command := args[0], args[1] == "true", args[2], args[3], args[5:]
	// Else the mounts would show up outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	// A root that is a mount point can be made private in its turn, as the tests do.
	mountRoot := overlay
	if changes {
		mountRoot = func(root string) error { return unix.Mount(root, root, "", unix.MS_BIND, "") }
	}
	if err := mountRoot(root); err != nil {
		return fmt.Errorf("mount %s: %w", root, err)
	}
	mount := func(source, target, kind string, flags uintptr, data string) error {
		if err := unix.Mount(source, filepath.Join(root, target), kind, flags, data); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
		return nil
	}
	err := errors.Join(
		mount("proc", "/proc", "proc", 0, ""),
		mount("/dev", "/dev", "", unix.MS_BIND|unix.MS_REC, ""),
		mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"),
		mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"),
	)
	if err != nil {
		return err
	}
	if emulator != "" {
		if err := registerEmulator(root, emulator); err != nil {
			return err
		}
	}
	for bind := range strings.SplitSeq(binds, "\n") {
		source, target, ok := strings.Cut(bind, ":")
		if !ok {
			continue
		}
		target, _, readOnly := strings.Cut(target, ":")
		if err := os.MkdirAll(filepath.Join(root, target), 0o755); err != nil {
			return err
		}
		if err := mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		if readOnly {
			// What else the mount forbids it has to go on forbidding.
			var fs unix.Statfs_t
			if err := unix.Statfs(filepath.Join(root, target), &fs); err != nil {
				return err
			}
			forbids := uintptr(fs.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
			if err := mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|forbids, ""); err != nil {
				return err
			}
		}
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("chroot %s: %w", root, err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", path, syscall.Exec(path, command, os.Environ()))
}

// overlay mounts over a folder the same with changes in memory.
func overlay(root string) error {
	memory := filepath.Join(root, "tmp")
	if err := unix.Mount("tmpfs", memory, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return err
	}
	upper, work := filepath.Join(memory, "upper"), filepath.Join(memory, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount("overlay", root, "overlay", 0, "lowerdir="+root+",upperdir="+upper+",workdir="+work)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}
