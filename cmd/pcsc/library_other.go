//go:build !linux

package main

// loadedLibraries returns nothing: where the library is loaded from is not known.
func loadedLibraries(string) []string { return nil }
