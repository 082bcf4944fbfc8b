package thumbnail

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
)

// Blocks of a GIF, by their first byte, and extensions, by their second.
const (
	gifExtension = 0x21
	gifImage     = 0x2c
	gifTrailer   = 0x3b

	gifControl     = 0xf9
	gifApplication = 0xff
)

// gifWalk goes through a GIF's blocks.
type gifWalk struct {
	r  *bufio.Reader
	at int64 // how much has been read
	// control is the extension for the next frame, whole; nil if there is none.
	control []byte
}

// readGIF finds the frames of a GIF, which r reads from its beginning.
//
// https://www.w3.org/Graphics/GIF/spec-gif89a.txt
func (a *Animation) readGIF(r *bufio.Reader, f File) error {
	w := &gifWalk{r: r}
	head, err := w.take(13)
	if err != nil {
		return err
	}
	palette, err := w.take(paletteSize(head[10]))
	if err != nil {
		return err
	}
	head = append(head, palette...)
	for {
		kind, err := w.take(1)
		if err != nil {
			return err
		}
		switch kind[0] {
		case gifTrailer:
			return nil
		case gifExtension:
			err = a.readGIFExtension(w)
		case gifImage:
			err = a.readGIFImage(w, f, head)
		default:
			err = fmt.Errorf("unknown GIF block %#x", kind[0])
		}
		if err != nil {
			return err
		}
	}
}

// paletteSize is the size in bytes of the palette that a flag byte announces.
func paletteSize(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (1 + flags&7)
}

func (a *Animation) readGIFExtension(w *gifWalk) error {
	head, err := w.take(2) // label, size of the first sub-block
	if err != nil {
		return err
	}
	body, err := w.take(int(head[1]))
	if err != nil {
		return err
	}
	switch {
	case head[1] == 0:
		return nil
	case head[0] == gifControl && len(body) == 4:
		w.control = append(append([]byte{gifExtension}, head...), body...)
		w.control = append(w.control, 0)
	case head[0] == gifApplication && string(body) == "NETSCAPE2.0":
		return a.readGIFLoops(w)
	}
	return w.skip()
}

// readGIFLoops reads how often an animation is repeated.
func (a *Animation) readGIFLoops(w *gifWalk) error {
	size, err := w.take(1)
	if err != nil || size[0] == 0 {
		return err
	}
	body, err := w.take(int(size[0]))
	if err != nil {
		return err
	}
	if len(body) == 3 && body[0] == 1 {
		a.plays = binary.LittleEndian.Uint16(body[1:])
		if a.plays > 0 && a.plays < 1<<16-1 { // after the first time
			a.plays++
		}
	}
	return w.skip()
}

func (a *Animation) readGIFImage(w *gifWalk, f File, head []byte) error {
	begin := w.at - 1
	d, err := w.take(9)
	if err != nil {
		return err
	}
	if _, err := w.take(paletteSize(d[8]) + 1); err != nil { // and the code size
		return err
	}
	if err := w.skip(); err != nil {
		return err
	}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(d[at:])) }
	fr := frame{rect: image.Rect(u16(0), u16(2), u16(0)+u16(4), u16(2)+u16(6))}
	control, end := w.control, w.at
	w.control = nil
	if control != nil {
		fr.delay = 10 * uint(binary.LittleEndian.Uint16(control[4:]))
		switch control[3] >> 2 & 7 {
		case 2:
			fr.after = disposeBackground
		case 3:
			fr.after = disposePrevious
		}
	}
	fr.reader = func() io.Reader {
		return io.MultiReader(bytes.NewReader(head), bytes.NewReader(control),
			io.NewSectionReader(f, begin, end-begin), bytes.NewReader([]byte{gifTrailer}))
	}
	return a.add(fr, pixels(fr.rect.Dx(), fr.rect.Dy()))
}

// take reads n bytes.
func (w *gifWalk) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(w.r, b); err != nil {
		return nil, errors.Join(errors.New("the GIF ends early"), err)
	}
	w.at += int64(n)
	return b, nil
}

// skip reads over sub-blocks and the empty one that ends them.
func (w *gifWalk) skip() error {
	for {
		size, err := w.r.ReadByte()
		if err != nil {
			return err
		}
		w.at++
		if size == 0 {
			return nil
		}
		n, err := w.r.Discard(int(size))
		w.at += int64(n)
		if err != nil {
			return err
		}
	}
}
