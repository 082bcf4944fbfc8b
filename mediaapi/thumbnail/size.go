package thumbnail

import (
	"fmt"
	"image"
	"math"
)

// Method is how an image is made to fit a size.
//
// https://spec.matrix.org/v1.19/client-server-api/#thumbnails
type Method string

const (
	// Crop fills the size, cutting off what has another aspect.
	Crop Method = "crop"
	// Scale fits into the size and keeps the aspect.
	Scale Method = "scale"
)

// Size is what a thumbnail is asked to be.
type Size struct {
	Method        Method
	Width, Height int
}

// scaleBoxes and cropSides are the sizes that are made, the specification's
// among them. A request gets the next larger one, so that neither the cache nor
// the work grows with the number of sizes that clients can think of.
var (
	scaleBoxes = []image.Point{{32, 32}, {96, 96}, {160, 160}, {320, 240}, {320, 320}, {640, 480}, {640, 640},
		{800, 600}, {800, 800}, {1200, 1200}, {1600, 1200}, {1600, 1600}}
	cropSides = []int{32, 48, 64, 96, 128, 192, 256, 320, 480, 640, 800, 1200, 1600}
)

// Specified are the sizes that the specification recommends a server to make of what is
// uploaded, the largest first: clients show that at once.
//
// https://spec.matrix.org/v1.19/client-server-api/#thumbnails
var Specified = []Size{{Scale, 800, 600}, {Scale, 640, 480}, {Scale, 320, 240}, {Crop, 96, 96}, {Crop, 32, 32}}

// wholeImage is the size of a request beyond scaleBoxes or cropSides.
var wholeImage = Size{Scale, math.MaxInt32, math.MaxInt32}

// RoundUp returns the size that is made for a request of s, never smaller in
// either direction. Beyond the largest size that is made it's the whole image.
func (s Size) RoundUp() Size {
	if s.Method == Scale {
		for _, box := range scaleBoxes {
			if s.Width <= box.X && s.Height <= box.Y {
				return Size{Scale, box.X, box.Y}
			}
		}
		return wholeImage
	}
	longer := max(s.Width, s.Height)
	for _, side := range cropSides {
		if longer <= side {
			return Size{Crop, divUp(s.Width*side, longer), divUp(s.Height*side, longer)}
		}
	}
	return wholeImage
}

// String is a name for the size, in letters, digits and dashes.
func (s Size) String() string { return fmt.Sprintf("%s-%dx%d", s.Method, s.Width, s.Height) }

// Holds reports whether the whole image, as it is displayed, is within s: then
// nothing is gained by scaling it.
func (s Size) Holds(i *Info) bool { return i.Width <= s.Width && i.Height <= s.Height }

// plan is how a thumbnail is cut from an image, in stored coordinates: region is
// taken and scaled to width × height.
type plan struct {
	region        image.Rectangle
	width, height int
}

// plan never scales up.
func (i *Info) plan(s Size) plan {
	full := image.Rect(0, 0, i.stored.X, i.stored.Y)
	if i.swapsSides() {
		s.Width, s.Height = s.Height, s.Width
	}
	p := plan{region: full, width: full.Dx(), height: full.Dy()}
	if full.Dx() <= s.Width && full.Dy() <= s.Height {
		return p
	}
	if s.Method == Crop {
		p.region = centred(full, s)
		p.width, p.height = min(s.Width, p.region.Dx()), min(s.Height, p.region.Dy())
	} else if full.Dx()*s.Height > full.Dy()*s.Width {
		p.width, p.height = s.Width, max(1, full.Dy()*s.Width/full.Dx())
	} else {
		p.width, p.height = max(1, full.Dx()*s.Height/full.Dy()), s.Height
	}
	return p
}

// from is the plan for what has been scaled from the whole image, whose size was full, if
// that is still twice as large as the thumbnail.
func (p plan) from(scaled *image.RGBA, full image.Point) (plan, bool) {
	if scaled == nil {
		return p, false
	}
	at := func(v image.Point) image.Point {
		return image.Pt(v.X*scaled.Rect.Dx()/full.X, v.Y*scaled.Rect.Dy()/full.Y)
	}
	p.region = image.Rectangle{Min: at(p.region.Min), Max: at(p.region.Max)}
	return p, p.region.Dx() >= 2*p.width && p.region.Dy() >= 2*p.height
}

// centred is the largest rectangle with s's aspect in the middle of full.
func centred(full image.Rectangle, s Size) image.Rectangle {
	w, h := full.Dx(), full.Dy()
	if w*s.Height > h*s.Width {
		w = max(1, h*s.Width/s.Height)
	} else {
		h = max(1, w*s.Height/s.Width)
	}
	return image.Rect(0, 0, w, h).Add(image.Pt((full.Dx()-w)/2, (full.Dy()-h)/2))
}

// Cost estimates the memory in bytes that making thumbnails of these sizes, one after
// the other, takes.
func (i *Info) Cost(sizes ...Size) int64 {
	var most int64
	for _, s := range sizes {
		most = max(most, i.renderCost(i.plan(s)))
	}
	return i.decoded + 2*most // of which one is what the next may be made of
}

// renderCost estimates the memory in bytes that cutting and scaling takes: the result, a row
// of the image, and sums of rows.
func (i *Info) renderCost(p plan) int64 {
	return 4*pixels(p.width, p.height) + 4*int64(p.region.Dx()) + 64*int64(p.width)
}

func divUp(a, b int) int { return (a + b - 1) / b }
