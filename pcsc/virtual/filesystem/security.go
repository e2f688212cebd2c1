package filesystem

import (
	"bytes"
	"io"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
)

func (c *Card) verify(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	p := c.at.dir.pin(cmd.P2)
	switch {
	case cmd.P1 != 0 && cmd.P1 != 0xFF:
		return nil, iso7816.ErrIncorrectP1P2
	case p == nil:
		return nil, iso7816.ErrReferenceDataNotFound
	case cmd.P1 == 0xFF: // forget that it was verified
		if len(cmd.Data) > 0 {
			return nil, iso7816.ErrWrongLength
		}
		p.verified = false
		return nil, iso7816.Success
	case len(cmd.Data) == 0 && p.verified:
		return nil, iso7816.Success
	case len(cmd.Data) == 0 && p.tries > 0:
		return nil, counter(p.tries)
	case len(cmd.Data) == 0:
		return nil, iso7816.ErrAuthenticationBlocked
	}
	if sw := p.length(cmd.Data); sw != iso7816.Success {
		return nil, sw
	}
	sw := p.compare(cmd.Data)
	p.verified = sw == iso7816.Success
	return nil, sw
}

func counter(tries int) iso7816.StatusWord { return iso7816.ErrCounter | iso7816.StatusWord(tries) }

// length says whether a value has the length that values of this PIN are sent in.
func (p *pin) length(value []byte) iso7816.StatusWord {
	if p.Length > 0 && len(value) != p.Length {
		return iso7816.ErrWrongLength
	}
	return iso7816.Success
}

// compare compares a value with the PIN's, and counts.
func (p *pin) compare(value []byte) iso7816.StatusWord {
	return try(value, p.value, &p.tries, p.Tries)
}

// try compares a value, as long as there are tries left.
func try(value, with []byte, tries *int, most int) iso7816.StatusWord {
	if *tries == 0 {
		return iso7816.ErrAuthenticationBlocked
	}
	if !bytes.Equal(value, with) {
		*tries--
		return counter(*tries)
	}
	*tries = most
	return iso7816.Success
}

// change gives the PIN a new value.
func (p *pin) change(value []byte) iso7816.StatusWord {
	if sw := p.length(value); sw != iso7816.Success {
		return sw
	}
	n := len(value) // without padding
	for p.Length > 0 && n > 0 && value[n-1] == p.Pad {
		n--
	}
	if n < p.MinLength || n > p.MaxLength {
		return iso7816.ErrIncorrectData
	}
	p.value = bytes.Clone(value)
	return iso7816.Success
}

// split divides data into a value to compare and a new one. The first one is as long as what it is compared with.
func split(data, with []byte) (first, second []byte) {
	n := min(len(with), len(data))
	return data[:n], data[n:]
}

func (c *Card) changeReferenceData(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	p := c.at.dir.pin(cmd.P2)
	switch {
	case cmd.P1 > 1:
		return nil, iso7816.ErrIncorrectP1P2
	case p == nil:
		return nil, iso7816.ErrReferenceDataNotFound
	case cmd.P1 == 1 && !p.verified:
		return nil, iso7816.ErrSecurityStatusNotSatisfied
	case cmd.P1 == 1:
		return nil, p.change(cmd.Data)
	case p.Length > 0 && len(cmd.Data) != 2*p.Length, len(cmd.Data) == 0:
		return nil, iso7816.ErrWrongLength
	}
	current, fresh := split(cmd.Data, p.value)
	sw := p.compare(current)
	p.verified = sw == iso7816.Success
	if sw == iso7816.Success {
		sw = p.change(fresh)
	}
	return nil, sw
}

// P1 of RESET RETRY COUNTER: what is not in the data.
const (
	noNewValue = 0x01
	noCode     = 0x02
)

func (c *Card) resetRetryCounter(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	p := c.at.dir.pin(cmd.P2)
	switch {
	case cmd.P1 > noNewValue|noCode:
		return nil, iso7816.ErrIncorrectP1P2
	case p == nil:
		return nil, iso7816.ErrReferenceDataNotFound
	}
	fresh := cmd.Data
	if cmd.P1&noCode != 0 {
		always := !p.Unblock.never && len(p.Unblock.refs) == 0
		if always || !p.dir.met(p.Unblock) {
			return nil, iso7816.ErrSecurityStatusNotSatisfied
		}
	} else {
		if len(p.PUK) == 0 {
			return nil, iso7816.ErrReferenceDataNotUsable
		}
		var code []byte
		if code, fresh = split(cmd.Data, p.PUK); len(code) == 0 {
			return nil, iso7816.ErrWrongLength
		}
		if sw := try(code, p.PUK, &p.pukTries, p.PUKTries); sw != iso7816.Success {
			return nil, sw
		}
	}
	if cmd.P1&noNewValue != 0 {
		if len(fresh) > 0 {
			return nil, iso7816.ErrWrongLength
		}
	} else if sw := p.change(fresh); sw != iso7816.Success {
		return nil, sw
	}
	p.tries, p.verified = p.Tries, false
	return nil, iso7816.Success
}

func (c *Card) getChallenge(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, iso7816.ErrIncorrectP1P2
	case len(cmd.Data) > 0 || cmd.Ne == 0:
		return nil, iso7816.ErrWrongLength
	}
	challenge := make([]byte, cmd.Ne)
	if _, err := io.ReadFull(c.random, challenge); err != nil {
		return nil, iso7816.ErrMemoryFailure
	}
	return challenge, iso7816.Success
}
