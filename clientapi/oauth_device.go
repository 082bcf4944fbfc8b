package clientapi

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file is the device authorisation grant: an app that can't lead people to a page shows them
// a code, with which they let it in on another device.
//
// https://spec.matrix.org/v1.19/client-server-api/#device-authorisation-flow

const (
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
	// deviceCodeLifetime is how long people may take, deviceCodeMemory how long the app is
	// told that they took too long.
	deviceCodeLifetime = 15 * time.Minute
	deviceCodeMemory   = 30 * time.Minute
	// pollInterval is how long apps wait before they ask again.
	pollInterval = 5 * time.Second
	// userCodeLetters make no words and can't be mixed up.
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
)

// deviceCodes are the codes that apps wait for.
type deviceCodes struct {
	mu       sync.Mutex // guards what the requests hold
	byDevice *expirable.LRU[storage.TokenHash, *deviceRequest]
	byUser   *expirable.LRU[string, *deviceRequest]
	// interval is pollInterval but in tests.
	interval time.Duration
}

// deviceRequest is what an app asks for.
type deviceRequest struct {
	authorization
	userCode  string
	expiresAt time.Time
	askedAt   time.Time
	// by is who has let the app in; decided is set when they have said yes or no.
	by      signedIn
	decided bool
}

func newDeviceCodes() *deviceCodes {
	return &deviceCodes{interval: pollInterval,
		byDevice: expirable.NewLRU[storage.TokenHash, *deviceRequest](maxCodes, nil, deviceCodeMemory),
		byUser:   expirable.NewLRU[string, *deviceRequest](maxCodes, nil, deviceCodeLifetime)}
}

func newUserCode() string {
	var random [8]byte
	code := make([]byte, 0, len(random))
	for len(code) < cap(code) {
		rand.Read(random[:]) // never fails
		for _, b := range random {
			if int(b) < 256/len(userCodeLetters)*len(userCodeLetters) && len(code) < cap(code) { // each as likely
				code = append(code, userCodeLetters[int(b)%len(userCodeLetters)])
			}
		}
	}
	return string(code)
}

// spelled is a code as it is shown.
func spelled(userCode string) string { return userCode[:4] + "-" + userCode[4:] }

// waiting returns what an app waits for that shows a code, however that is written; nil if there
// is none.
func (d *deviceCodes) waiting(userCode string) *deviceRequest {
	code := strings.Map(func(c rune) rune {
		if strings.ContainsRune(userCodeLetters, c) {
			return c
		}
		return -1
	}, strings.ToUpper(userCode))
	q, ok := d.byUser.Get(code)
	if !ok {
		return nil
	}
	return q
}

// decide notes who has let the app in, nobody for no. It returns false if somebody has before.
func (d *deviceCodes) decide(q *deviceRequest, by signedIn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.decided {
		return false
	}
	q.decided, q.by = true, by
	d.byUser.Remove(q.userCode)
	return true
}

// poll returns what a user has let in, once.
func (d *deviceCodes) poll(hash storage.TokenHash, clientID string) (*deviceRequest, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q, ok := d.byDevice.Get(hash)
	now := time.Now()
	switch {
	case !ok || q.clientID != clientID:
		return nil, oauthRefusal("invalid_grant", "The device_code is unknown, was used before, or is another client's")
	case q.decided && q.by.userID == "":
		return nil, oauthRefusal("access_denied", "The user has said no")
	case !q.decided && now.After(q.expiresAt):
		return nil, oauthRefusal("expired_token", "The user has taken too long")
	case now.Sub(q.askedAt) < d.interval:
		return nil, oauthRefusal("slow_down", "Ask again every %s", d.interval)
	}
	q.askedAt = now
	if !q.decided {
		return nil, oauthRefusal("authorization_pending", "The user has not decided yet")
	}
	d.byDevice.Remove(hash)
	return q, nil
}

