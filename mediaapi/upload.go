package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxFilename bounds a file's name, in bytes: no file system allows more.
	maxFilename = 1024
	// maxContentType bounds a Content-Type, in bytes.
	maxContentType = 255
	// unknownType is the Content-Type of what has none, or a nonsensical one.
	unknownType = "application/octet-stream"
)

// maxStall is how long a peer may send nothing of what it uploads or is asked for, or take
// nothing of what it has asked for. Tests shorten it.
var maxStall = time.Minute

// postUpload answers POST /_matrix/media/v3/upload.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
func (a *API) postUpload(r *http.Request, u *httpapi.Requester) (any, error) {
	m := &storage.Media{Origin: a.serverName, ID: newMediaID(), UserID: u.UserID}
	if err := a.receive(r, m, a.db.InsertMedia); err != nil {
		return nil, err
	}
	return map[string]string{"content_uri": mxc(m)}, nil
}

func mxc(m *storage.Media) string { return "mxc://" + m.Origin + "/" + m.ID }

// receive puts the request's body into the store, durably, describes it in m, and calls
// record to write what refers to the file; if that fails the file is collected.
func (a *API) receive(r *http.Request, m *storage.Media, record func(context.Context, *storage.Media) error) error {
	var err error
	if m.Filename, err = uploadFilename(r); err != nil {
		return err
	}
	m.ContentType = safeContentType(r.Header.Get("Content-Type"))
	limit, done, err := a.allowance(r, m.UserID)
	if err != nil {
		return err
	}
	defer done()
	if r.ContentLength > limit {
		return a.tooLarge(limit)
	}
	file, err := a.store.receive(&movingBody{r}, limit)
	if errors.Is(err, errTooLarge) {
		return a.tooLarge(limit)
	}
	if errors.Is(err, errSource) {
		e := httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "The upload ended early")
		e.Err = err
		return e
	}
	if err != nil {
		return a.failed(err)
	}
	if err := httpapi.SetReadDeadline(r, time.Time{}); err != nil {
		file.discard()
		return fmt.Errorf("lifting an upload's deadline: %w", err)
	}
	_, notAnImage := file.inspect()
	if err := a.keep(r.Context(), m, file); err != nil {
		return err
	}
	if err := record(r.Context(), m); err != nil {
		return err
	}
	if notAnImage == nil {
		a.thumbnails.early.add(file.hash)
	}
	return nil
}

// keep puts a received file in its place, durably, and m's hash into m.
func (a *API) keep(ctx context.Context, m *storage.Media, file *received) error {
	m.SHA256 = file.hash[:]
	// The row first: a file without one would never be found again.
	if err := a.db.AnnounceMediaFile(ctx, m.SHA256, file.size); err != nil {
		file.discard()
		return err
	}
	if err := a.store.files.put(ctx, file); err != nil {
		file.discard()
		return a.failed(err)
	}
	a.health.stored()
	return nil
}

// tooLarge is the refusal of content that is larger than what was allowed.
func (a *API) tooLarge(allowed int64) error {
	if allowed < a.o.MaxUploadSize {
		return errQuota()
	}
	return httpapi.TooLarge("The content is larger than the %d bytes that this server accepts", a.o.MaxUploadSize)
}

// movingBody reads a request's body and gives up when it stops moving.
type movingBody struct{ r *http.Request }

func (b *movingBody) Read(p []byte) (int, error) {
	if err := httpapi.SetReadDeadline(b.r, time.Now().Add(maxStall)); err != nil {
		return 0, err
	}
	return b.r.Body.Read(p)
}

// uploadFilename is the name that the uploader gave the file, "" if none.
func uploadFilename(r *http.Request) (string, error) {
	name := r.URL.Query().Get("filename")
	if len(name) > maxFilename {
		return "", httpapi.InvalidParam("filename is longer than %d bytes", maxFilename)
	}
	if !httpapi.IsText(name) {
		return "", httpapi.InvalidParam("filename isn't valid text")
	}
	return name, nil
}

// safeContentType is the type that a Content-Type claims, as it was written. One that
// no browser could make sense of is dropped, lest it be guessed at.
func safeContentType(claimed string) string {
	if len(claimed) > maxContentType || !printableASCII(claimed) {
		return unknownType
	}
	if mediaType, _, err := mime.ParseMediaType(claimed); err != nil || !strings.Contains(mediaType, "/") {
		return unknownType
	}
	return claimed
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
