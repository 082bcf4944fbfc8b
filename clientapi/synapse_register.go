package clientapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/internal/httpapi"
	"hearth/internal/password"
)

// This file is the part of Synapse's admin API by which scripts that hold the
// registration secret make accounts, so that those scripts work here too.

const (
	nonceAge  = time.Minute
	maxNonces = 10_000
)

// nonces are the ones handed out and not used yet.
type nonces struct {
	mu  sync.Mutex
	lru *expirable.LRU[string, struct{}]
}

func newNonces() *nonces {
	return &nonces{lru: expirable.NewLRU[string, struct{}](maxNonces, nil, nonceAge)}
}

// take reports whether the nonce was handed out, and ends it.
func (n *nonces) take(nonce string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.lru.Get(nonce); !ok { // Get, unlike Remove, knows of the age
		return false
	}
	return n.lru.Remove(nonce)
}

func (a *API) synapseRegisterRoutes() []httpapi.Route {
	const path = "/_synapse/admin/v1/register"
	return []httpapi.Route{
		{Method: "GET", Path: path, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getSynapseRegister},
		{Method: "POST", Path: path, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.postSynapseRegister},
	}
}

func (a *API) requireRegistrationSecret() error {
	if a.o.RegistrationSecret == "" {
		return httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "Shared secret registration is not enabled")
	}
	return nil
}

// getSynapseRegister is GET /_synapse/admin/v1/register: it hands out a nonce.
func (a *API) getSynapseRegister(*http.Request, *httpapi.Requester) (any, error) {
	if err := a.requireRegistrationSecret(); err != nil {
		return nil, err
	}
	nonce := rand.Text()
	a.nonces.lru.Add(nonce, struct{}{})
	return map[string]string{"nonce": nonce}, nil
}

// secretRegistration is the body of postSynapseRegister.
type secretRegistration struct {
	registration
	Nonce       string `json:"nonce"`
	Admin       bool   `json:"admin"`
	DisplayName string `json:"displayname"`
	UserType    string `json:"user_type"`
	MAC         string `json:"mac"`
}

// check refuses what is missing or out of bounds.
func (b *secretRegistration) check() error {
	switch {
	case b.Nonce == "":
		return httpapi.MissingParam("The nonce is missing")
	case b.Username == "":
		return httpapi.MissingParam("The username is missing")
	case b.Password == nil:
		return httpapi.MissingParam("The password is missing")
	case b.MAC == "":
		return httpapi.MissingParam("The mac is missing")
	case !slices.Contains([]string{"", "bot", "support"}, b.UserType):
		return httpapi.InvalidParam("Unknown user_type")
	}
	if err := checkText("displayname", b.DisplayName, maxDisplayName); err != nil {
		return err
	}
	if err := password.Check(*b.Password); err != nil {
		return httpapi.InvalidParam("%s", capitalise(err.Error()))
	}
	return nil
}

// authentic reports whether the mac was made with the secret.
func (b *secretRegistration) authentic(secret string) bool {
	role := "notadmin"
	if b.Admin {
		role = "admin"
	}
	parts := []string{b.Nonce, b.Username, *b.Password, role}
	if b.UserType != "" {
		parts = append(parts, b.UserType)
	}
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(strings.Join(parts, "\x00")))
	given, err := hex.DecodeString(b.MAC)
	return err == nil && hmac.Equal(given, mac.Sum(nil))
}

// postSynapseRegister is POST /_synapse/admin/v1/register: it makes an account for
// who holds the secret.
func (a *API) postSynapseRegister(r *http.Request, _ *httpapi.Requester) (any, error) {
	if err := a.requireRegistrationSecret(); err != nil {
		return nil, err
	}
	var body secretRegistration
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if err := body.check(); err != nil {
		return nil, err
	}
	if !a.nonces.take(body.Nonce) {
		return nil, httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "Unrecognised nonce")
	}
	if !body.authentic(a.o.RegistrationSecret) {
		return nil, httpapi.New(http.StatusForbidden, "M_UNKNOWN", "HMAC incorrect")
	}
	if err := a.checkRegistration(r.Context(), &body.registration); err != nil {
		return nil, err
	}
	body.account.User.Admin, body.account.User.UserType = body.Admin, body.UserType
	answer, err := a.register(r.Context(), &body.registration)
	if err != nil {
		return nil, err
	}
	if body.DisplayName != "" {
		if err := a.setDisplayName(r.Context(), answer.UserID, body.DisplayName); err != nil {
			return nil, err
		}
	}
	return answer, nil
}
