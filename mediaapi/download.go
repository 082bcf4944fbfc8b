package mediaapi

import (
	"net/http"

	"hearth/internal/httpapi"
)

// getDownload answers GET /_matrix/client/v1/media/download/{serverName}/{mediaId}
// and the same with a file name behind it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid
func (a *API) getDownload(r *http.Request, _ *httpapi.Requester) (any, error) {
	m, err := a.await(r)
	if err != nil {
		return nil, err
	}
	filename := httpapi.Var(r, "fileName")
	if filename == "" {
		filename = m.Filename
	}
	hash := fileHash(m.SHA256)
	f, err := a.store.open(hash)
	if err != nil {
		return nil, err
	}
	s := &served{file: f, contentType: m.ContentType, filename: filename, etag: hash.String()}
	return s.reply(r), nil
}
