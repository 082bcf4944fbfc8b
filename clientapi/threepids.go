package clientapi

import (
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) threepidRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/account/3pid", Handle: a.getThreepids},
		{Method: "POST", Path: "/account/3pid/add", Rate: httpapi.RateLogin, Handle: a.postAddThreepid},
		{Method: "POST", Path: "/account/3pid/delete", Rate: httpapi.RateMessage, Handle: a.postDeleteThreepid},
		{Method: "POST", Path: "/account/3pid/bind", Rate: httpapi.RateMessage, Handle: a.postBindThreepid},
		{Method: "POST", Path: "/account/3pid", Rate: httpapi.RateMessage, Handle: a.postThreepid},
		{Method: "POST", Path: "/account/3pid/unbind", Rate: httpapi.RateMessage, Handle: a.postUnbindThreepid},
	}
}

// threepidCreds stand for an address that its owner has confirmed.
type threepidCreds struct {
	SID          string `json:"sid"`
	ClientSecret string `json:"client_secret"`
}

func threepidInUse() error {
	return httpapi.New(http.StatusBadRequest, "M_THREEPID_IN_USE", "This e-mail address belongs to another account")
}

// getThreepids is GET /account/3pid.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
func (a *API) getThreepids(r *http.Request, u *httpapi.Requester) (any, error) {
	list, err := a.db.Threepids(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	threepids := make([]any, len(list))
	for i, t := range list {
		threepids[i] = map[string]any{"medium": t.Medium, "address": t.Address,
			"validated_at": t.ValidatedAt.UnixMilli(), "added_at": t.AddedAt.UnixMilli()}
	}
	return map[string]any{"threepids": threepids}, nil
}

// postAddThreepid is POST /account/3pid/add, with interactive authentication.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd
func (a *API) postAddThreepid(r *http.Request, u *httpapi.Requester) (any, error) {
	if a.o.Mailer == nil {
		return nil, mediumNotSupported("e-mail addresses")
	}
	var creds threepidCreds
	if _, err := a.interactive(r, u, &creds); err != nil {
		return nil, err
	}
	v, err := a.validatedEmail(r.Context(), creds, storage.EmailForAccount)
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
		return nil, httpapi.New(http.StatusBadRequest, refused.Code, "%s", refused.Message)
	}
	if err != nil {
		return nil, err
	}
	err = a.db.AddThreepid(r.Context(), u.UserID, v)
	switch {
	case errors.Is(err, storage.ErrThreepidInUse):
		return nil, threepidInUse()
	case errors.Is(err, storage.ErrTooManyThreepids):
		return nil, httpapi.New(http.StatusForbidden, "M_THREEPID_DENIED", "Your account has as many addresses as it may have")
	case errors.Is(err, storage.ErrNotFound):
		return nil, userDeactivated()
	}
	return nil, err
}

// postDeleteThreepid is POST /account/3pid/delete.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete
func (a *API) postDeleteThreepid(r *http.Request, u *httpapi.Requester) (any, error) {
	var body unbindRequest
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if err := body.check(); err != nil {
		return nil, err
	}
	if err := a.db.DeleteThreepid(r.Context(), u.UserID, body.Medium, body.Address); err != nil {
		return nil, err
	}
	result, err := a.unbind(r.Context(), u.UserID, &body)
	if err != nil {
		a.log.Info("an address wasn't taken back", "server", body.IDServer, "user", u.UserID, "err", err)
		result = unbindNoSupport
	}
	return unboundAnswer{result}, nil
}

// threepid is an address in a request.
type threepid struct {
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

func (t *threepid) check() error {
	if t.Medium == "" || t.Address == "" {
		return httpapi.MissingParam("medium and address must be there")
	}
	if t.Medium != "email" && t.Medium != "msisdn" {
		return httpapi.InvalidParam("medium must be email or msisdn")
	}
	if t.Medium == "email" {
		address, err := canonicalEmail(t.Address)
		t.Address = address
		return err
	}
	return checkText("address", t.Address, maxAddress)
}
