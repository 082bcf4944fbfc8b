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

// walkPNG looks at the chunks before the first pixels for what tells an animated
// PNG and for the orientation.
func (i *Info) walkPNG(f File) error {
	at := int64(len(pngSignature))
	for range maxChunks {
		head, err := section(f, at, 8)
		if err != nil {
			return err
		}
		length := int64(binary.BigEndian.Uint32(head))
		switch string(head[4:]) {
		case "IDAT":
			return nil
		case "acTL":
			i.Animated = true
		case "eXIf":
			if exif, err := section(f, at+8, min(length, maxExif)); err == nil {
				i.orientation = exifOrientation(exif)
			}
		}
		at += 8 + length + 4
	}
	return errChunks
}
