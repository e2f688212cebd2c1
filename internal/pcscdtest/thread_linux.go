package pcscdtest

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// A thread is an operating system thread in namespaces of its own. Files and
// sockets opened there belong to these namespaces, processes started there
// live in them and get their parent-death signal when it ends: it has to
// outlive them.
type thread struct {
	calls chan func()
	done  chan struct{}
}

// newThread starts a thread and runs setup in it. emptyDirs are directories
// that shall be empty there.
func newThread(emptyDirs ...string) (*thread, error) {
	t := &thread{calls: make(chan func()), done: make(chan struct{})}
	failed := make(chan error)
	lockThread(func() {
		defer close(t.done)
		err := enterNamespaces(emptyDirs)
		failed <- err
		if err != nil {
			return
		}
		for f := range t.calls {
			f()
		}
	})
	if err := <-failed; err != nil {
		<-t.done
		return nil, err
	}
	return t, nil
}

// lockThread runs f in a goroutine whose thread ends with it. It is never the
// process's first thread: that one can't end, and /proc/self shows what it
// sees.
func lockThread(f func()) {
	locked := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			lockThread(f) // while this goroutine occupies the first thread
			runtime.UnlockOSThread()
			close(locked)
			return
		}
		close(locked)
		f()
	}()
	<-locked
}

// do runs f in the thread.
func (t *thread) do(f func() error) error {
	result := make(chan error, 1)
	t.calls <- func() { result <- f() }
	return <-result
}

// end ends the thread.
func (t *thread) end() {
	close(t.calls)
	<-t.done
}

func enterNamespaces(emptyDirs []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	// Else the mounts below would show up in the machine's namespace.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	for _, dir := range emptyDirs {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	return loopbackUp()
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
