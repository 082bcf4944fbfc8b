package clientapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/password"
	"hearth/internal/userid"
	"hearth/storage"
)

// passwordPatience is how long a request waits for its turn to have a password
// checked.
const passwordPatience = 15 * time.Second

// identifier says who a password belongs to.
//
// https://spec.matrix.org/v1.19/client-server-api/#identifier-types
type identifier struct {
	Type    string `json:"type"`
	User    string `json:"user"`
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

// resolve returns the user id that an identifier, or the deprecated field user,
// stands for. Whether there is such an account remains to be seen.
func (a *API) resolve(ctx context.Context, id *identifier, user string) (string, error) {
	if id == nil {
		id = &identifier{Type: "m.id.user", User: user}
	}
	switch id.Type {
	case "m.id.user":
	case "m.id.thirdparty", "m.id.phone", "": // "" may have a medium and an address
		if id.User == "" {
			return a.resolveEmail(ctx, id)
		}
	default:
		return "", httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "Unknown identifier type %q", truncate(id.Type, 100))
	}
	if id.User == "" {
		return "", httpapi.MissingParam("The user is missing")
	}
	if !strings.HasPrefix(id.User, "@") {
		return "@" + id.User + ":" + a.serverName, nil
	}
	if !userid.IsLocal(id.User, a.serverName) {
		return "", wrongPassword()
	}
	return id.User, nil
}

// resolveEmail returns the owner of an address. For one without an owner it is a name
// that no account has, so that the answer takes as long as any other.
func (a *API) resolveEmail(ctx context.Context, id *identifier) (string, error) {
	address, err := canonicalEmail(id.Address)
	if id.Medium != "email" || err != nil {
		return "", httpapi.Forbidden("No account has this third-party identifier")
	}
	owner, err := a.db.ThreepidOwner(ctx, "email", address)
	if errors.Is(err, storage.ErrNotFound) {
		return "email:" + address, nil
	}
	return owner, err
}

func wrongPassword() error { return httpapi.Forbidden("Wrong user name or password") }

func userDeactivated() error {
	return httpapi.New(http.StatusForbidden, "M_USER_DEACTIVATED", "This account has been deactivated")
}

// checkPassword returns the account that has this password. Wrong ones, and
// unknown users, are 403 M_FORBIDDEN after the same time.
func (a *API) checkPassword(ctx context.Context, userID, given string) (*storage.User, error) {
	if !isText(userID) {
		return nil, wrongPassword()
	}
	userID, user, err := a.findUser(ctx, userID)
	if err != nil {
		return nil, err
	}
	if err := a.logins.Take(userID); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, passwordPatience)
	defer cancel()
	ok, err := a.o.Passwords.Verify(ctx, user.PasswordHash, given)
	switch {
	case err != nil:
		return nil, passwordError(ctx, err)
	case user.Deactivated:
		return nil, userDeactivated()
	case !ok:
		return nil, wrongPassword()
	case user.Locked:
		return nil, httpapi.UserLocked()
	}
	return user, nil
}

// findUser looks the account up as it is written and then, as user ids of
// today have no capitals, in lower case. For an unknown one it returns an account
// that no password fits.
func (a *API) findUser(ctx context.Context, userID string) (string, *storage.User, error) {
	local, server, _ := userid.Split(userID)
	for _, id := range []string{userID, "@" + strings.ToLower(local) + ":" + server} {
		user, err := a.db.GetUser(ctx, id)
		if err == nil {
			return id, user, nil
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return "", nil, err
		}
	}
	return userID, &storage.User{}, nil
}

// hashPassword returns what to store for a new password.
func (a *API) hashPassword(ctx context.Context, given string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, passwordPatience)
	defer cancel()
	hash, err := a.o.Passwords.Hash(ctx, given)
	return hash, passwordError(ctx, err)
}

// checkPolicy refuses new passwords that aren't as the server's policy wants them.
//
// https://spec.matrix.org/v1.19/client-server-api/#password-management
func (a *API) checkPolicy(given string) error {
	if given == "" {
		return httpapi.MissingParam("The password is missing")
	}
	err := a.o.PasswordPolicy.Check(given)
	var short *password.TooShortError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &short):
		return httpapi.New(http.StatusBadRequest, "M_PASSWORD_TOO_SHORT", "%s", capitalise(err.Error()))
	}
	return httpapi.New(http.StatusBadRequest, "M_WEAK_PASSWORD", "%s", capitalise(err.Error()))
}

// passwordError is the Matrix error for what package password refuses.
func passwordError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, password.ErrEmpty):
		return httpapi.MissingParam("The password is missing")
	case errors.Is(err, password.ErrTooLong):
		return httpapi.InvalidParam("The password is longer than %d bytes", password.MaxLength)
	case errors.Is(err, password.ErrBusy), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return httpapi.LimitExceeded(passwordPatience)
	}
	return err
}
