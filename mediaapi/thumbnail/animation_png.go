package thumbnail

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"io"
)

const (
	// maxFrameChunks bounds the chunks of an animated PNG.
	maxFrameChunks = 32 << 10
	// maxPalette bounds the chunks that all frames share, in bytes: 256 colours.
	maxPalette = 3 * 256
)

var errAPNG = errors.New("malformed animated PNG")

// apngWalk goes through the chunks of an animated PNG.
type apngWalk struct {
	a *Animation
	f File
	// header and shared are the data of IHDR, and the chunks with the palette and what
	// of it is transparent.
	header, shared []byte
	control        []byte   // fcTL of the frame at hand, nil before the first
	data           []extent // its pixels
}

// extent is a piece of a file.
type extent struct{ at, length int64 }

// readPNG finds the frames of an animated PNG.
//
// https://www.w3.org/TR/png-3/#apng-frame-based-animation
func (a *Animation) readPNG(ctx context.Context, f File) error {
	w := &apngWalk{a: a, f: f}
	at := int64(len(pngSignature))
	for range maxFrameChunks {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		head, err := section(f, at, 8)
		if err != nil {
			return err
		}
		body := extent{at + 8, int64(binary.BigEndian.Uint32(head))}
		kind := string(head[4:])
		if kind == "IEND" {
			return w.finish()
		}
		if body.at+body.length > f.Size() {
			return io.ErrUnexpectedEOF
		}
		if err := w.chunk(kind, body); err != nil {
			return err
		}
		at = body.at + body.length + 4
	}
	return errChunks
}

func (w *apngWalk) chunk(kind string, body extent) (err error) {
	switch kind {
	case "IHDR":
		w.header, err = w.fixed(body, 13)
	case "PLTE", "tRNS":
		if body.length > maxPalette || w.control != nil && len(w.data) > 0 {
			return errAPNG
		}
		var data []byte
		if data, err = section(w.f, body.at, body.length); err == nil {
			w.shared = appendChunk(w.shared, kind, data)
		}
		if len(w.shared) > 4*maxPalette {
			return errAPNG
		}
	case "acTL":
		var b []byte
		if b, err = w.fixed(body, 8); err == nil {
			w.a.plays = uint16(min(binary.BigEndian.Uint32(b[4:]), 1<<16-1))
		}
	case "fcTL":
		if err = w.finish(); err == nil {
			w.control, err = w.fixed(body, 26)
		}
	case "IDAT": // no part of the animation, unless a frame has begun
		if w.control != nil {
			w.data = append(w.data, body)
		}
	case "fdAT":
		if w.control == nil || body.length < 4 {
			return errAPNG
		}
		w.data = append(w.data, extent{body.at + 4, body.length - 4})
	}
	return err
}

// fixed reads a chunk that has one possible length.
func (w *apngWalk) fixed(body extent, length int64) ([]byte, error) {
	if body.length != length {
		return nil, errAPNG
	}
	return section(w.f, body.at, length)
}

// finish adds the frame at hand, if there is one.
func (w *apngWalk) finish() error {
	if w.control == nil {
		return nil
	}
	if w.header == nil || len(w.data) == 0 {
		return errAPNG
	}
	c := w.control
	u32 := func(at int) int { return int(binary.BigEndian.Uint32(c[at:])) }
	if max(u32(4), u32(8), u32(12), u32(16)) > 1<<30 {
		return errAPNG
	}
	fr := frame{
		rect:    image.Rect(u32(12), u32(16), u32(12)+u32(4), u32(16)+u32(8)),
		delay:   pngDelay(binary.BigEndian.Uint16(c[20:]), binary.BigEndian.Uint16(c[22:])),
		after:   disposal(c[24]),
		replace: c[25] == 0,
	}
	if fr.after > disposePrevious {
		return errAPNG
	}
	if fr.after == disposePrevious && len(w.a.frames) == 0 {
		fr.after = disposeBackground
	}
	header := bytes.Clone(w.header)
	copy(header, c[4:12]) // width and height
	head := appendChunk([]byte(pngSignature), "IHDR", header)
	head = append(head, w.shared...)
	f, data := w.f, w.data
	fr.reader = func() io.Reader {
		return io.MultiReader(bytes.NewReader(head), &idatReader{src: extents(f, data)},
			bytes.NewReader(appendChunk(nil, "IEND", nil)))
	}
	w.control, w.data = nil, nil
	return w.a.add(fr, pngMemory(fr.rect.Size(), header))
}

// pngDelay is a fraction of a second in milliseconds.
func pngDelay(num, den uint16) uint {
	if den == 0 {
		den = 100
	}
	return uint(num) * 1000 / uint(den)
}

func extents(f File, parts []extent) io.Reader {
	readers := make([]io.Reader, len(parts))
	for i, p := range parts {
		readers[i] = io.NewSectionReader(f, p.at, p.length)
	}
	return io.MultiReader(readers...)
}

func appendChunk(b []byte, kind string, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	begin := len(b)
	b = append(append(b, kind...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[begin:]))
}

// idatReader turns compressed pixels into IDAT chunks, with checksums of its own: those
// of a frame's chunks are over another name and a number.
type idatReader struct {
	src   io.Reader
	chunk []byte // what is still to be read of the last chunk
	err   error
}

func (r *idatReader) Read(p []byte) (int, error) {
	if len(r.chunk) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		var data [16 << 10]byte
		n, err := io.ReadFull(r.src, data[:])
		if err == io.ErrUnexpectedEOF {
			err = io.EOF
		}
		r.err = err
		if n == 0 {
			return 0, err
		}
		r.chunk = appendChunk(nil, "IDAT", data[:n])
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}
