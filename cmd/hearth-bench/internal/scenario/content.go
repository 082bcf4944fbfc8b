package scenario

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"sync"
)

// pattern is what files consist of: bytes that don't compress, made once.
var pattern = sync.OnceValue(func() []byte {
	b := make([]byte, 1<<20)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(b) // never fails
	return b
})

// content is a file that is made while it is read: its id and then the pattern, so that no two are equal.
type content struct {
	id   uint64
	size int64
}

func newContent(size int64) content { return content{rand.Uint64(), size} }

// at returns what stands at an offset, some of it.
func (c *content) at(off int64) []byte {
	if off < 8 {
		return binary.LittleEndian.AppendUint64(nil, c.id)[off:min(8, c.size)]
	}
	p := pattern()
	p = p[off%int64(len(p)):]
	return p[:min(int64(len(p)), c.size-off)]
}

// reader reads the file.
func (c *content) reader() io.Reader { return &contentReader{c: c} }

type contentReader struct {
	c   *content
	off int64
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.off == r.c.size {
		return 0, io.EOF
	}
	n := copy(p, r.c.at(r.off))
	r.off += int64(n)
	return n, nil
}

// errChanged says that a file isn't what was uploaded.
var errChanged = errors.New("the file isn't what was uploaded")

// check reads a file to its end, and returns errChanged if it is another one.
func (c *content) check(r io.Reader) error {
	buf, off := make([]byte, 64<<10), int64(0)
	for {
		n, err := r.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			if off == c.size {
				return errChanged
			}
			want := c.at(off)
			want = want[:min(len(want), len(b))]
			if !bytes.Equal(want, b[:len(want)]) {
				return errChanged
			}
			off += int64(len(want))
			b = b[len(want):]
		}
		if err == io.EOF && off == c.size {
			return nil
		}
		if err == io.EOF {
			return errChanged
		}
		if err != nil {
			return err
		}
	}
}

// Size of the photos of which thumbnails are made.
const (
	photoWidth  = 1920
	photoHeight = 1080
)

// photo is a JPEG with as many details as a photo has.
var photo = sync.OnceValue(func() []byte {
	img := image.NewRGBA(image.Rect(0, 0, photoWidth, photoHeight))
	noise := pattern()
	for y := range photoHeight {
		for x := range photoWidth {
			grain := noise[(y/3*photoWidth+x/3)%len(noise)] >> 3
			img.SetRGBA(x, y, color.RGBA{uint8(x*224/photoWidth) + grain, uint8(y*224/photoHeight) + grain, grain * 4, 255})
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, img, nil) // never fails into memory
	return b.Bytes()
})

// newPhoto is the photo with a comment of its own, so that no two are equal.
func newPhoto() []byte {
	b := append([]byte{0xff, 0xd8, 0xff, 0xfe, 0, 10}, binary.LittleEndian.AppendUint64(nil, rand.Uint64())...)
	return append(b, photo()[2:]...)
}
