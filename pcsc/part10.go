package pcsc

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"

	"github.com/gopcsc/gopcsc/internal/part10"
)

// Part 10 of the PC/SC specification: what a reader can do beyond moving APDUs, first of all let a person enter a PIN
// at its own keys, so that the PIN never reaches the computer.

// Features are the PC/SC part 10 features of a reader, each with the control code that calls it. The zero value is a
// reader that has none. It is not changed after it was made.
type Features struct {
	list    []part10.FeatureTLV
	refused error
}

// Has reports whether the reader has the feature.
func (f Features) Has(feature Feature) bool {
	_, ok := f.Code(feature)
	return ok
}

// Code returns the control code of a feature, for [Card.Control], and whether the reader has the feature.
func (f Features) Code(feature Feature) (code uint32, ok bool) {
	for _, t := range f.list {
		if Feature(t.Tag) == feature {
			return t.Value, true
		}
	}
	return 0, false
}

// Len is the number of features.
func (f Features) Len() int { return len(f.list) }

// All ranges over the features and their control codes, in the reader's order. A vendor's own feature can be among
// them.
func (f Features) All() iter.Seq2[Feature, uint32] {
	return func(yield func(Feature, uint32) bool) {
		for _, t := range f.list {
			if !yield(Feature(t.Tag), t.Value) {
				return
			}
		}
	}
}

// Err says, for a diagnosis, with which error the driver answered the question for the features. It is nil when the
// driver answered with a list, be it an empty one.
func (f Features) Err() error { return f.refused }

// Properties asks for the TLV properties of the reader, as [Card.Properties] does, but without asking for the features
// again.
func (f Features) Properties(ctx context.Context, card *Card) (Properties, error) {
	defer runtime.KeepAlive(card)
	return card.target().properties(ctx, f)
}

// parseFeatures reads the answer to CtlGetFeatureRequest. What is no feature is passed over, for a driver's mistake in
// one of them must not cost the others: entries whose length is not that of a control code, and a torn one at the end.
// Of two with the same tag the first counts.
func parseFeatures(answer []byte) Features {
	var f Features
	for len(answer) >= 2 {
		n := 2 + int(answer[1])
		if n > len(answer) {
			break
		}
		var t part10.FeatureTLV
		if n == part10.FeatureTLVSize && t.Decode(answer) && !f.Has(Feature(t.Tag)) {
			f.list = append(f.list, t)
		}
		answer = answer[n:]
	}
	return f
}

// gone are the answers that say nothing of the reader's features, as the question has not reached it. To take one of
// them for "no features" would make programs ask for the PIN at the computer, although the reader has keys.
var gone = []Code{
	ErrInvalidHandle, ErrSharingViolation, ErrNoService, ErrServiceStopped, ErrShutdown, ErrSystemCancelled,
	ErrCancelled, ErrTimeout, ErrCommError, ErrReaderUnavailable, ErrUnknownReader, ErrNoMemory, ErrUnavailable,
	ErrResetCard, ErrRemovedCard, ErrUnpoweredCard, ErrNoSmartcard,
}

// refusal reports whether err, from the question for the features, is the driver's.
func refusal(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.cause != nil || e.Detail != "" {
		return false // a context that ended, or a call that this package refused
	}
	return !slices.ContainsFunc(gone, func(code Code) bool { return errors.Is(e.Code, code) })
}

func (t target) features(ctx context.Context) (Features, error) {
	var buf [128]byte
	answer, err := t.control(ctx, buf[:0], CtlGetFeatureRequest, nil)
	switch {
	case err == nil:
		return parseFeatures(answer), nil
	case refusal(err):
		return Features{refused: err}, nil
	}
	return Features{}, err
}

// missing is the error for a feature that the reader does not have.
func (t target) missing(feature Feature) error {
	return t.failedPIN(ErrUnsupportedFeature, "the reader has no "+feature.String(), nil)
}

// failedPIN is an error of this file's calls, which all go through SCardControl. t may be of no card.
func (t target) failedPIN(code Code, detail string, cause error) *Error {
	e := &Error{Op: opControl, Code: code, Detail: detail, cause: cause}
	if t.cardState != nil {
		e.Reader = t.reader
	}
	return e
}

