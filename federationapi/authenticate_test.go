package federationapi

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/storage"
)

// TestServersRecogniseEachOther asks with and without a good signature.
func TestServersRecogniseEachOther(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	if v := one.get(two, "/_matrix/federation/v1/version"); v["server"].(object)["name"] != "Hearth" {
		t.Errorf("%v", v)
	}
	var echo object
	uri := client.Path("/_matrix/federation/v1/echo", "a/b ö%") + "?x=%2F&y=<&y=2"
	err := one.client.Put(background(t), two.name, uri, object{"text": "<ö>", "n": 1}, &echo)
	if err != nil || echo["origin"] != one.name || echo["word"] != "a/b ö%" || echo["query"] != "x=%2F&y=<&y=2" || echo["body"].(object)["text"] != "<ö>" {
		t.Errorf("%v %v", echo, err)
	}
	// Neither another's signature nor none nor one for something else will do.
	_, stranger, _ := ed25519.GenerateKey(nil)
	good := func() client.SignedRequest {
		return client.SignedRequest{Content: json.RawMessage(`{}`), Destination: two.name, Method: "PUT", Origin: one.name, URI: "/_matrix/federation/v1/echo/x"}
	}
	for name, send := range map[string]func() string{
		"good":      func() string { return header(t, good(), one.key, two.name) },
		"unsigned":  func() string { return "" },
		"bearer":    func() string { return "Bearer x" },
		"other key": func() string { return header(t, good(), stranger, two.name) },
		"other body": func() string {
			r := good()
			r.Content = json.RawMessage(`{"a":1}`)
			return header(t, r, one.key, two.name)
		},
		"other path":  func() string { r := good(); r.URI += "y"; return header(t, r, one.key, two.name) },
		"other verb":  func() string { r := good(); r.Method = "POST"; return header(t, r, one.key, two.name) },
		"other place": func() string { r := good(); r.Destination = one.name; return header(t, r, one.key, one.name) },
		"itself":      func() string { r := good(); r.Origin = two.name; return header(t, r, one.key, two.name) },
		"no name":     func() string { r := good(); r.Origin = "a b"; return header(t, r, one.key, two.name) },
	} {
		want, code := http.StatusUnauthorized, "M_UNAUTHORIZED"
		if name == "good" {
			want, code = http.StatusOK, ""
		}
		if status, got := raw(t, two, send()); status != want || got != code {
			t.Errorf("%s: %d %s", name, status, got)
		}
	}
}

// header signs r and writes the Authorization header.
func header(t *testing.T, r client.SignedRequest, key ed25519.PrivateKey, destination string) string {
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := gomatrixserverlib.SignJSON(r.Origin, "ed25519:a", key, text)
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		Signatures map[string]map[string]string `json:"signatures"`
	}
	if err := json.Unmarshal(signed, &o); err != nil {
		t.Fatal(err)
	}
	return `x-matrix Key="ed25519:a" , origin="` + r.Origin + `",sig=` + o.Signatures[r.Origin]["ed25519:a"] + `,destination="` + destination + `",later=on`
}

