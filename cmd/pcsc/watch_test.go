package main

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// lines are the events, without their times.
func (r result) lines(t *testing.T) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(r.stdout) {
		require.Regexp(t, `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  `, line)
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		out = append(out, rest)
	}
	return out
}

// events are the JSON objects, each on a line, with what may follow them.
func (r result) events(t *testing.T) (events []jsonEvent, failed *jsonError) {
	t.Helper()
	for line := range strings.Lines(r.stdout) {
		require.Nil(t, failed, "it is the last")
		if strings.HasPrefix(line, `{"error"`) {
			var o outcome
			require.NoError(t, json.Unmarshal([]byte(line), &o))
			failed = o.Error
			continue
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var e jsonEvent
		require.NoError(t, d.Decode(&e), line)
		events = append(events, e)
	}
	return events, failed
}

// watching runs pcsc watch while do is made, and then interrupts it if it has not ended.
func watching(t *testing.T, service *virtual.Service, do func(), args ...string) result {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan result, 1)
	go func() { done <- start(ctx, on(service), "", append([]string{"watch"}, args...)...) }()
	time.Sleep(time.Minute)
	do()
	time.Sleep(time.Minute)
	cancel()
	return <-done
}

const demoBytes = "3B 8B 80 01 67 6F 70 63 73 63 20 64 65 6D 6F 22"

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, reader, _ := withDemoCard()
		r := watching(t, service, func() {
			reader.Remove()
			synctest.Wait()
			reader.Insert(virtual.NewCard([]byte{}, nil))
			synctest.Wait()
			service.AddReader("Third")
		})
		require.Equal(t, exitOK, r.exit)
		require.Empty(t, r.stderr)
		require.Equal(t, []string{
			"Empty Reader 00 00  reader added  (initial)",
			"Demo Reader 01 00  reader added  (initial)",
			"Demo Reader 01 00  card inserted  " + demoBytes + "  (initial)",
			"Demo Reader 01 00  card removed  " + demoBytes,
			"Demo Reader 01 00  card inserted  (does not answer)",
			"Third 02 00  reader added",
		}, r.lines(t))
	})
}

func TestWatchJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, reader, _ := withDemoCard()
		began := time.Now()
		r := watching(t, service, reader.Remove, "--json", "demo")
		require.Equal(t, exitOK, r.exit)
		require.Empty(t, r.stderr)
		events, failed := r.events(t)
		require.Nil(t, failed)
		require.Len(t, events, 3)
		for i, at := range []time.Duration{0, 0, time.Minute} {
			require.WithinDuration(t, began.Add(at), events[i].Time, time.Millisecond)
			events[i].Time = time.Time{}
		}
		name := reader.Name()
		require.Equal(t, []jsonEvent{
			{Reader: name, Kind: "reader-added", State: []string{"present"}, Initial: true},
			{Reader: name, Kind: "card-inserted", ATR: demoATR, State: []string{"present"}, Initial: true},
			{Reader: name, Kind: "card-removed", ATR: demoATR, State: []string{"empty"}},
		}, events)
	})
}

func TestWatchReaders(t *testing.T) {
	for _, test := range []struct {
		args []string
		want int // readers
	}{
		{nil, 3},
		{[]string{"reader"}, 2},
		{[]string{"DEMO", "other"}, 2},
		{[]string{"1"}, 1},
		{[]string{"0", "demo"}, 2},
		{[]string{"nope"}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			service, _, _ := withDemoCard()
			r := watching(t, service, func() { service.AddReader("Other") }, append([]string{"--json"}, test.args...)...)
			require.Equal(t, exitOK, r.exit)
			events, _ := r.events(t)
			added := 0
			for _, e := range events {
				if e.Kind == "reader-added" {
					added++
				}
			}
			require.Equal(t, test.want, added, test.args)
		})
	}
}

func TestWatchRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := virtual.New()
		service.AddReader("Reader").Insert(virtual.NewDemoCard())
		r := watching(t, service, func() {
			service.Stop()
			time.Sleep(time.Minute)
			service.Start()
		})
		require.Equal(t, exitOK, r.exit)
		lines := r.lines(t)
		require.Len(t, lines, 8)
		why := regexp.MustCompile(`  \((.*SCARD_[A-Z_]+\))\)$`)
		for _, i := range []int{2, 3, 4} {
			require.Regexp(t, why, lines[i])
			lines[i] = why.ReplaceAllString(lines[i], "  (why)")
		}
		require.Equal(t, []string{
			"Reader 00 00  reader added  (initial)",
			"Reader 00 00  card inserted  " + demoBytes + "  (initial)",
			"Reader 00 00  card removed  " + demoBytes + "  (why)",
			"Reader 00 00  reader removed  (why)",
			"-  service down  (why)",
			"-  service up",
			"Reader 00 00  reader added  (initial)",
			"Reader 00 00  card inserted  " + demoBytes + "  (initial)",
		}, lines)
	})
}

func TestWatchCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, reader, _ := withDemoCard()
		end := make(chan time.Time, 1)
		do := func() {
			for range 3 {
				reader.Remove()
				synctest.Wait()
				reader.Insert(virtual.NewDemoCard())
				synctest.Wait()
			}
			end <- time.Now()
		}
		r := watching(t, service, do, "-n", "2")
		<-end
		require.Equal(t, exitOK, r.exit)
		require.Len(t, r.lines(t), 5)
		// What is not shown does not count.
		r = watching(t, service, do, "-n", "1", "--json", "empty")
		<-end
		events, _ := r.events(t)
		require.Len(t, events, 1)
	})
}

// A service that is down when the watch begins is no event that counts, but that it comes up is.
func TestWatchNoService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, _, _ := withDemoCard()
		service.Stop()
		r := watching(t, service, service.Start, "-n", "1", "--json")
		require.Equal(t, exitOK, r.exit)
		events, _ := r.events(t)
		require.Len(t, events, 2)
		require.Equal(t, "service-down", events[0].Kind)
		require.True(t, events[0].Initial)
		require.NotEmpty(t, events[0].Reason)
		require.Equal(t, "service-up", events[1].Kind)
	})
}

func TestWatchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service, _, _ := withDemoCard()
		began := time.Now()
		r := start(t.Context(), on(service), "", "watch", "--timeout", "3s")
		require.Equal(t, 3*time.Second, time.Since(began).Round(time.Second/10))
		require.Equal(t, exitTimeout, r.exit)
		require.Len(t, r.lines(t), 3)
		require.Equal(t, "pcsc: --timeout 3s is over\n", r.stderr)

		r = start(t.Context(), on(service), "", "watch", "--timeout", "3s", "--json")
		require.Equal(t, exitTimeout, r.exit)
		require.Empty(t, r.stderr)
		events, failed := r.events(t)
		require.Len(t, events, 3)
		require.Equal(t, &jsonError{Exit: exitTimeout, Message: "--timeout 3s is over"}, failed)
	})
}

func TestWatchErrors(t *testing.T) {
	service, _, _ := withDemoCard()
	for _, test := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"2"}, exitNoReader, "no reader has the index 2; the highest is 1"},
		{[]string{""}, exitUsage, "the reader's name is empty"},
		{[]string{"-n", "-1"}, exitUsage, "-n is less than nothing"},
		{[]string{"-n", "x"}, exitUsage, "invalid argument"},
	} {
		r := start(t.Context(), on(service), "", append([]string{"watch"}, test.args...)...)
		require.Equal(t, test.exit, r.exit)
		require.Empty(t, r.stdout)
		require.Contains(t, r.stderr, test.want)
		r = start(t.Context(), on(service), "", append([]string{"watch", "--json"}, test.args...)...)
		require.Equal(t, 1, strings.Count(r.stdout, "\n"), r.stdout)
		events, failed := r.events(t)
		require.Empty(t, events)
		require.Equal(t, test.exit, failed.Exit)
	}
	service.Stop()
	require.Equal(t, exitNoService, start(t.Context(), on(service), "", "watch", "0").exit)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("Ctrl-C"))
	require.Equal(t, result{}, start(ctx, on(service), "", "watch"))
	require.Equal(t, result{}, start(ctx, on(service), "", "watch", "0", "--json"))
}
