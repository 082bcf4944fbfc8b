package thumbnail

import (
	"encoding/binary"
	"errors"
	"image"
	"image/png"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// maxChunks bounds the walk through a file's headers.
const maxChunks = 4096

var errChunks = errors.New("too many chunks before the image")

func (i *Info) readPNG(f File) error {
	c, err := png.DecodeConfig(whole(f))
	if err != nil {
		return err
	}
	i.Format = "png"
	i.stored = image.Pt(c.Width, c.Height)
	ihdr, err := section(f, int64(len(pngSignature))+8, 13)
	if err != nil {
		return err
	}
	i.decoded = pngMemory(i.stored, ihdr)
	return i.walkPNG(f)
}

// pngMemory is what decoding a PNG of this size takes, in bytes; ihdr is its header.
func pngMemory(size image.Point, ihdr []byte) int64 {
	bytesPerPixel := int64(4)
	if ihdr[8] == 16 { // bits per channel
		bytesPerPixel = 8
	}
	decoded := pixels(size.X, size.Y) * bytesPerPixel
	if ihdr[12] != 0 { // interlaced: the largest pass, half of the image, exists twice
		decoded += decoded / 2
	}
	return decoded
}

// walkPNG looks at the chunks for what tells an animated PNG, for the orientation, and for what isn't seen.
// Behind the first pixels the file may be broken: that is for the decoder to find.
func (i *Info) walkPNG(f File) error {
	at, pixels := int64(len(pngSignature)), false
	end := func(err error) error {
		if i.Personal = i.Personal || pixels; pixels {
			return nil
		}
		return err
	}
	for range maxChunks {
		head, err := section(f, at, 8)
		if err != nil {
			return end(err)
		}
		length := int64(binary.BigEndian.Uint32(head))
		switch string(head[4:]) {
		case "IDAT":
			pixels = true
		case "IEND":
			return nil
		case "acTL":
			i.Animated = i.Animated || !pixels
		case "tEXt", "zTXt", "iTXt":
			i.Personal = true
		case "eXIf":
			i.Personal = true
			if exif, err := section(f, at+8, min(length, maxExif)); err == nil && !pixels {
				i.orientation = exifOrientation(exif)
			}
		}
		at += 8 + length + 4
	}
	return end(errChunks)
}
