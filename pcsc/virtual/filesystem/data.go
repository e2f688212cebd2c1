package filesystem

import (
	"bytes"

	"github.com/gopcsc/gopcsc/pcsc/iso7816"
	"github.com/gopcsc/gopcsc/pcsc/iso7816/tlv"
)

// object finds a data object from the current DF, if it may be read.
func (c *Card) object(tag tlv.Tag) (DataObject, iso7816.StatusWord) {
	for d := c.at.dir; d != nil; d = d.parent {
		for _, o := range d.data {
			switch {
			case o.Tag != tag:
			case !d.met(o.Read):
				return o, iso7816.ErrSecurityStatusNotSatisfied
			default:
				return o, iso7816.Success
			}
		}
	}
	return DataObject{}, iso7816.ErrReferenceDataNotFound
}

func (c *Card) getData(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	if len(cmd.Data) > 0 {
		return nil, iso7816.ErrWrongLength
	}
	o, sw := c.object(tlv.Tag(cmd.P1)<<8 | tlv.Tag(cmd.P2))
	if sw != iso7816.Success {
		return nil, sw
	}
	return bytes.Clone(o.Value), iso7816.Success
}

const (
	tagList   = tlv.Tag(0x5C)
	currentDF = 0x3FFF
)

// getDataTLV returns data objects by a list of their tags.
func (c *Card) getDataTLV(cmd iso7816.Command) ([]byte, iso7816.StatusWord) {
	if uint16(cmd.P1)<<8|uint16(cmd.P2) != currentDF {
		return nil, iso7816.ErrIncorrectP1P2
	}
	list, err := tlv.Decode(cmd.Data)
	if err != nil || len(list) != 1 || list[0].Tag != tagList {
		return nil, iso7816.ErrIncorrectData
	}
	tags, ok := readTags(list[0].Value)
	if !ok {
		return nil, iso7816.ErrIncorrectData
	}
	var found []tlv.Object
	size := 0
	for _, tag := range tags {
		o, sw := c.object(tag)
		if sw != iso7816.Success {
			return nil, sw
		}
		// A list may name the same object over and over.
		if size += len(o.Value); size > maxFileSize {
			return nil, iso7816.ErrNotEnoughMemory
		}
		found = append(found, tlv.New(tag, o.Value))
	}
	b, err := tlv.Encode(found...)
	if err != nil {
		return nil, iso7816.ErrMemoryFailure
	}
	return b, iso7816.Success
}

// readTags reads tags that stand one after the other.
func readTags(list []byte) (tags []tlv.Tag, ok bool) {
	for len(list) > 0 {
		n := 1
		if list[0]&0x1F == 0x1F {
			for n < len(list) && list[n]&0x80 != 0 {
				n++
			}
			n++
		}
		if n > len(list) || n > 4 {
			return nil, false
		}
		var tag tlv.Tag
		for _, b := range list[:n] {
			tag = tag<<8 | tlv.Tag(b)
		}
		if !tag.Valid() {
			return nil, false
		}
		tags, list = append(tags, tag), list[n:]
	}
	return tags, len(tags) > 0
}
