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
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/internal/httpapi"
)

// This file is user-interactive authentication: a request is repeated with an
// auth member until the stages of one of the flows are complete.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api

const (
	stagePassword = "m.login.password"
	stageDummy    = "m.login.dummy"

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

// authSession is bound to one operation: what is asked for, by whom.
type authSession struct {
	id        string
	operation [32]byte
	completed []string
	// userID is who proved themselves by password; "" if nobody has yet.
	userID string
}

func newInteractiveAuth() *interactiveAuth {
	return &interactiveAuth{sessions: expirable.NewLRU[string, *authSession](maxAuthSessions, nil, authSessionAge)}
}

// authData is the auth member of a request.
type authData struct {
	Type       string      `json:"type"`
	Session    string      `json:"session"`
	Identifier *identifier `json:"identifier"`
	User       string      `json:"user"`
	Password   string      `json:"password"`
}

// interactive decodes the request's body into v, unless that is nil, and makes
// its sender prove with their password who they are. Without a requester it is
// the password alone that says so. It returns the user, or the error that asks
// for what is missing.
func (a *API) interactive(r *http.Request, u *httpapi.Requester, v any) (userID string, err error) {
	auth, rest, err := splitAuth(r)
	if err != nil {
		return "", err
	}
	// Before any password: what can't be done isn't worth proving oneself for.
	if v != nil {
		if err := httpapi.Unmarshal(rest, v); err != nil {
			return "", err
		}
	}
	var requester string
	if u != nil {
		requester = u.UserID
	}
	operation := sha256.Sum256(bytes.Join([][]byte{[]byte(r.Method), []byte(r.URL.EscapedPath()), []byte(requester), rest}, []byte{0}))
	s, err := a.authenticate(r.Context(), operation, requester, []string{stagePassword}, auth)
	if err != nil {
		return "", err
	}
	return s.userID, nil
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

// authenticate tries the stage that auth holds. When the flow is complete it
// returns the session, which has ended; otherwise the error that asks for more.
func (a *API) authenticate(ctx context.Context, operation [32]byte, requester string, flow []string, auth *authData) (*authSession, error) {
	s := a.auth.session(operation, auth)
	if auth == nil {
		return nil, a.auth.challenge(s, flow, nil)
	}
	if auth.Type != "" && !a.auth.done(s, auth.Type) {
		userID, err := a.tryStage(ctx, requester, flow, auth)
		var refused *httpapi.Error
		if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
			return nil, a.auth.challenge(s, flow, refused)
		}
		if err != nil {
			return nil, err
		}
		a.auth.complete(s, auth.Type, userID)
	}
	if !a.auth.finish(s, flow) {
		return nil, a.auth.challenge(s, flow, nil)
	}
	return s, nil
}

// tryStage attempts one stage and returns the user it has proved, if any.
func (a *API) tryStage(ctx context.Context, requester string, flow []string, auth *authData) (userID string, err error) {
	if !slices.Contains(flow, auth.Type) {
		return "", httpapi.Forbidden("%q is not a stage of any flow", truncate(auth.Type, 100))
	}
	if auth.Type == stageDummy {
		return "", nil
	}
	claimed := requester
	if auth.Identifier != nil || auth.User != "" || requester == "" {
		if claimed, err = a.resolve(auth.Identifier, auth.User); err != nil {
			return "", err
		}
	}
	user, err := a.checkPassword(ctx, claimed, auth.Password)
	if err != nil {
		return "", err
	}
	if requester != "" && user.ID != requester {
		return "", httpapi.Forbidden("This password belongs to another account")
	}
	return user.ID, nil
}

// session returns the session that auth names. If there is none, or it was begun
// for something else, it begins a new one.
func (ia *interactiveAuth) session(operation [32]byte, auth *authData) *authSession {
	if auth != nil && auth.Session != "" {
		if s, ok := ia.sessions.Get(auth.Session); ok && s.operation == operation {
			return s
		}
	}
	return &authSession{id: rand.Text(), operation: operation}
}

func (ia *interactiveAuth) done(s *authSession, stage string) bool {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	return slices.Contains(s.completed, stage)
}

func (ia *interactiveAuth) complete(s *authSession, stage, userID string) {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	s.completed = append(s.completed, stage)
	if userID != "" {
		s.userID = userID
	}
}

// finish ends the session if its flow is complete.
func (ia *interactiveAuth) finish(s *authSession, flow []string) bool {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	for _, stage := range flow {
		if !slices.Contains(s.completed, stage) {
			return false
		}
	}
	ia.sessions.Remove(s.id)
	return true
}

// challenge keeps the session and asks for what is missing; refused, if not nil,
// says why the last attempt was no good.
func (ia *interactiveAuth) challenge(s *authSession, flow []string, refused *httpapi.Error) error {
	ia.sessions.Add(s.id, s)
	ia.mu.Lock()
	defer ia.mu.Unlock()
	e := &httpapi.Error{Status: http.StatusUnauthorized, Extra: map[string]any{
		"session": s.id,
		"flows":   []any{map[string]any{"stages": flow}},
		"params":  map[string]any{},
	}}
	if len(s.completed) > 0 {
		e.Extra["completed"] = slices.Clone(s.completed)
	}
	if refused != nil {
		e.Code, e.Message = refused.Code, refused.Message
	}
	return e
}