// raw sends PUT /echo/x with {} and returns the status and error code.
func raw(t *testing.T, to *hearth, authorization string) (int, string) {
	req, err := http.NewRequest("PUT", "https://"+to.name+"/_matrix/federation/v1/echo/x", bytes.NewReader([]byte(`{}`)))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := insecure.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Code string `json:"errcode"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer.Code
}

// TestWhoMayAsk has servers on the lists of others, and one that asks too often.
func TestWhoMayAsk(t *testing.T) {
	var names [3]string
	all := newHearths(t, 3, func(i int, c *client.Options, o *Options) {
		names[i] = c.ServerName
		if i == 2 {
			c.Deny = []string{names[0]}
			o.RateLimit = httpapi.Limit{PerSecond: 0.01, Burst: 2}
		}
	})
	one, two, three := all[0], all[1], all[2]
	const uri = "/_matrix/federation/v1/echo/x"
	one.refused(http.StatusForbidden, "M_FORBIDDEN", three, "PUT", uri, object{})
	if err := three.client.Get(background(t), one.name, "/_matrix/federation/v1/version", new(object)); httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("asked a server on the deny list: %v", err)
	}
	for range 2 {
		if err := two.client.Put(background(t), three.name, uri, object{}, new(object)); err != nil {
			t.Error(err)
		}
	}
	two.refused(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", three, "PUT", uri, object{})
}

// TestKeysOfOthers verifies by keys fetched, remembered, replaced and had from a
// notary when the server itself is gone.
func TestKeysOfOthers(t *testing.T) {
	var names [3]string
	all := newHearths(t, 3, func(i int, c *client.Options, _ *Options) {
		names[i] = c.ServerName
		if i == 2 {
			c.Notaries = []string{names[1]}
		}
	})
	one, two, three := all[0], all[1], all[2]
	signed, err := one.client.SignJSON([]byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := two.client.Keys.VerifyJSON(background(t), one.name, signed); err != nil {
		t.Fatalf("fetching directly: %v", err)
	}
	forged := bytes.Replace(signed, []byte(`"a":1`), []byte(`"a":2`), 1)
	if err := two.client.Keys.VerifyJSON(background(t), one.name, forged); err == nil {
		t.Error("a forged object was accepted")
	}
	answer := three.get(two, client.Path("/_matrix/key/v2/query", one.name))
	keys := answer["server_keys"].([]any)
	if len(keys) != 1 || len(keys[0].(object)["signatures"].(object)) != 2 {
		t.Errorf("the notary answers %v", answer)
	}
	one.close()
	if err := three.client.Keys.VerifyJSON(background(t), one.name, signed); err != nil {
		t.Errorf("from a notary: %v", err)
	}
	results, err := two.client.Keys.VerifyJSONs(background(t), []gomatrixserverlib.VerifyJSONRequest{
		{ServerName: spec.ServerName(one.name), Message: signed, AtTS: spec.AsTimestamp(time.Now().Add(48 * time.Hour)), ValidityCheckingFunc: gomatrixserverlib.StrictValiditySignatureCheck},
		{ServerName: spec.ServerName(one.name), Message: signed, AtTS: spec.AsTimestamp(time.Now().Add(-time.Hour)), ValidityCheckingFunc: gomatrixserverlib.StrictValiditySignatureCheck},
	})
	if err != nil || results[0].Error == nil || results[1].Error != nil {
		t.Errorf("by time: %v %v", results, err)
	}
}

// TestKeyRotation replaces the server's own key; what the old one signed stays true.
func TestKeyRotation(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	signed, err := one.client.SignJSON([]byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	before := spec.AsTimestamp(time.Now().Add(-time.Second))
	_, next, _ := ed25519.GenerateKey(nil)
	later, err := client.New(background(t), client.Options{DB: one.db, ServerName: one.name, KeyID: "ed25519:b", PrivateKey: next})
	if err != nil {
		t.Fatal(err)
	}
	published, err := later.Keys.OwnPublished()
	if err != nil || !strings.Contains(string(published), `"old_verify_keys":{"ed25519:a":{"expired_ts":`) {
		t.Fatalf("%s %v", published, err)
	}
	one.api.client = later
	check := func(at spec.Timestamp) error {
		results, err := two.client.Keys.VerifyJSONs(background(t), []gomatrixserverlib.VerifyJSONRequest{{
			ServerName: spec.ServerName(one.name), Message: signed, AtTS: at, ValidityCheckingFunc: gomatrixserverlib.StrictValiditySignatureCheck}})
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Error
	}
	if err := check(before); err != nil {
		t.Errorf("the old key isn't good for old events: %v", err)
	}
	if check(spec.AsTimestamp(time.Now().Add(time.Second))) == nil {
		t.Error("the old key is good for new events")
	}
}

// TestNotaryAsksAgain has notaries asked for keys that were valid until a while ago, or half of
// whose time is over: they ask their server again, and tell the old ones if that is gone.
func TestNotaryAsksAgain(t *testing.T) {
	all := newHearths(t, 4, nil)
	one := all[0]
	now := time.Now().UnixMilli()
	path := client.Path("/_matrix/key/v2/query", one.name)
	for n, until := range []int64{now - 10_000, now + 10_000, now - 10_000} {
		notary, gone := all[n+1], n == 2
		if gone {
			one.close()
		}
		text, err := notary.client.SignJSON([]byte(fmt.Sprintf(`{"server_name":%q,"valid_until_ts":%d,"verify_keys":{}}`, one.name, until)))
		if err == nil {
			err = notary.db.StoreServerKeyObject(background(t), storage.ServerKeyObject{Server: one.name, JSON: text, ValidUntil: until, FetchedAt: now - 20_000})
		}
		if err != nil {
			t.Fatal(err)
		}
		keys := all[1+(n+1)%2].get(notary, path)["server_keys"].([]any)
		if len(keys) != 1 || (keys[0].(object)["valid_until_ts"] == float64(until)) != gone {
			t.Errorf("the keys that were valid until %d s from now are told as %v", (until-now)/1000, keys)
		}
	}
	for body, want := range map[string]int{`{}`: 0, `{"` + one.name + `":{}}`: 1, `{"` + all[2].name + `":{"ed25519:a":{}}}`: 1} {
		var answer object
		if err := all[3].client.Post(background(t), all[1].name, "/_matrix/key/v2/query", object{"server_keys": json.RawMessage(body)}, &answer); err != nil || len(answer["server_keys"].([]any)) != want {
			t.Errorf("asked for %s it tells %v: %v", body, answer, err)
		}
	}
}
