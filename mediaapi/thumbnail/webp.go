package thumbnail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"golang.org/x/image/webp"
)

var errWebP = errors.New("malformed WebP container")

// still is the one frame of a WebP file that is decoded: where its chunks lie,
// and its place on the canvas.
type still struct {
	at           image.Point
	size         image.Point // of the alpha channel; the colours must agree
	alpha, pixel chunk
}

// chunk is a piece of a RIFF file; at is where its data begins.
type chunk struct {
	id         string
	at, length int64
}

// readWebP finds the image, or the first frame of an animation, and has its
// dimensions read by the decoder from just those chunks: a container may claim
// other sizes, and lengths that the file doesn't have.
//
// https://developers.google.com/speed/webp/docs/riff_container
func (i *Info) readWebP(f File) error {
	i.Format = "webp"
	i.still = &still{}
	var canvas image.Point
	err := eachChunk(f, 12, f.Size(), func(c chunk) error {
		switch c.id {
		case "VP8X":
			head, err := section(f, c.at, 10)
			if err != nil || c.length < 10 {
				return errWebP
			}
			i.Animated = head[0]&2 != 0
			canvas = image.Pt(uint24(head[4:])+1, uint24(head[7:])+1)
			i.still.size = canvas
		case "ANMF":
			if i.still.pixel.id != "" {
				return nil
			}
			_, first, err := readFrame(f, c)
			if err != nil {
				return err
			}
			i.still = first
		case "XMP ":
			i.Personal = true
		case "EXIF":
			i.Personal = true
			if exif, err := section(f, c.at, min(c.length, maxExif)); err == nil {
				i.orientation = exifOrientation(bytes.TrimPrefix(exif, []byte("Exif\x00\x00")))
			}
		default:
			i.still.take(c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return i.measureWebP(f, canvas)
}

// take notes the chunks of a frame; the first of each kind counts.
func (s *still) take(c chunk) {
	switch {
	case s.pixel.id != "":
	case c.id == "ALPH":
		s.alpha = c
	case c.id == "VP8 " || c.id == "VP8L":
		s.pixel = c
	}
}

// readFrame reads a frame of an animation: its place (in steps of two pixels) and
// size, its duration and flags, which it returns, then chunks as of a still image.
func readFrame(f File, c chunk) (head []byte, s *still, err error) {
	head, err = section(f, c.at, 16)
	if err != nil || c.length < 16 {
		return nil, nil, errWebP
	}
	s = &still{
		at:   image.Pt(2*uint24(head), 2*uint24(head[3:])),
		size: image.Pt(uint24(head[6:])+1, uint24(head[9:])+1),
	}
	err = eachChunk(f, c.at+16, c.at+c.length, func(c chunk) error {
		s.take(c)
		return nil
	})
	return head, s, err
}

// measureWebP asks the decoder for the frame's size and estimates its memory.
func (i *Info) measureWebP(f File, canvas image.Point) error {
	if i.still.pixel.id == "" {
		return errWebP
	}
	c, err := webp.DecodeConfig(i.still.reader(f))
	if err != nil {
		return err
	}
	i.stored = canvas
	if !i.Animated || canvas == (image.Point{}) {
		i.stored = image.Pt(c.Width, c.Height)
	}
	frame := pixels(c.Width, c.Height)
	if frame > MaxPixels {
		i.stored = image.Pt(c.Width, c.Height)
	}
	i.opaque = i.still.pixel.id == "VP8 " && i.still.alpha.id == "" && !i.Animated
	i.decoded = i.still.memory(frame)
	return nil
}

// memory is what decoding the frame takes, in bytes; it has so many pixels.
func (s *still) memory(frame int64) int64 {
	if s.pixel.id == "VP8 " && s.alpha.id == "" {
		return 2*frame + s.pixel.length // the decoder holds a partition whole
	}
	// Lossless data may describe up to 65536 groups of Huffman codes of some
	// 3 KiB each, by a few bytes of the file.
	return 8*frame + min(1<<10*(s.pixel.length+s.alpha.length), 192<<20)
}

// reader returns a WebP file made of the frame alone.
func (s *still) reader(f File) io.Reader {
	var parts []io.Reader
	add := func(c chunk) {
		head := binary.LittleEndian.AppendUint32([]byte(c.id), uint32(c.length))
		parts = append(parts, bytes.NewReader(head), io.NewSectionReader(f, c.at, c.length))
		if c.length%2 == 1 {
			parts = append(parts, bytes.NewReader([]byte{0}))
		}
	}
	if s.pixel.id == "VP8 " && s.alpha.id != "" {
		x, y := s.size.X-1, s.size.Y-1
		parts = append(parts, bytes.NewReader([]byte{'V', 'P', '8', 'X', 10, 0, 0, 0, 1 << 4, 0, 0, 0,
			byte(x), byte(x >> 8), byte(x >> 16), byte(y), byte(y >> 8), byte(y >> 16)}))
		add(s.alpha)
	}
	add(s.pixel)
	// The total may be larger than what follows, and need not be exact.
	return io.MultiReader(append([]io.Reader{bytes.NewReader([]byte("RIFF\xff\xff\xff\x7fWEBP"))}, parts...)...)
}

// eachChunk calls visit for the chunks between two offsets. A chunk that claims
// more than there is, or more than maxChunks of them, are an error.
func eachChunk(f File, at, end int64, visit func(chunk) error) error {
	for range maxChunks {
		if at+8 > end {
			return nil
		}
		head, err := section(f, at, 8)
		if err != nil {
			return err
		}
		c := chunk{id: string(head[:4]), at: at + 8, length: int64(binary.LittleEndian.Uint32(head[4:]))}
		if c.at+c.length > end {
			return errWebP
		}
		if err := visit(c); err != nil {
			return err
		}
		at = c.at + c.length + c.length%2
	}
	return errChunks
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
