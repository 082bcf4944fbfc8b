package clientapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file is user-interactive authentication: a request is repeated with an
// auth member until the stages of one of the flows are complete.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api

const (
	// maxAuthSessions and authSessionAge bound the sessions in progress.
	maxAuthSessions = 10_000
	authSessionAge  = 15 * time.Minute
)

// interactiveAuth keeps the sessions in progress. One that was pushed out, or
// lost with the process, begins again.
type interactiveAuth struct {
	mu       sync.Mutex // guards the sessions' contents
	sessions *expirable.LRU[string, *authSession]
}

// demand is what a request must be authenticated for, and by which stages.
type demand struct {
	operation [32]byte
	// requester is the user whose access token the request has; "" without one.
	requester string
	// flows are the lists of stages of which one must be completed, in its order.
	flows [][]string
	// params is what clients must know of some stages. The stage m.oauth is completed at page
	// with the session's id behind it.
	params map[string]any
	page   string
	// what says to people what is done.
	what string
}

// authSession is bound to one operation: what is asked for, by whom.
type authSession struct {
	id        string
	operation [32]byte
	requester string
	what      string
	completed []string
	// flows are those of which one must be completed.
	flows [][]string
	// ended is set when the operation may go ahead, which it may once.
	ended bool
	proof
}

func newInteractiveAuth() *interactiveAuth {
	return &interactiveAuth{sessions: expirable.NewLRU[string, *authSession](maxAuthSessions, nil, authSessionAge)}
}

// interactive decodes the request's body into v, unless that is nil, and makes
// its sender prove who they are. Without a requester it is the proof alone that
// says so; others are the flows that are good for it then, beside the password. It
// returns the user, or the error that asks for what is missing.
func (a *API) interactive(r *http.Request, u *httpapi.Requester, v any, others ...[]string) (userID string, err error) {
	auth, rest, err := splitAuth(r)
	if err != nil {
		return "", err
	}
	// Before any password: what can't be done isn't worth proving oneself for.
	if v != nil {
		if err := httpapi.Unmarshal(rest, v); err != nil {
			return "", err
		}
		if c, ok := v.(interface{ check() error }); ok {
			if err := c.check(); err != nil {
				return "", err
			}
		}
	}
	d := demand{flows: append([][]string{{stagePassword}}, others...), what: operationWords(r)}
	if u != nil {
		d.requester = u.UserID
		if err := a.setFlows(r, u, &d); err != nil {
			return "", err
		}
	}
	d.operation = sha256.Sum256(bytes.Join([][]byte{[]byte(r.Method), []byte(r.URL.EscapedPath()), []byte(d.requester), rest}, []byte{0}))
	s, err := a.authenticate(r.Context(), d, auth)
	if err == nil && s.byPassword.userID != "" {
		// It may have been a while ago, on a page.
		var user *storage.User
		if user, err = a.db.GetUser(r.Context(), s.userID); err == nil {
			err = s.byPassword.still(user)
		}
	}
	if err != nil {
		return "", err
	}
	return s.userID, nil
}

// operationWords says to people what an operation does, by its path.
func operationWords(r *http.Request) string {
	for _, o := range []struct{ part, words string }{
		{"/devices/", "remove a device from it"},
		{"/delete_devices", "remove devices from it"},
		{"/account/deactivate", "end your account for ever"},
		{"/account/password", "set another password"},
		{"/device_signing/", "replace the keys by which others know that you are you"},
		{"/login/get_token", "log another device in"},
	} {
		if strings.Contains(r.URL.Path, o.part) {
			return o.words
		}
	}
	return "change it"
}

// splitAuth reads the request's body, which may be empty, and takes the auth
// member out of it. The rest is the same bytes for equal requests.
func splitAuth(r *http.Request) (auth *authData, rest []byte, err error) {
	members := map[string]json.RawMessage{}
	if err := httpapi.DecodeOptionalJSON(r, &members); err != nil {
		return nil, nil, err
	}
	if raw := members["auth"]; raw != nil {
		if err := httpapi.Unmarshal(raw, &auth); err != nil {
			return nil, nil, err
		}
		delete(members, "auth")
	}
	if rest, err = json.Marshal(members); err != nil {
		return nil, nil, fmt.Errorf("encoding a request again: %w", err)
	}
	return auth, rest, nil
}

