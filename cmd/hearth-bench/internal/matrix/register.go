package matrix

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"hearth/cmd/hearth-bench/internal/wire"
)

// password is every account's; they live on a server that is measured and
// thrown away.
const password = "correct horse battery staple"

// Register creates an account and makes the client its session: with the
// server's shared secret if one is given, and otherwise as anybody may where
// registration is open (m.login.dummy).
func (c *Client) Register(username, sharedSecret string) (Account, error) {
	register := c.registerOpen
	if sharedSecret != "" {
		register = func(name string) error { return c.registerShared(name, sharedSecret) }
	}
	if err := register(username); err != nil {
		return Account{}, fmt.Errorf("register %s: %w", username, err)
	}
	if c.Token == "" {
		return Account{}, fmt.Errorf("register %s: the answer has no access token", username)
	}
	var filter struct {
		ID string `json:"filter_id"`
	}
	if err := c.call("POST", api+"/user/"+escape(c.UserID)+"/filter", liveFilter, &filter); err != nil {
		return Account{}, err
	}
	c.Filter = filter.ID
	return c.Account, nil
}

// liveFilter is what live readers use: room for a burst between two polls, and
// members only as they are needed.
var liveFilter = map[string]any{
	"room": map[string]any{
		"timeline": map[string]any{"limit": 100, "lazy_load_members": true},
		"state":    map[string]any{"lazy_load_members": true},
	},
}

// registerOpen is https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
func (c *Client) registerOpen(username string) error {
	body := map[string]any{"username": username, "password": password}
	r := wire.Request{Method: "POST", Path: api + "/register"}
	r.Body, _ = json.Marshal(body)
	resp, err := c.conn.Do(r)
	if err != nil {
		return err
	}
	if resp.Status == 401 {
		var stages struct {
			Session string `json:"session"`
		}
		if err := json.Unmarshal(resp.Body, &stages); err != nil {
			return err
		}
		body["auth"] = map[string]string{"type": "m.login.dummy", "session": stages.Session}
	}
	return c.call("POST", api+"/register", body, &c.Account)
}

// registerShared is Synapse's registration with a shared secret:
// https://element-hq.github.io/synapse/latest/admin_api/register_api.html
func (c *Client) registerShared(username, secret string) error {
	const path = "/_synapse/admin/v1/register"
	var nonce struct {
		Nonce string `json:"nonce"`
	}
	if err := c.call("GET", path, nil, &nonce); err != nil {
		return err
	}
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(strings.Join([]string{nonce.Nonce, username, password, "notadmin"}, "\x00")))
	return c.call("POST", path, map[string]any{
		"nonce": nonce.Nonce, "username": username, "password": password,
		"admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}, &c.Account)
}

// Taken tells whether a registration failed because the name is in use.
func Taken(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == "M_USER_IN_USE" || e.Code == "M_EXCLUSIVE")
}
