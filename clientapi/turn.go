package clientapi

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"hearth/internal/httpapi"
)

// TURN says by which servers calls can be relayed.
type TURN struct {
	URIs []string
	// SharedSecret is known to the TURN servers: each user gets credentials of their
	// own, for Lifetime. Without it all get Username and Password.
	SharedSecret       string
	Username, Password string
	Lifetime           time.Duration
}

// getTURNServer is GET /voip/turnServer. The credentials are those of TURN's REST API:
// the name holds the time until which they are good, the password signs it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver
func (a *API) getTURNServer(_ *http.Request, u *httpapi.Requester) (any, error) {
	t := a.o.TURN
	if t == nil {
		return nil, httpapi.NotFound("This server has no TURN server")
	}
	username, password := t.Username, t.Password
	if t.SharedSecret != "" {
		username = fmt.Sprintf("%d:%s", time.Now().Add(t.Lifetime).Unix(), u.UserID)
		mac := hmac.New(sha1.New, []byte(t.SharedSecret))
		mac.Write([]byte(username))
		password = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return map[string]any{"uris": t.URIs, "username": username, "password": password, "ttl": int(t.Lifetime.Seconds())}, nil
}