// authenticate tries the stage that auth holds. When a flow is complete it
// returns the session, which has ended; otherwise the error that asks for more.
func (a *API) authenticate(ctx context.Context, d demand, auth *authData) (*authSession, error) {
	s := a.auth.session(d, auth)
	if auth == nil {
		return nil, a.auth.challenge(s, d, nil)
	}
	if auth.Type != "" && !a.auth.done(s, auth.Type) {
		proved, err := a.attempt(ctx, d, s, auth)
		var refused *httpapi.Error
		if errors.As(err, &refused) && refused.Status == http.StatusForbidden && !errors.Is(err, errOtherAccount) {
			return nil, a.auth.challenge(s, d, refused)
		}
		if err != nil {
			return nil, err
		}
		a.auth.complete(s, d, auth.Type, proved)
	}
	if !a.auth.finish(s, d) {
		return nil, a.auth.challenge(s, d, nil)
	}
	return s, nil
}

// attempt tries one stage, if it is the next one of a flow.
func (a *API) attempt(ctx context.Context, d demand, s *authSession, auth *authData) (proof, error) {
	if !a.auth.isNext(s, d, auth.Type) {
		return proof{}, httpapi.Forbidden("%q is not the next stage of any flow", truncate(auth.Type, 100))
	}
	return a.tryStage(ctx, d, auth)
}

// session returns the session that auth names. If there is none, or it was begun
// for something else, it begins a new one.
func (ia *interactiveAuth) session(d demand, auth *authData) *authSession {
	if auth != nil && auth.Session != "" {
		if s, ok := ia.sessions.Get(auth.Session); ok && s.operation == d.operation && s.requester == d.requester {
			return s
		}
	}
	return newAuthSession(d)
}

func newAuthSession(d demand) *authSession {
	return &authSession{id: rand.Text(), operation: d.operation, requester: d.requester, what: d.what}
}

func (ia *interactiveAuth) done(s *authSession, stage string) bool {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	return slices.Contains(s.completed, stage)
}

func (ia *interactiveAuth) isNext(s *authSession, d demand, stage string) bool {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	return d.isNext(s.completed, stage)
}

// isNext reports whether a flow goes on with this stage after the completed ones.
func (d *demand) isNext(completed []string, stage string) bool {
	return slices.ContainsFunc(d.flows, func(flow []string) bool {
		n := len(completed)
		return len(flow) > n && slices.Equal(flow[:n], completed) && flow[n] == stage
	})
}

// complete notes that a stage was passed, unless another request was faster.
func (ia *interactiveAuth) complete(s *authSession, d demand, stage string, proved proof) {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	if d.isNext(s.completed, stage) {
		s.completed = append(s.completed, stage)
		s.proof.add(proved)
	}
}

// finish ends the session if a flow is complete. Of several requests with one
// session a single one may go ahead.
func (ia *interactiveAuth) finish(s *authSession, d demand) bool {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	complete := slices.ContainsFunc(d.flows, func(flow []string) bool { return slices.Equal(flow, s.completed) })
	if s.ended || !complete {
		return false
	}
	s.ended = true
	ia.sessions.Remove(s.id)
	return true
}

// challenge keeps the session and asks for what is missing; refused, if not nil,
// says why the last attempt was no good.
func (ia *interactiveAuth) challenge(s *authSession, d demand, refused *httpapi.Error) error {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	if s.ended { // by another request: its proofs are used up
		s = newAuthSession(d)
	}
	s.flows = d.flows
	ia.sessions.Add(s.id, s)
	flows := make([]any, len(d.flows))
	for i, stages := range d.flows {
		flows[i] = map[string]any{"stages": stages}
	}
	params := d.params
	if params == nil {
		params = map[string]any{}
	}
	if d.page != "" {
		params[stageOAuth] = map[string]string{"url": d.page + s.id}
	}
	e := &httpapi.Error{Status: http.StatusUnauthorized, Extra: map[string]any{"session": s.id, "flows": flows, "params": params}}
	if len(s.completed) > 0 {
		e.Extra["completed"] = slices.Clone(s.completed)
	}
	if refused != nil {
		e.Code, e.Message = refused.Code, refused.Message
	}
	return e
}
