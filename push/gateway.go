package push

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/publicaddr"
)

const (
	// gatewayPath is the one path that a push gateway may have: nobody can make this
	// server send requests to others.
	gatewayPath = "/_matrix/push/v1/notify"
	// gatewayTimeout bounds one request.
	gatewayTimeout = 15 * time.Second
	// maxAnswer bounds what is read of a gateway's answer, in bytes.
	maxAnswer = 64 << 10
)

// gateway sends notifications to push gateways.
type gateway struct {
	client       *http.Client
	allowPrivate bool
}

func newGateway(allowPrivate bool) *gateway {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !allowPrivate {
		dialer.Control = publicaddr.Control // of the address that is really connected to
	}
	return &gateway{allowPrivate: allowPrivate, client: &http.Client{
		Timeout: gatewayTimeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
			MaxIdleConns: 100, MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 32 << 10,
		},
		// A redirect could lead anywhere; it counts as a failure.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// check checks a gateway's URL. Errors are Matrix errors.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
func (g *gateway) check(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return httpapi.InvalidParam("data.url is no URL of a push gateway")
	case u.Scheme != "https" && !(u.Scheme == "http" && g.allowPrivate):
		return httpapi.InvalidParam("data.url must begin with https://")
	case u.Path != gatewayPath || u.RawPath != "":
		return httpapi.InvalidParam("data.url must have the path %s", gatewayPath)
	}
	return nil
}

// send hands a notification to a gateway and returns the keys that it rejects.
//
// https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
func (g *gateway) send(ctx context.Context, url string, n *notification) (rejected []string, err error) {
	if err := g.check(url); err != nil {
		return nil, err // the configuration has become stricter
	}
	body, err := json.Marshal(map[string]any{"notification": n})
	if err != nil {
		return nil, fmt.Errorf("writing a notification: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("asking a push gateway: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Hearth")
	res, err := g.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking a push gateway: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading a push gateway's answer: %w", err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, fmt.Errorf("a push gateway answered %s", res.Status)
	}
	var answer struct {
		Rejected []string `json:"rejected"`
	}
	// It has taken the notification; an answer that says nothing rejects nothing.
	_ = json.Unmarshal(text, &answer)
	return answer.Rejected, nil
}

// notification is what a gateway is told.
type notification struct {
	EventID           string          `json:"event_id,omitempty"`
	RoomID            string          `json:"room_id,omitempty"`
	Type              string          `json:"type,omitempty"`
	Sender            string          `json:"sender,omitempty"`
	SenderDisplayName string          `json:"sender_display_name,omitempty"`
	RoomName          string          `json:"room_name,omitempty"`
	RoomAlias         string          `json:"room_alias,omitempty"`
	UserIsTarget      bool            `json:"user_is_target,omitempty"`
	Prio              string          `json:"prio,omitempty"`
	Content           json.RawMessage `json:"content,omitempty"`
	Counts            counts          `json:"counts"`
	Devices           []device        `json:"devices"`
}

type counts struct {
	Unread int `json:"unread,omitempty"`
}

type device struct {
	AppID     string                     `json:"app_id"`
	Pushkey   string                     `json:"pushkey"`
	PushkeyTS int64                      `json:"pushkey_ts"` // seconds since 1970
	Data      map[string]json.RawMessage `json:"data"`
	Tweaks    map[string]any             `json:"tweaks,omitempty"`
}
