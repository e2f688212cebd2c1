package pcsc

import "golang.org/x/sys/windows"

// GUIDFromWindows is the GUID as this package has it.
func GUIDFromWindows(g windows.GUID) GUID { return GUID(g) }

// WindowsGUID is the GUID as golang.org/x/sys/windows has it.
func WindowsGUID(g GUID) windows.GUID { return windows.GUID(g) }
