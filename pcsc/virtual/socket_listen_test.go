//go:build unix

package virtual_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/gopcsc/gopcsc/generated/protocol"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// listen makes a socket that is gone at the end of the test.
func listen(t testing.TB, path string) *virtual.Listener {
	t.Helper()
	l, err := virtual.Listen(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// shortDir is a private directory whose name leaves room for that of a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// The socket is the user's alone, whatever files of the program are.
func TestListenIsPrivate(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		before := syscall.Umask(umask)
		t.Cleanup(func() { syscall.Umask(before) })
		for _, path := range []string{"", filepath.Join(shortDir(t), "socket")} {
			l := listen(t, path)
			socket := l.Addr().String()
			require.Equal(t, "unix", l.Addr().Network())
			require.Equal(t, "PCSCLITE_CSOCK_NAME="+socket, l.Env())
			info, err := os.Lstat(socket)
			require.NoError(t, err)
			require.Equal(t, fs.ModeSocket|0o600, info.Mode(), "umask %03o", umask)
			dir, err := os.Stat(filepath.Dir(socket))
			require.NoError(t, err)
			require.Equal(t, fs.ModeDir|0o700, dir.Mode(), "umask %03o", umask)

			require.NoError(t, l.Close())
			require.NoFileExists(t, socket)
			if path == "" {
				require.NoDirExists(t, filepath.Dir(socket))
			} else {
				require.DirExists(t, filepath.Dir(socket), "it was there before")
			}
			require.ErrorIs(t, l.Close(), net.ErrClosed)
			_, err = l.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		}
	}
}

// Clients are in any directory, and the program may go to another one.
func TestListenRelative(t *testing.T) {
	dir := shortDir(t)
	t.Chdir(dir)
	l := listen(t, "socket")
	wd, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(wd, "socket"), l.Addr().String())
	t.Chdir("/")
	require.NoError(t, l.Close())
	require.NoFileExists(t, filepath.Join(dir, "socket"))
}

func TestListenRefuses(t *testing.T) {
	dir := shortDir(t)
	file, content := filepath.Join(dir, "file"), []byte("dear")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("nowhere", link))
	open := filepath.Join(dir, "open")
	require.NoError(t, os.Mkdir(open, 0o700))
	require.NoError(t, os.Chmod(open, 0o777))
	group := filepath.Join(dir, "group")
	require.NoError(t, os.Mkdir(group, 0o700))
	require.NoError(t, os.Chmod(group, 0o770))
	for _, test := range []struct {
		path string
		is   error
		want string // what is wrong and what to do
	}{
		{file, fs.ErrExist, file + ": file already exists, and is none: remove it, or choose another path"},
		{link, fs.ErrExist, link + ": file already exists, and is none: remove it, or choose another path"},
		{open, fs.ErrExist, open + ": file already exists, and is none: remove it, or choose another path"},
		{filepath.Join(dir, "none", "socket"), fs.ErrNotExist, "the directory of the socket: "},
		{filepath.Join(open, "socket"), nil, "others can write to the directory of the socket, " + open + " (-rwxrwxrwx): make it private with chmod go-w, or choose another"},
		{filepath.Join(group, "socket"), nil, "others can write to the directory of the socket, " + group + " (-rwxrwx---): "},
		{filepath.Join(dir, strings.Repeat("x", 200)), nil, "bytes, and " + filepath.Join(dir, strings.Repeat("x", 200)) + " has "},
		{filepath.Join(dir, strings.Repeat("x", 200)), nil, ": choose a shorter one"},
	} {
		l, err := virtual.Listen(test.path)
		require.Nil(t, l)
		require.ErrorContains(t, err, test.want)
		require.ErrorContains(t, err, "virtual: ")
		if test.is != nil {
			require.ErrorIs(t, err, test.is)
		}
		require.ErrorContains(t, virtual.New().ListenAndServe(t.Context(), test.path), test.want)
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, content, got, "what is no socket stays as it is")
	target, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, "nowhere", target)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{file, group, link, open}, names, "nothing is left behind")

	// A directory such as /tmp will do: nobody can remove what is another's.
	require.NoError(t, os.Chmod(open, 0o777|fs.ModeSticky))
	listen(t, filepath.Join(open, "socket"))
}

// The longest path that a socket can have works, and one byte more does not.
func TestListenLongestPath(t *testing.T) {
	dir := shortDir(t)
	longest := len(syscall.RawSockaddrUnix{}.Path) - 1
	path := filepath.Join(dir, strings.Repeat("x", longest-len(dir)-1))
	require.Len(t, path, longest)
	listen(t, path)
	_, err := virtual.Listen(path + "x")
	require.ErrorContains(t, err, "choose a shorter one")
	t.Setenv("TMPDIR", filepath.Join(dir, strings.Repeat("y", longest)))
	require.NoError(t, os.Mkdir(os.TempDir(), 0o700))
	listen(t, "") // which lies elsewhere then
}

