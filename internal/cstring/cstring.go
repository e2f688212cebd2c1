// Package cstring converts between Go strings and the strings of C: NUL-terminated strings and multi-strings (each
// string ended by a NUL, the list by one more), in UTF-8 and in UTF-16.
//
// The append forms allocate only when dst has no room. Parsing trusts nothing: a missing terminator ends the data
// where the buffer ends.
package cstring

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

var (
	// ErrNUL reports a NUL inside a string: C would see a shorter string than the caller meant.
	ErrNUL = errors.New("string contains a NUL")
	// ErrEmpty reports an empty string in a multi-string, where it would end the list.
	ErrEmpty = errors.New("empty string in a multi-string")
	// ErrUTF8 reports a string that has no UTF-16 form, as it is not valid UTF-8.
	ErrUTF8 = errors.New("string is not valid UTF-8")
)

// Append appends s and a NUL to dst. On an error dst comes back as it was.
func Append(dst []byte, s string) ([]byte, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return dst, ErrNUL
	}
	return append(append(dst, s...), 0), nil
}

// AppendMulti appends list as a multi-string. An empty list is two NULs, which every implementation takes for the end.
// On an error dst comes back as it was.
func AppendMulti(dst []byte, list []string) ([]byte, error) {
	start := len(dst)
	for _, s := range list {
		if s == "" {
			return dst[:start], ErrEmpty
		}
		var err error
		if dst, err = Append(dst, s); err != nil {
			return dst[:start], err
		}
	}
	if len(list) == 0 {
		dst = append(dst, 0)
	}
	return append(dst, 0), nil
}

// String is the string in b up to its first NUL, or all of b if there is none.
func String(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// Split returns the strings of the multi-string in b, up to the empty string that ends it. A last string without its
// terminator counts. The result is never nil.
func Split(b []byte) []string {
	list := []string{}
	for len(b) > 0 {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			i = len(b)
		}
		if i == 0 {
			break
		}
		list = append(list, string(b[:i]))
		b = b[min(i+1, len(b)):]
	}
	return list
}

// valid says whether s has a form as a NUL-terminated UTF-16 string: valid UTF-8 without a NUL.
func valid(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return ErrNUL
	}
	if !utf8.ValidString(s) {
		return ErrUTF8
	}
	return nil
}
