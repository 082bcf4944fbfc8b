package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
)

const prefix = "/_matrix/identity/v2"

// Address is an address outside of Matrix, in its canonical spelling.
type Address struct {
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

// Lookup returns the user who has published the address by the server, "" for nobody.
//
// https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv2lookup
func (c *Client) Lookup(ctx context.Context, server, token string, a Address) (userID string, err error) {
	for range 2 { // the pepper may change between the two requests
		userID, err = c.lookup(ctx, server, token, a)
		if httpapi.CodeOf(err) != "M_INVALID_PEPPER" {
			break
		}
	}
	return userID, err
}

func (c *Client) lookup(ctx context.Context, server, token string, a Address) (string, error) {
	var details struct {
		Pepper     string   `json:"lookup_pepper"`
		Algorithms []string `json:"algorithms"`
	}
	if err := c.do(ctx, call{method: "GET", server: server, path: prefix + "/hash_details", token: token}, &details); err != nil {
		return "", err
	}
	// The specification demands it of every server, so the address needn't be told.
	if !slices.Contains(details.Algorithms, "sha256") {
		return "", badAnswer(server, errors.New("it doesn't know the hash function sha256"))
	}
	sum := sha256.Sum256([]byte(a.Address + " " + a.Medium + " " + details.Pepper))
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	var answer struct {
		Mappings map[string]string `json:"mappings"`
	}
	err := c.do(ctx, call{method: "POST", server: server, path: prefix + "/lookup", token: token, body: map[string]any{
		"algorithm": "sha256", "pepper": details.Pepper, "addresses": []string{hash}}}, &answer)
	if err != nil {
		return "", err
	}
	userID := answer.Mappings[hash]
	if _, _, ok := userid.Split(userID); userID != "" && (!ok || !httpapi.IsText(userID)) {
		return "", badAnswer(server, errors.New("it names no user id"))
	}
	return userID, nil
}

// Bind publishes the address that a session with the server has confirmed as the user's,
// and returns it.
//
// https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv23pidbind
func (c *Client) Bind(ctx context.Context, server, token, sid, clientSecret, userID string) (a Address, err error) {
	err = c.do(ctx, call{method: "POST", server: server, path: prefix + "/3pid/bind", token: token, body: map[string]string{
		"sid": sid, "client_secret": clientSecret, "mxid": userID}}, &a)
	return a, err
}

// ErrUnbindRefused is the result of asking a server that doesn't let homeservers take
// addresses back.
var ErrUnbindRefused = errors.New("the identity server doesn't take addresses back")

// Unbind takes the user's address back.
//
// https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv23pidunbind
func (c *Client) Unbind(ctx context.Context, server, userID string, a Address) error {
	var answer struct{}
	err := c.do(ctx, call{method: "POST", server: server, path: prefix + "/3pid/unbind", body: map[string]any{
		"mxid": userID, "threepid": a}}, &answer)
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Code == "M_UNRECOGNIZED" && refused.Status == http.StatusNotFound {
		return ErrUnbindRefused
	}
	return err
}