func (t target) controlFeature(ctx context.Context, dst []byte, f Features, feature Feature, in []byte) ([]byte, error) {
	code, ok := f.Code(feature)
	if !ok {
		return dst, t.missing(feature)
	}
	return t.control(ctx, dst, code, in)
}

// askFeature asks for the features and calls one.
func (t target) askFeature(ctx context.Context, feature Feature, in []byte) ([]byte, error) {
	f, err := t.features(ctx)
	if err != nil {
		return nil, err
	}
	return t.controlFeature(ctx, nil, f, feature, in)
}

// givenProperty is a property as the reader gave it.
type givenProperty struct {
	tag   Property
	value []byte
	typed bool // it is in a field, too
}

// Has reports whether the reader gave the property in the form that its field has.
func (p *Properties) Has(tag Property) bool {
	i := p.find(tag)
	return i >= 0 && p.given[i].typed
}

// Raw returns the bytes of a property, also of one that has no field or does not fit it, and whether the reader gave it.
func (p *Properties) Raw(tag Property) ([]byte, bool) {
	i := p.find(tag)
	if i < 0 {
		return nil, false
	}
	return bytes.Clone(p.given[i].value), true
}

// Tags are the properties that the reader gave, in its order.
func (p *Properties) Tags() []Property {
	tags := make([]Property, len(p.given))
	for i, g := range p.given {
		tags[i] = g.tag
	}
	return tags
}

func (p *Properties) find(tag Property) int {
	return slices.IndexFunc(p.given, func(g givenProperty) bool { return g.tag == tag })
}

// parseProperties reads the answer to FeatureGetTLVProperties. A torn property at its end is passed over, and of two
// with the same tag the first counts.
func parseProperties(answer []byte) Properties {
	var p Properties
	for len(answer) >= 2 {
		n := 2 + int(answer[1])
		if n > len(answer) {
			break
		}
		tag, value := Property(answer[0]), bytes.Clone(answer[2:n])
		if p.find(tag) < 0 {
			p.given = append(p.given, givenProperty{tag, value, p.set(tag, value)})
		}
		answer = answer[n:]
	}
	return p
}

// setUint sets a number from its little endian bytes: those of part 10 are, whatever the host is. Drivers give some
// numbers fewer or more bytes than they have, so what counts is that the value fits.
func setUint[T uint8 | uint16 | uint32](to *T, value []byte) bool {
	var v uint64
	for i, b := range value {
		if i >= 8 && b != 0 {
			return false
		}
		if i < 8 {
			v |= uint64(b) << (8 * i)
		}
	}
	if len(value) == 0 || v != uint64(T(v)) {
		return false
	}
	*to = T(v)
	return true
}

// setText sets a text. Drivers end it with a NUL or not.
func setText(to *string, value []byte) bool {
	*to = strings.ToValidUTF8(strings.TrimRight(string(value), "\x00"), "�")
	return true
}

func (t target) properties(ctx context.Context, f Features) (Properties, error) {
	answer, err := t.controlFeature(ctx, nil, f, FeatureGetTLVProperties, nil)
	if err != nil {
		return Properties{}, err
	}
	return parseProperties(answer), nil
}

func (t target) askProperties(ctx context.Context) (Properties, error) {
	f, err := t.features(ctx)
	if err != nil {
		return Properties{}, err
	}
	return t.properties(ctx, f)
}

// PINProperties say what the reader can do for the entry of a PIN.
type PINProperties struct {
	// LCDLayout describes the display: the number of lines in the upper 8 bits and of characters in a line in the
	// lower, as in the descriptor of a CCID reader. 0 is no display.
	LCDLayout uint16
	// EndOn is what the reader lets end the entry of a PIN, for PINVerify.EndOn.
	EndOn PINEnd
	// TimeOut2 tells how the reader treats the timeout after the first key: 0 if it does not tell it from the other.
	TimeOut2 byte
}