// postDeviceAuthorization begins.
//
// https://datatracker.ietf.org/doc/html/rfc8628#section-3.1
func (a *API) postDeviceAuthorization(r *http.Request, _ *httpapi.Requester) (any, error) {
	if err := r.ParseForm(); err != nil {
		return oauthRefusal("invalid_request", "The form can't be read").reply(), nil
	}
	q := &deviceRequest{userCode: newUserCode(), expiresAt: time.Now().Add(deviceCodeLifetime)}
	q.clientID = r.PostForm.Get("client_id")
	if q.client = a.oauth.client(q.clientID); q.client == nil {
		return oauthRefusal("invalid_client", "The client isn't registered").reply(), nil
	}
	if err := q.setScope(r.PostForm.Get("scope")); err != nil {
		return err.reply(), nil
	}
	code, hash := newToken("hearth_dc_")
	a.oauth.devices.byDevice.Add(hash, q)
	a.oauth.devices.byUser.Add(q.userCode, q)
	page := a.baseURL() + oauthPath + "/link"
	return &httpapi.Reply{Header: oauthHeader, JSON: map[string]any{
		"device_code": code, "user_code": spelled(q.userCode), "verification_uri": page,
		"verification_uri_complete": page + "?" + url.Values{"user_code": {spelled(q.userCode)}}.Encode(),
		"expires_in":                int(deviceCodeLifetime.Seconds()), "interval": int(pollInterval.Seconds()),
	}}, nil
}

// redeemDeviceCode makes a session for an app that was let in.
//
// https://datatracker.ietf.org/doc/html/rfc8628#section-3.5
func (a *API) redeemDeviceCode(ctx context.Context, form url.Values) (*tokenAnswer, error) {
	q, err := a.oauth.devices.poll(hashToken(form.Get("device_code")), form.Get("client_id"))
	if err != nil {
		return nil, err
	}
	return a.oauthSession(ctx, q.by, &q.authorization)
}

var linkTemplate = pageTemplate("link")

// linkPage asks for a code, or whether to let in the app that shows it.
func (a *API) linkPage(status int, user *storage.User, q *deviceRequest, said string) (any, error) {
	data := map[string]any{"SignedIn": user.ID, "Said": said}
	if q != nil {
		data["Client"], data["Host"], data["Code"] = q.client.title(), q.client.host(), spelled(q.userCode)
	}
	return a.page(status, linkTemplate, data, "'self'")
}

const unknownCode = "No app waits with this code: it was used already, has expired, or there is a slip in it."

// getLink shows the page that people are led to by the app that shows a code.
func (a *API) getLink(r *http.Request, _ *httpapi.Requester) (any, error) {
	code := r.URL.Query().Get("user_code")
	user, err := a.pageUser(r)
	if err != nil {
		return nil, err
	}
	if user == nil {
		page := oauthPath + "/link"
		if code != "" {
			page += "?" + url.Values{"user_code": {truncate(code, 20)}}.Encode()
		}
		return a.askToSignIn(page), nil
	}
	if code == "" {
		return a.linkPage(http.StatusOK, user, nil, "")
	}
	q := a.oauth.devices.waiting(code)
	if q == nil {
		return a.linkPage(http.StatusNotFound, user, nil, unknownCode)
	}
	return a.linkPage(http.StatusOK, user, q, "")
}

// postLink is what somebody says who was asked.
func (a *API) postLink(r *http.Request, _ *httpapi.Requester) (any, error) {
	form, err := a.readForm(r)
	if err != nil {
		return nil, err
	}
	user, err := a.pageUser(r)
	if err != nil {
		return nil, err
	}
	if user == nil || form.Get("as") != user.ID {
		return a.askToSignIn(oauthPath + "/link"), nil
	}
	q := a.oauth.devices.waiting(form.Get("user_code"))
	by, said := nowSignedIn(user), "Done. Go back to your app now."
	if form.Has("cancel") {
		by, said = signedIn{}, "The app was not let in."
	}
	if q == nil || !a.oauth.devices.decide(q, by) {
		return a.linkPage(http.StatusNotFound, user, nil, unknownCode)
	}
	return a.page(http.StatusOK, linkTemplate, map[string]any{"Done": said}, "'none'")
}
