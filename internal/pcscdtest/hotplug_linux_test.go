package pcscdtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/internal/pcscdtest"
)

func TestHotPlug(t *testing.T) {
	svc := pcscdtest.Start(t, pcscdtest.WithReaders(1), pcscdtest.WithHotPlug())
	first := svc.Readers()
	require.Len(t, first, 1)
	for range 3 {
		svc.AddReader()
		svc.Insert(1, pcscdtest.NewEchoCard(nil))
		svc.AddReader()
		names := svc.Readers()
		require.Len(t, names, 3)
		require.Equal(t, first[0], names[0])
		svc.RemoveReader()
		svc.RemoveReader() // with its card
		require.Equal(t, first, svc.Readers())
	}
	svc.AddReader()
	card := pcscdtest.NewEchoCard(nil)
	svc.Insert(1, card)
	svc.Restart()
	require.Len(t, svc.Readers(), 2)
	svc.Remove(1)
	svc.Insert(1, card)
	svc.RemoveReader()
	svc.RemoveReader()
	require.Empty(t, svc.Readers())
}
