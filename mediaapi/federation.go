package mediaapi

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"hearth/internal/httpapi"
)

// ServeDownload answers another server's GET /_matrix/federation/v1/media/download/{mediaId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
func (a *API) ServeDownload(r *http.Request) (any, error) {
	s, err := a.download(r, a.serverName)
	if err != nil {
		return nil, err
	}
	return s.parts()
}

// ServeThumbnail answers another server's GET /_matrix/federation/v1/media/thumbnail/{mediaId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid
func (a *API) ServeThumbnail(r *http.Request) (any, error) {
	s, err := a.thumbnail(r, a.serverName)
	if err != nil {
		return nil, err
	}
	return s.parts()
}

// parts is the file as servers send it to one another: metadata, of which there is
// none yet, and the content.
func (s *served) parts() (*httpapi.Reply, error) {
	size, err := s.file.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = s.file.Seek(0, io.SeekStart)
	}
	if err != nil {
		s.file.Close()
		return nil, fmt.Errorf("measuring a file: %w", err)
	}
	boundary := rand.Text()
	head := fmt.Sprintf("--%[1]s\r\nContent-Type: application/json\r\n\r\n{}\r\n--%[1]s\r\nContent-Type: %[2]s\r\nContent-Disposition: %[3]s\r\n\r\n",
		boundary, s.contentType, s.disposition())
	tail := "\r\n--" + boundary + "--\r\n"
	h := http.Header{}
	h.Set("Content-Type", "multipart/mixed; boundary="+boundary)
	h.Set("Content-Length", strconv.FormatInt(int64(len(head)+len(tail))+size, 10))
	return &httpapi.Reply{Header: h, Status: http.StatusOK, Write: func(w http.ResponseWriter) error {
		defer s.file.Close()
		m := newMovingAnswer(w)
		if _, err := io.WriteString(m, head); err != nil {
			return err
		}
		if _, err := io.CopyN(m, s.file, size); err != nil {
			return err
		}
		if _, err := io.WriteString(m, tail); err != nil {
			return err
		}
		return m.finish()
	}}, nil
}
