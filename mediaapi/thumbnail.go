package mediaapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"hearth/internal/httpapi"
	"hearth/mediaapi/thumbnail"
)

// maxSide bounds the width and height of a request: no image has more pixels.
const maxSide = 1 << 20

// retryThumbnail is when to ask again for what a busy server didn't make.
const retryThumbnail = 2 * time.Second

// getThumbnail answers GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid
func (a *API) getThumbnail(r *http.Request, _ *httpapi.Requester) (any, error) {
	s, err := a.thumbnail(r, httpapi.Var(r, "serverName"))
	if err != nil {
		return nil, err
	}
	return s.reply(r), nil
}

// thumbnail opens the thumbnail that the request asks for of a server's media.
func (a *API) thumbnail(r *http.Request, origin string) (*served, error) {
	size, err := thumbnailSize(r)
	if err != nil {
		return nil, err
	}
	animated, err := httpapi.BoolParam(r, "animated", false)
	if err != nil {
		return nil, err
	}
	m, err := a.await(r, origin)
	if err != nil {
		return nil, err
	}
	s, err := a.thumbnails.get(r.Context(), fileHash(m.SHA256), size.RoundUp(), animated)
	switch {
	case errors.Is(err, thumbnail.ErrUnsupported):
		return nil, httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "No thumbnail can be made of this content")
	case errors.Is(err, thumbnail.ErrTooLarge):
		return nil, httpapi.TooLarge("This image is too large to make a thumbnail of it")
	case errors.Is(err, errBusy):
		return nil, httpapi.Unavailable(retryThumbnail, "The server is busy making other thumbnails")
	case isFull(err):
		return nil, a.failed(err)
	case err != nil:
		return nil, gone(err)
	}
	a.accesses.add(m)
	return s, nil
}

func thumbnailSize(r *http.Request) (s thumbnail.Size, err error) {
	if s.Width, err = sideParam(r, "width"); err != nil {
		return s, err
	}
	if s.Height, err = sideParam(r, "height"); err != nil {
		return s, err
	}
	switch s.Method = thumbnail.Method(r.URL.Query().Get("method")); s.Method {
	case "":
		s.Method = thumbnail.Scale
	case thumbnail.Scale, thumbnail.Crop:
	default:
		return s, httpapi.InvalidParam("method is neither crop nor scale")
	}
	return s, nil
}

func sideParam(r *http.Request, name string) (int, error) {
	given := r.URL.Query().Get(name)
	if given == "" {
		return 0, httpapi.MissingParam("%s is missing", name)
	}
	n, err := strconv.ParseInt(given, 10, 64)
	if err != nil || n < 1 {
		return 0, httpapi.InvalidParam("%s isn't a positive number of pixels", name)
	}
	return int(min(n, maxSide)), nil
}
