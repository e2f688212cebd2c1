//go:build race

package conformance

// raceEnabled says that this is built with the race detector.
const raceEnabled = true
