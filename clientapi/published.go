package clientapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"hearth/identity"
	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file publishes addresses by identity servers, and takes them back.

const (
	unbindSuccess   = "success"
	unbindNoSupport = "no-support"
)

// maxUnbindTime bounds how long the end of an account waits for identity servers.
const maxUnbindTime = 30 * time.Second

// unboundAnswer says whether identity servers have taken an address back.
type unboundAnswer struct {
	Result string `json:"id_server_unbind_result"`
}

// bindRequest is what POST /account/3pid/bind asks for.
type bindRequest struct {
	threepidCreds
	IDServer      string `json:"id_server"`
	IDAccessToken string `json:"id_access_token"`
}

// postBindThreepid is POST /account/3pid/bind.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind
func (a *API) postBindThreepid(r *http.Request, u *httpapi.Requester) (any, error) {
	var body bindRequest
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	return nil, a.bind(r.Context(), u.UserID, &body)
}

// postThreepid is the deprecated POST /account/3pid, which does the same.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid
func (a *API) postThreepid(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Creds bindRequest `json:"three_pid_creds"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	return nil, a.bind(r.Context(), u.UserID, &body.Creds)
}

func (a *API) bind(ctx context.Context, userID string, q *bindRequest) error {
	if q.SID == "" || q.ClientSecret == "" || q.IDAccessToken == "" {
		return httpapi.MissingParam("sid, client_secret and id_access_token must be there")
	}
	if !clientSecret.MatchString(q.ClientSecret) {
		return httpapi.InvalidParam("client_secret must be 1 to 255 of the characters 0-9 a-z A-Z . = _ -")
	}
	address, err := a.o.Identity.Bind(ctx, q.IDServer, q.IDAccessToken, q.SID, q.ClientSecret, userID)
	if err != nil {
		return err
	}
	bound := threepid{Medium: address.Medium, Address: address.Address}
	if err := bound.check(); err != nil {
		a.log.Info("an identity server has published something else than an address", "server", q.IDServer, "user", userID)
		return nil // it can't be taken back by what it says
	}
	return a.db.AddBoundThreepid(ctx, userID, storage.BoundThreepid{Medium: bound.Medium, Address: bound.Address, IDServer: q.IDServer})
}

// unbindRequest names an address and perhaps the identity server that has published it.
type unbindRequest struct {
	threepid
	IDServer string `json:"id_server"`
}

// postUnbindThreepid is POST /account/3pid/unbind.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind
func (a *API) postUnbindThreepid(r *http.Request, u *httpapi.Requester) (any, error) {
	var body unbindRequest
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if err := body.check(); err != nil {
		return nil, err
	}
	result, err := a.unbind(r.Context(), u.UserID, &body)
	if err != nil {
		return nil, err
	}
	return unboundAnswer{result}, nil
}

// unbind has the address taken back by the server that is named or, without one, by those
// that have published it.
func (a *API) unbind(ctx context.Context, userID string, q *unbindRequest) (result string, err error) {
	address := storage.BoundThreepid{Medium: q.Medium, Address: q.Address, IDServer: q.IDServer}
	if q.IDServer != "" {
		return a.unbindFrom(ctx, userID, address)
	}
	bound, err := a.db.BoundThreepids(ctx, userID)
	if err != nil {
		return "", err
	}
	result = unbindNoSupport
	for _, b := range bound {
		if b.Medium == q.Medium && b.Address == q.Address {
			if result, err = a.unbindFrom(ctx, userID, b); err != nil || result != unbindSuccess {
				return result, err
			}
		}
	}
	return result, nil
}

func (a *API) unbindFrom(ctx context.Context, userID string, b storage.BoundThreepid) (string, error) {
	err := a.o.Identity.Unbind(ctx, b.IDServer, userID, identity.Address{Medium: b.Medium, Address: b.Address})
	if errors.Is(err, identity.ErrUnbindRefused) {
		return unbindNoSupport, nil
	}
	if err != nil {
		return "", err
	}
	return unbindSuccess, a.db.RemoveBoundThreepid(ctx, userID, b)
}

// unbindAll has all that a user has published taken back, before their account ends.
// What fails doesn't keep the account from ending.
func (a *API) unbindAll(ctx context.Context, userID, idServer string) (result string, err error) {
	bound, err := a.db.BoundThreepids(ctx, userID)
	if err != nil {
		return "", err
	}
	if idServer != "" { // of the addresses of the account, which it may have from elsewhere
		list, err := a.db.Threepids(ctx, userID)
		if err != nil {
			return "", err
		}
		for _, t := range list {
			bound = append(bound, storage.BoundThreepid{Medium: t.Medium, Address: t.Address, IDServer: idServer})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, maxUnbindTime)
	defer cancel()
	result = unbindSuccess
	for _, b := range bound {
		one, err := a.unbindFrom(ctx, userID, b)
		if err != nil {
			a.log.Info("an address wasn't taken back", "server", b.IDServer, "user", userID, "err", err)
		}
		if one != unbindSuccess {
			result = unbindNoSupport
		}
	}
	return result, nil
}
