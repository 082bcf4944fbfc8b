package thumbnail

import (
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"golang.org/x/image/webp"
)

// readWebP finds the frames of an animated WebP.
//
// https://developers.google.com/speed/webp/docs/riff_container#animation
func (a *Animation) readWebP(ctx context.Context, f File) error {
	return eachChunk(f, 12, f.Size(), func(c chunk) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		switch c.id {
		case "ANIM":
			b, err := section(f, c.at, 6)
			if err != nil || c.length < 6 {
				return errWebP
			}
			a.plays = binary.LittleEndian.Uint16(b[4:])
		case "ANMF":
			return a.addWebP(f, c)
		}
		return nil
	})
}

func (a *Animation) addWebP(f File, c chunk) error {
	head, s, err := readFrame(f, c)
	if err != nil {
		return err
	}
	if s.pixel.id == "" {
		return errWebP
	}
	config, err := webp.DecodeConfig(s.reader(f))
	if err != nil {
		return err
	}
	if image.Pt(config.Width, config.Height) != s.size {
		return errors.New("a frame has another size than it claims")
	}
	fr := frame{
		rect:    image.Rectangle{Max: s.size}.Add(s.at),
		delay:   uint(uint24(head[12:])),
		replace: head[15]&2 != 0,
		reader:  func() io.Reader { return s.reader(f) },
	}
	if head[15]&1 != 0 {
		fr.after = disposeBackground
	}
	return a.add(fr, s.memory(pixels(s.size.X, s.size.Y)))
}
