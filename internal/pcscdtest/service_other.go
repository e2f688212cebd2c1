//go:build !linux

package pcscdtest

import (
	"io"
	"net"
	"runtime"
	"testing"
)

// Prepare does nothing on this platform.
func Prepare() {}

// A Service exists on Linux only.
type Service struct{}

// Start skips the test: pcscd with vpcd runs on Linux only.
func Start(tb testing.TB, opts ...Option) *Service {
	tb.Helper()
	Skip(tb, "pcscdtest: no private pcscd on %s", runtime.GOOS)
	return &Service{}
}

// Readers returns nil on this platform.
func (s *Service) Readers() []string { return nil }

// Insert does nothing on this platform.
func (s *Service) Insert(int, Card) {}

// Remove does nothing on this platform.
func (s *Service) Remove(int) {}

// AddReader does nothing on this platform.
func (s *Service) AddReader() {}

// RemoveReader does nothing on this platform.
func (s *Service) RemoveReader() {}

// Kill does nothing on this platform.
func (s *Service) Kill() {}

// Stop does nothing on this platform.
func (s *Service) Stop() {}

// Restart does nothing on this platform.
func (s *Service) Restart(...Option) {}

// Log returns nothing on this platform.
func (s *Service) Log() string { return "" }

// PID returns 0 on this platform.
func (s *Service) PID() int { return 0 }

// Socket returns nothing on this platform.
func (s *Service) Socket() string { return "" }

func newAckReader(conn net.Conn) io.Reader { return conn }
