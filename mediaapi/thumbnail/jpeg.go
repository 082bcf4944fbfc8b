package thumbnail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
)

// JPEG markers, the second byte after 0xff.
const (
	markerSOF0 = 0xc0 // sequential
	markerSOF2 = 0xc2 // progressive
	markerSOS  = 0xda // the pixels begin
	markerAPP1 = 0xe1 // EXIF, XMP
	markerIPTC = 0xed
	markerCOM  = 0xfe // a comment
)

var errJPEG = errors.New("malformed JPEG headers")

func (i *Info) readJPEG(f File) error {
	c, err := jpeg.DecodeConfig(whole(f))
	if err != nil {
		return err
	}
	i.Format = "jpeg"
	i.stored = image.Pt(c.Width, c.Height)
	i.opaque = true
	if err := i.walkJPEG(f); err != nil {
		return err
	}
	if i.decoded == 0 {
		return errJPEG
	}
	return nil
}

// walkJPEG goes through the segments up to the pixels. The frame header must agree
// with what the decoder has found. What comes after that may be unusual.
func (i *Info) walkJPEG(f File) error {
	at := int64(2)
	for range maxChunks {
		head, err := section(f, at, 4)
		if err == nil && head[0] != 0xff {
			err = errJPEG
		}
		if err != nil {
			return i.endOfHeaders(err)
		}
		marker := head[1]
		if marker == 0xff { // a fill byte
			at++
			continue
		}
		length := int64(binary.BigEndian.Uint16(head[2:]))
		if length < 2 {
			return i.endOfHeaders(errJPEG)
		}
		if marker == markerSOS {
			return nil
		}
		if err := i.readSegment(f, marker, at+4, length-2); err != nil {
			return err
		}
		at += 2 + length
	}
	return i.endOfHeaders(errChunks)
}

// endOfHeaders is how a file is taken whose headers can't be followed up to the pixels: only with a frame header.
func (i *Info) endOfHeaders(err error) error {
	if i.decoded == 0 {
		return err
	}
	i.Personal = true // for all that is known
	return nil
}

func (i *Info) readSegment(f File, marker byte, at, length int64) error {
	switch {
	case marker == markerAPP1:
		i.Personal = true
		if exif, err := section(f, at, length); err == nil && bytes.HasPrefix(exif, []byte("Exif\x00\x00")) {
			i.orientation = exifOrientation(exif[6:])
		}
	case marker == markerIPTC || marker == markerCOM:
		i.Personal = true
	case marker >= markerSOF0 && marker <= markerSOF2 && i.decoded == 0:
		sof, err := section(f, at, length)
		if err != nil {
			return err
		}
		return i.readSOF(sof, marker == markerSOF2)
	}
	return nil
}

// readSOF reads a frame header: precision, height, width, and for each component
// its id, sampling factors and quantisation table.
func (i *Info) readSOF(sof []byte, progressive bool) error {
	if len(sof) < 6 || len(sof) != 6+3*int(sof[5]) {
		return errJPEG
	}
	size := image.Pt(int(binary.BigEndian.Uint16(sof[3:])), int(binary.BigEndian.Uint16(sof[1:])))
	if size != i.stored {
		return errJPEG
	}
	components := int64(sof[5])
	i.decoded = pixels(size.X, size.Y) * components
	if components == 4 { // CMYK is assembled in a second image
		i.decoded *= 2
	}
	if progressive {
		i.decoded += 4 * i.coefficients(sof[6:])
	}
	return nil
}

// coefficients counts the numbers that a progressive decoder keeps of the whole
// image: one for each sample, fewer where a component is subsampled.
func (i *Info) coefficients(components []byte) int64 {
	var samples, hMax, vMax int64
	for at := 1; at < len(components); at += 3 {
		h, v := int64(components[at]>>4), int64(components[at]&15)
		samples += h * v
		hMax, vMax = max(hMax, h), max(vMax, v)
	}
	return pixels(i.stored.X, i.stored.Y) * samples / max(1, hMax*vMax)
}
