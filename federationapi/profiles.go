package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
)

const (
	// profileFor is for how long another server's answer about a profile is kept, and
	// maxProfiles bounds what all of them take, in bytes.
	profileFor, maxProfiles = 2 * time.Minute, 8 << 20
	// profileTimeout bounds how long a profile is waited for, and maxProfile one profile, in
	// bytes.
	profileTimeout, maxProfile = 15 * time.Second, 64 << 10
)

// remoteProfile is what a server said of a user; nil for no such user.
type remoteProfile map[string]json.RawMessage

func newProfileCache() *otter.Cache[string, remoteProfile] {
	return otter.Must(&otter.Options[string, remoteProfile]{
		MaximumWeight: maxProfiles,
		Weigher: func(userID string, p remoteProfile) uint32 {
			size := len(userID) + 200
			for key, value := range p {
				size += len(key) + len(value) + 50
			}
			return uint32(size)
		},
		ExpiryCalculator: otter.ExpiryWriting[string, remoteProfile](profileFor),
	})
}

// Profile returns the profile of a user of another server, asked for again after a
// while. allow is called first if that server has to be asked.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
func (a *API) Profile(ctx context.Context, userID string, allow func() error) (map[string]json.RawMessage, error) {
	unknown := httpapi.NotFound("There is no profile of this user")
	p, ok := a.profiles.GetIfPresent(userID)
	if !ok {
		if err := allow(); err != nil {
			return nil, err
		}
		asked, err, _ := a.asking.Do(userID, func() (any, error) { return a.askProfile(context.WithoutCancel(ctx), userID) })
		if err != nil {
			return nil, client.AsClientError(err)
		}
		p = asked.(remoteProfile)
	}
	if p == nil {
		return nil, unknown
	}
	return p, nil
}

func (a *API) askProfile(ctx context.Context, userID string) (remoteProfile, error) {
	text, err := a.client.Do(ctx, client.Request{Method: http.MethodGet, Server: userid.Domain(userID),
		URI: "/_matrix/federation/v1/query/profile?user_id=" + strings.ReplaceAll(url.QueryEscape(userID), "+", "%20"), Timeout: profileTimeout, MaxAnswer: maxProfile})
	var refused *client.RemoteError
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusForbidden) {
		a.profiles.Set(userID, nil)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := remoteProfile{}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, &client.RemoteError{Server: userid.Domain(userID), Status: http.StatusOK, Code: "M_BAD_JSON", Message: "The profile is no object"}
	}
	for _, key := range []string{"displayname", "avatar_url"} {
		if value, ok := p[key]; ok && (len(value) == 0 || value[0] != '"') {
			delete(p, key) // clients expect text
		}
	}
	a.profiles.Set(userID, p)
	return p, nil
}
