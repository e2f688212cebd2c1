package iso7816

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ErrInvalidResponse is in every error about a response that ISO/IEC 7816-4 does not allow.
var ErrInvalidResponse = errors.New("invalid response")

// A Response is a response APDU, or what a [Transport] made of several.
type Response struct {
	Data []byte
	SW   StatusWord
}

// ParseResponse decodes a response APDU. Data refers to the memory of apdu. The error is [ErrInvalidResponse]: the
// status word is missing.
func ParseResponse(apdu []byte) (Response, error) {
	r, err := parseResponse(apdu)
	if err != nil {
		return Response{}, fmt.Errorf("iso7816: %w", err)
	}
	return r, nil
}

func parseResponse(apdu []byte) (Response, error) {
	n := len(apdu) - 2
	if n < 0 {
		return Response{}, fmt.Errorf("%w: %s, the status word alone has 2", ErrInvalidResponse, bytesText(len(apdu)))
	}
	return Response{Data: apdu[:n:n], SW: StatusWord(apdu[n])<<8 | StatusWord(apdu[n+1])}, nil
}

// Err returns nil if the status word is success (9000 or 61XX), else the status word. A warning is an error too, and
// comes with data at times.
func (r Response) Err() error {
	if r.SW.IsSuccess() {
		return nil
	}
	return r.SW
}

// String describes the response without its data: "16 bytes, success (9000)".
func (r Response) String() string { return bytesText(len(r.Data)) + ", " + r.SW.Error() }

// Format implements [fmt.Formatter]: every verb prints what [Response.String] returns.
func (r Response) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, r.String()) }

// LogValue implements [slog.LogValuer] with [Response.String].
func (r Response) LogValue() slog.Value { return slog.StringValue(r.String()) }

func bytesText(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}