func (t target) pinProperties(ctx context.Context) (PINProperties, error) {
	answer, err := t.askFeature(ctx, FeatureIFDPINProperties, nil)
	if err != nil {
		return PINProperties{}, err
	}
	var raw part10.PINProperties
	if !raw.Decode(answer) {
		return PINProperties{}, t.failedPIN(ErrInternalError, FeatureIFDPINProperties.String()+": the driver's answer is too short", nil)
	}
	return PINProperties{LCDLayout: raw.LCDLayout, EndOn: PINEnd(raw.EntryValidationCondition), TimeOut2: raw.TimeOut2}, nil
}

// Features asks which PC/SC part 10 features the reader has. A reader without any is no error, nor is a driver that
// does not know the question or fails at it: the list is empty then, and [Features.Err] says what the driver answered.
// An error means that the question could not be put: the connection, the reader or the service is gone, another
// program uses the reader exclusively, or ctx has ended. Then nothing is known of the features.
//
// The driver answers at once, and without the card. It can be asked on a connection with [ShareDirect], too.
func (c *Card) Features(ctx context.Context) (Features, error) {
	defer runtime.KeepAlive(c)
	return c.target().features(ctx)
}

// Features is [Card.Features] in the transaction.
func (t *Transaction) Features(ctx context.Context) (Features, error) {
	defer runtime.KeepAlive(t)
	return t.target().features(ctx)
}

// ControlFeature calls a feature by [Card.Control], and returns the driver's answer: for features that have no method
// of their own, such as [FeatureMCTReaderDirect] or [FeatureWriteDisplay], and for input that the methods do not make.
// It asks for the features first. in may be empty; it is sent as it is, once.
//
// Errors: one that is errors.ErrUnsupported if the reader does not have the feature; else as of Control.
func (c *Card) ControlFeature(ctx context.Context, feature Feature, in []byte) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().askFeature(ctx, feature, in)
}

// ControlFeature is [Card.ControlFeature] in the transaction.
func (t *Transaction) ControlFeature(ctx context.Context, feature Feature, in []byte) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().askFeature(ctx, feature, in)
}

// Properties asks for the TLV properties of the reader ([FeatureGetTLVProperties]): the PIN sizes that it takes, the
// size of its display, the longest APDU, the USB vendor and product.
//
// Errors: one that is errors.ErrUnsupported if the reader does not have the feature; else as of [Card.Control].
func (c *Card) Properties(ctx context.Context) (Properties, error) {
	defer runtime.KeepAlive(c)
	return c.target().askProperties(ctx)
}

// Properties is [Card.Properties] in the transaction.
func (t *Transaction) Properties(ctx context.Context) (Properties, error) {
	defer runtime.KeepAlive(t)
	return t.target().askProperties(ctx)
}

// PINProperties asks what the reader can do for the entry of a PIN ([FeatureIFDPINProperties]).
//
// Errors: one that is errors.ErrUnsupported if the reader does not have the feature; else as of [Card.Control].
func (c *Card) PINProperties(ctx context.Context) (PINProperties, error) {
	defer runtime.KeepAlive(c)
	return c.target().pinProperties(ctx)
}

// PINProperties is [Card.PINProperties] in the transaction.
func (t *Transaction) PINProperties(ctx context.Context) (PINProperties, error) {
	defer runtime.KeepAlive(t)
	return t.target().pinProperties(ctx)
}

// Escape sends a command of the reader's vendor as a CCID escape ([FeatureCCIDEscCommand]) and returns the answer. The
// command is sent once. Linux's CCID driver lets only some commands through unless its configuration allows all.
//
// Errors: one that is errors.ErrUnsupported if the reader does not have the feature; else as of [Card.Control].
func (c *Card) Escape(ctx context.Context, command []byte) ([]byte, error) {
	defer runtime.KeepAlive(c)
	return c.target().askFeature(ctx, FeatureCCIDEscCommand, command)
}

// Escape is [Card.Escape] in the transaction.
func (t *Transaction) Escape(ctx context.Context, command []byte) ([]byte, error) {
	defer runtime.KeepAlive(t)
	return t.target().askFeature(ctx, FeatureCCIDEscCommand, command)
}
