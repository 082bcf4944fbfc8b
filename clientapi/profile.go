package clientapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

const (
	// maxProfile bounds a whole profile, and maxProfileKey a field's name, in bytes.
	maxProfile    = 64 << 10
	maxProfileKey = 255
)

func (a *API) profileRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/profile/{userId}", Auth: httpapi.AuthNone, Handle: a.getProfile},
		{Method: "GET", Path: "/profile/{userId}/{keyName}", Auth: httpapi.AuthNone, Handle: a.getProfileField},
		{Method: "PUT", Path: "/profile/{userId}/{keyName}", Rate: httpapi.RateMessage, Handle: a.putProfileField},
		{Method: "DELETE", Path: "/profile/{userId}/{keyName}", Rate: httpapi.RateMessage, Handle: a.deleteProfileField},
	}
}

// getProfile is GET /profile/{userId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
func (a *API) getProfile(r *http.Request, _ *httpapi.Requester) (any, error) {
	return a.profileOf(r)
}

func (a *API) profileOf(r *http.Request) (map[string]json.RawMessage, error) {
	userID := httpapi.Var(r, "userId")
	if _, _, ok := userid.Split(userID); !ok {
		return nil, httpapi.InvalidParam("This is not a user id")
	}
	if a.o.Federation != nil && !userid.IsLocal(userID, a.serverName) {
		// Anybody may ask: nobody can make this server ask others without end.
		return a.o.Federation.Profile(r.Context(), userID, func() error { return httpapi.Charge(r, nil, httpapi.RateExpensive) })
	}
	profile, err := a.db.GetProfile(r.Context(), userID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("There is no profile of this user")
	}
	return profile, err
}

// getProfileField is GET /profile/{userId}/{keyName}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname
func (a *API) getProfileField(r *http.Request, _ *httpapi.Requester) (any, error) {
	key := httpapi.Var(r, "keyName")
	if err := checkProfileKey(key); err != nil {
		return nil, err
	}
	profile, err := a.profileOf(r)
	if err != nil {
		return nil, err
	}
	value, ok := profile[key]
	if !ok {
		return nil, httpapi.NotFound("The profile has no such field")
	}
	return map[string]json.RawMessage{key: value}, nil
}

// profileKey is the Common Namespaced Identifier Grammar, as far as profiles use
// it: what isn't defined by the specification has a namespace.
//
// https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar
var profileKey = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+$`)

func checkProfileKey(key string) error {
	switch {
	case len(key) > maxProfileKey:
		return httpapi.New(http.StatusBadRequest, "M_KEY_TOO_LARGE", "The field's name is longer than %d bytes", maxProfileKey)
	case key != "displayname" && key != "avatar_url" && !profileKey.MatchString(key):
		return httpapi.InvalidParam("This is not the name of a profile field")
	}
	return nil
}

// ownProfileField returns the field's name if the requester may change it.
func ownProfileField(r *http.Request, u *httpapi.Requester) (string, error) {
	if httpapi.Var(r, "userId") != u.UserID {
		return "", httpapi.Forbidden("You can only change your own profile")
	}
	key := httpapi.Var(r, "keyName")
	if u.Guest && key != "displayname" {
		return "", httpapi.GuestForbidden("Of their profile guests may change the display name alone")
	}
	return key, checkProfileKey(key)
}

// putProfileField is PUT /profile/{userId}/{keyName}. An empty display name or
// avatar is none.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
func (a *API) putProfileField(r *http.Request, u *httpapi.Requester) (any, error) {
	key, err := ownProfileField(r, u)
	if err != nil {
		return nil, err
	}
	var body map[string]json.RawMessage
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	given, ok := body[key]
	if !ok {
		return nil, httpapi.MissingParam("The body has no member %q", key)
	}
	value, err := checkProfileValue(key, given)
	if err != nil {
		return nil, err
	}
	return nil, a.changeProfile(r.Context(), u.UserID, key, value)
}

// deleteProfileField is DELETE /profile/{userId}/{keyName}.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname
func (a *API) deleteProfileField(r *http.Request, u *httpapi.Requester) (any, error) {
	key, err := ownProfileField(r, u)
	if err != nil {
		return nil, err
	}
	return nil, a.changeProfile(r.Context(), u.UserID, key, nil)
}

// checkProfileValue returns the value as it is stored, nil to delete it. That avatar_url
// is an mxc:// URI is left to clients, which show nothing else.
func checkProfileValue(key string, given json.RawMessage) (json.RawMessage, error) {
	if key != "displayname" && key != "avatar_url" && key != "m.tz" {
		var compact bytes.Buffer
		err := json.Compact(&compact, given)
		return compact.Bytes(), err
	}
	var text *string
	if err := json.Unmarshal(given, &text); err != nil || text == nil {
		return nil, httpapi.BadJSON("%s must be a string", key)
	}
	limit := map[string]int{"displayname": maxDisplayName, "avatar_url": maxAvatarURL, "m.tz": 100}[key]
	if err := checkText(key, *text, limit); err != nil {
		return nil, err
	}
	if *text == "" {
		return nil, nil
	}
	return json.Marshal(*text)
}

// changeProfile stores a field, or deletes it if value is nil, and has the
// membership events follow if they show it. They do so even if the field had this
// value before: the last time may have been interrupted.
func (a *API) changeProfile(ctx context.Context, userID, key string, value json.RawMessage) error {
	var err error
	if value == nil {
		err = a.db.DeleteProfileField(ctx, userID, key)
	} else {
		err = a.db.SetProfileField(ctx, userID, key, value, maxProfile)
	}
	if errors.Is(err, storage.ErrProfileTooLarge) {
		return httpapi.New(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "A profile is at most %d bytes", maxProfile)
	}
	if err != nil || a.o.OnProfileChange == nil || key != "displayname" && key != "avatar_url" {
		return err
	}
	return a.o.OnProfileChange(ctx, userID)
}

// setDisplayName gives a new account a display name.
func (a *API) setDisplayName(ctx context.Context, userID, name string) error {
	value, err := json.Marshal(name)
	if err != nil {
		return err
	}
	return a.db.SetProfileField(ctx, userID, "displayname", value, maxProfile)
}
