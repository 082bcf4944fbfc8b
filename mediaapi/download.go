package mediaapi

import (
	"errors"
	"net/http"
	"os"

	"hearth/internal/httpapi"
)

// getDownload answers GET /_matrix/client/v1/media/download/{serverName}/{mediaId}
// and the same with a file name behind it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid
func (a *API) getDownload(r *http.Request, _ *httpapi.Requester) (any, error) {
	s, err := a.download(r, httpapi.Var(r, "serverName"))
	if err != nil {
		return nil, err
	}
	if filename := httpapi.Var(r, "fileName"); filename != "" {
		s.filename = filename
	}
	return s.reply(r), nil
}

// download opens the media of a server that the request's path names.
func (a *API) download(r *http.Request, origin string) (*served, error) {
	m, err := a.await(r, origin)
	if err != nil {
		return nil, err
	}
	hash := fileHash(m.SHA256)
	f, err := a.store.files.open(r.Context(), hash)
	if err != nil {
		return nil, gone(err)
	}
	inline, err := mayShow(m.ContentType, f)
	if err != nil {
		f.Close()
		return nil, gone(err)
	}
	a.accesses.add(m)
	return &served{file: f, contentType: m.ContentType, inline: inline, filename: m.Filename, etag: hash.String()}, nil
}

// gone is what is answered for a file that was deleted since its media was found.
func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		e := httpapi.NotFound("This media is gone")
		e.Err = err
		return e
	}
	return err
}
