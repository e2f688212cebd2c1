package backendpurego

import (
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

const supported = true

// dlopen loads a library: a bare name from System32 alone, a path with what lies beside it and System32.
func dlopen(name string) (uintptr, error) {
	if filepath.IsAbs(name) {
		h, err := windows.LoadLibraryEx(name, 0, windows.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR|windows.LOAD_LIBRARY_SEARCH_SYSTEM32)
		return uintptr(h), err
	}
	dll := windows.NewLazySystemDLL(name)
	if err := dll.Load(); err != nil {
		return 0, err
	}
	return dll.Handle(), nil
}

func dlsym(library uintptr, name string) (uintptr, error) {
	return windows.GetProcAddress(windows.Handle(library), name)
}

func dlclose(library uintptr) { _ = windows.FreeLibrary(windows.Handle(library)) }

func call(fn uintptr, words ...uintptr) (r1, r2, errno uintptr) {
	r1, r2, e := syscall.SyscallN(fn, words...)
	return r1, r2, uintptr(e)
}
