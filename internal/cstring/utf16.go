package cstring

import (
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendUTF16 appends s and a NUL to dst, in UTF-16. On an error dst comes back as it was.
func AppendUTF16(dst []uint16, s string) ([]uint16, error) {
	if err := valid(s); err != nil {
		return dst, err
	}
	for _, r := range s {
		dst = utf16.AppendRune(dst, r)
	}
	return append(dst, 0), nil
}

// AppendMultiUTF16 appends list as a multi-string in UTF-16. An empty list is two NULs. On an error dst comes back as
// it was.
func AppendMultiUTF16(dst []uint16, list []string) ([]uint16, error) {
	start := len(dst)
	for _, s := range list {
		if s == "" {
			return dst[:start], ErrEmpty
		}
		var err error
		if dst, err = AppendUTF16(dst, s); err != nil {
			return dst[:start], err
		}
	}
	if len(list) == 0 {
		dst = append(dst, 0)
	}
	return append(dst, 0), nil
}

// AppendUTF8 appends u to dst in UTF-8, NULs included, so a multi-string stays one.
//
// An unpaired surrogate becomes U+FFFD: what the result holds is always valid UTF-8. A reader whose name has one can
// be listed, not connected to; none was ever seen, and WTF-8 in a Go string would surprise every encoder after us.
func AppendUTF8(dst []byte, u []uint16) []byte {
	for i := 0; i < len(u); i++ {
		r := rune(u[i])
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if i+1 < len(u) {
				pair = utf16.DecodeRune(r, rune(u[i+1]))
			}
			// DecodeRune says U+FFFD for what is no pair; a pair never decodes to it.
			if pair != utf8.RuneError {
				i++
			}
			r = pair
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// UTF8Len is the number of bytes that [AppendUTF8] appends for u.
func UTF8Len(u []uint16) int {
	n := 0
	for i := 0; i < len(u); i++ {
		switch r := rune(u[i]); {
		case !utf16.IsSurrogate(r):
			n += utf8.RuneLen(r)
		case i+1 < len(u) && utf16.DecodeRune(r, rune(u[i+1])) != utf8.RuneError:
			n += 4
			i++
		default:
			n += 3
		}
	}
	return n
}

// StringUTF16 is the string in u up to its first NUL, or all of u if there is none.
func StringUTF16(u []uint16) string {
	if i := slices.Index(u, 0); i >= 0 {
		u = u[:i]
	}
	return string(AppendUTF8(nil, u))
}

// SplitUTF16 returns the strings of the multi-string in u, as [Split] does.
func SplitUTF16(u []uint16) []string {
	list := []string{}
	for len(u) > 0 {
		i := slices.Index(u, 0)
		if i < 0 {
			i = len(u)
		}
		if i == 0 {
			break
		}
		list = append(list, string(AppendUTF8(nil, u[:i])))
		u = u[min(i+1, len(u)):]
	}
	return list
}
