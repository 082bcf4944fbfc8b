package mediaapi

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
)

// inlineTypes may be displayed if the content is what it is said to be; everything else
// is offered for saving.
//
// https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content
var inlineTypes = map[string]bool{
	"text/css": true, "text/plain": true, "text/csv": true,
	"application/json": true, "application/ld+json": true,
	"image/jpeg": true, "image/gif": true, "image/png": true, "image/apng": true,
	"image/webp": true, "image/avif": true,
	"video/mp4": true, "video/webm": true, "video/ogg": true, "video/quicktime": true,
	"audio/mp4": true, "audio/webm": true, "audio/aac": true, "audio/mpeg": true, "audio/ogg": true,
	"audio/wave": true, "audio/wav": true, "audio/x-wav": true, "audio/x-pn-wav": true,
	"audio/flac": true, "audio/x-flac": true,
}

// sniffed is how much of a content is looked at.
const sniffed = 512

// mayShow reports whether a browser may show content of this claimed type. It leaves the
// file at its beginning.
func mayShow(claimed string, f io.ReadSeeker) (bool, error) {
	mediaType, _, err := mime.ParseMediaType(claimed)
	if err != nil || !inlineTypes[mediaType] {
		return false, nil // without a look: another request, where files are in a bucket
	}
	var head [sniffed]byte
	var n int
	if local, ok := f.(*os.File); ok {
		n, err = local.ReadAt(head[:], 0)
	} else if n, err = io.ReadFull(f, head[:]); err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("looking at a file: %w", err)
	}
	return isWhatItSays(mediaType, head[:n]), nil
}

// isWhatItSays reports whether content that begins with head may be of a type, which is
// one of inlineTypes. What a browser could take for a document or a program never is.
func isWhatItSays(mediaType string, head []byte) bool {
	found, _, _ := strings.Cut(http.DetectContentType(head), ";")
	kind, _, _ := strings.Cut(mediaType, "/")
	switch kind {
	case "image":
		// AVIF is the one image type that isn't detected.
		return strings.HasPrefix(found, "image/") || mediaType == "image/avif" && isBoxes(head)
	case "audio", "video":
		// Not all of these are detected, but text and documents are.
		return strings.HasPrefix(found, "audio/") || strings.HasPrefix(found, "video/") ||
			found == "application/ogg" || found == "application/octet-stream"
	default:
		return found == "text/plain"
	}
}

// isBoxes reports whether a file is of the family of MP4, to which AVIF belongs.
func isBoxes(head []byte) bool { return len(head) >= 12 && string(head[4:8]) == "ftyp" }