// A socket that a program has left behind when it crashed is replaced.
func TestListenReplacesStale(t *testing.T) {
	path := filepath.Join(shortDir(t), "socket")
	crashed, err := net.Listen("unix", path)
	require.NoError(t, err)
	crashed.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, crashed.Close())
	stale, err := os.Lstat(path)
	require.NoError(t, err)

	s, r := setup(t, echo(atrBoth))
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(t, path)
	fresh, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSocket|0o600, fresh.Mode())
	require.False(t, os.SameFile(stale, fresh) && stale.ModTime().Equal(fresh.ModTime()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	c := open(t, path, 6)
	_, err = c.Transmit(c.connect(r), t1, apdu...)
	require.NoError(t, err)

	// One that is in use is not.
	second, err := virtual.Listen(path)
	require.Nil(t, second)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, path+": file already exists, and a program listens on it: end that, or choose another path")
	c.quiet()
	c = open(t, path, 4)
	_, err = c.Transmit(c.connect(r), t1, apdu...)
	require.NoError(t, err)
	still, err := os.Lstat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(fresh, still))
	names, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, names, 1)

	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoFileExists(t, path)
}

// What somebody has put in the place of the socket is not ours to remove.
func TestListenRemovesItsOwnAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), "socket")
	l := listen(t, path)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, l.Close())
	require.FileExists(t, path)
}

// Serve ends in bounded time although a card hangs and clients wait; what the card has begun is finished later.
func TestServeEndsWhileCardHangs(t *testing.T) {
	for name, stop := range map[string]func(cancel context.CancelFunc, l *virtual.Listener) error{
		"Context":  func(cancel context.CancelFunc, _ *virtual.Listener) error { cancel(); return context.Canceled },
		"Listener": func(_ context.CancelFunc, l *virtual.Listener) error { l.Close(); return net.ErrClosed },
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			entered, release := make(chan struct{}), make(chan struct{})
			s, r := setup(t, virtual.NewCard(atrBoth, func([]byte) []byte {
				close(entered)
				<-release
				return []byte{0x90, 0x00}
			}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l := listen(t, "")
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx, l) }()
			socket := l.Addr().String()

			c := open(t, socket, 6)
			card := c.connect(r)
			require.NoError(t, c.Send(protocol.CmdTransmit, &protocol.Transmit{Card: card, SendPCIProtocol: t1, SendLength: 4, RecvLength: 100}, apdu...))
			<-entered
			locked := open(t, socket, 6)
			other := locked.connect(r)
			require.NoError(t, locked.Send(protocol.CmdReconnect, &protocol.Reconnect{Card: other, ShareMode: shared, PreferredProtocols: anyT, Initialization: reset}))

			stuck := open(t, socket, 6) // waits for itself
			another := s.AddReader("Another Reader")
			another.Insert(echo(atrBoth))
			ok(t, stuck.begin(stuck.connect(another)))
			waiting := open(t, socket, 6) // for what comes after that
			waiting.wait()
			waits := another.Inject(virtual.Fault{}, virtual.On(virtual.OpConnect))
			require.NoError(t, stuck.Send(protocol.CmdConnect, &protocol.Connect{Context: stuck.ctx, Reader: another.Name(), ShareMode: shared, PreferredProtocols: anyT}))
			require.Eventually(t, func() bool { return waits.Struck() == 1 }, socketPatience, time.Millisecond)

			want := stop(cancel, l)
			select {
			case err := <-done:
				require.ErrorIs(t, err, want)
			case <-time.After(socketPatience):
				require.Fail(t, "Serve waits for the card")
			}
			requireCutOff(t, c)
			requireCutOff(t, waiting)
			requireCutOff(t, locked)
			requireCutOff(t, stuck)
			require.NoDirExists(t, filepath.Dir(socket))
			close(release)
			nothingLeft(t, before)

			// The service goes on without.
			_, again := connect(t, s, r, exclusive)
			ok(t, status(s, again))
		})
	}
}

// Who may come in is asked of each client, and who may not hears nothing.
func TestServeWithUsers(t *testing.T) {
	var mu sync.Mutex
	var asked []uint32
	var log bytes.Buffer
	allow := true
	s, _ := setup(t, nil)
	socket, end := serve(t, s, virtual.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), virtual.WithUsers(func(uid uint32) bool {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, uid)
		return allow
	}), virtual.WithUsers(nil), nil)
	first := open(t, socket, 4)
	mu.Lock()
	allow = false
	mu.Unlock()
	second := dial(t, socket, 0)
	if err := second.Agree(4); err == nil {
		second.Close()
	}
	first.quiet()
	end()
	switch runtime.GOOS {
	case "linux", "darwin", "freebsd":
	default:
		return // the system does not tell: see peerUser
	}
	me := uint32(os.Geteuid())
	require.Equal(t, []uint32{me, me}, asked)
	require.Contains(t, log.String(), `msg="client turned away" reason="user `)
	require.Equal(t, 1, strings.Count(log.String(), "\n"))
}

// Clients work at the same time: the cards in all readers answer only when all of them have been asked.
func TestSocketClientsWorkAtOnce(t *testing.T) {
	const readers = 16
	var inside sync.WaitGroup
	inside.Add(readers)
	s := virtual.New()
	socket, _ := serve(t, s)
	var clients sync.WaitGroup
	for range readers {
		r := s.AddReader("Test Reader")
		r.Insert(virtual.NewCard(atrBoth, func(apdu []byte) []byte {
			inside.Done()
			inside.Wait()
			return append(bytes.Clone(apdu), 0x90, 0x00)
		}))
		clients.Go(func() {
			c := dial(t, socket, 6)
			ctx, err := c.Establish()
			if err != nil {
				t.Error(err)
				return
			}
			card, _, err := c.Connect(ctx, r.Name())
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := c.Transmit(card, t1, apdu...); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
}
