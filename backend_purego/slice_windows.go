package backendpurego

import "unsafe"

// slicePtr is bytesPtr for an array of structures, which only functions of Windows take.
func slicePtr[T any](s []T) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[0])
}
