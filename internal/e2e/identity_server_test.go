package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
)

// identityServer is a small identity server. Its sessions are confirmed from the start:
// their ids are the addresses.
type identityServer struct {
	t       *testing.T
	name    string
	private ed25519.PrivateKey
	public  string
	ca      string // file with its certificate

	mu      sync.Mutex
	owners  map[string]string // by address
	waiting map[string][]map[string]string
	revoked bool
	asked   []string
}

const idToken = "token of the identity server"

func newIdentityServer(t *testing.T) *identityServer {
	s := &identityServer{t: t, owners: map[string]string{}, waiting: map[string][]map[string]string{}}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.private, s.public = private, base64.RawStdEncoding.EncodeToString(public)
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	s.name = server.Listener.Addr().String()
	s.ca = filepath.Join(t.TempDir(), "identity.pem")
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// settings let a Hearth use it.
func (s *identityServer) settings() []string {
	return []string{"identity_servers.allowed=[\"" + s.name + "\"]", "identity_servers.allow_private_ranges=true", "federation.trusted_ca_files=[" + s.ca + "]"}
}

// ServeHTTP implements http.Handler.
func (s *identityServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/_matrix/identity/v2")
	s.asked = append(s.asked, path)
	if path == "/pubkey/isvalid" {
		json.NewEncoder(w).Encode(map[string]bool{"valid": !s.revoked && r.URL.Query().Get("public_key") == s.public})
		return
	}
	signed := path == "/3pid/unbind" && s.signedByHomeserver(r, body)
	if r.Header.Get("Authorization") != "Bearer "+idToken && !signed {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"errcode":"M_UNKNOWN_TOKEN","error":"who are you?"}`)
		return
	}
	answer, err := s.answer(path, gjson.ParseBytes(body))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]string{"errcode": "M_NO_VALID_SESSION", "error": err.Error()}
	}
	json.NewEncoder(w).Encode(answer)
}

func (s *identityServer) answer(path string, body gjson.Result) (any, error) {
	switch path {
	case "/hash_details":
		return map[string]any{"lookup_pepper": "salt", "algorithms": []string{"none", "sha256"}}, nil
	case "/lookup":
		found := map[string]string{}
		for address, owner := range s.owners {
			sum := sha256.Sum256([]byte(address + " email salt"))
			if hash := base64.RawURLEncoding.EncodeToString(sum[:]); hash == body.Get("addresses.0").Str {
				found[hash] = owner
			}
		}
		return map[string]any{"mappings": found}, nil
	case "/store-invite":
		token, address := rand.Text(), body.Get("address").Str
		s.waiting[address] = append(s.waiting[address], map[string]string{
			"room_id": body.Get("room_id").Str, "sender": body.Get("sender").Str, "token": token, "room_name": body.Get("room_name").Str})
		return map[string]any{"token": token, "display_name": address[:1] + "...", "public_keys": []any{map[string]string{
			"public_key": s.public, "key_validity_url": "https://" + s.name + "/_matrix/identity/v2/pubkey/isvalid"}}}, nil
	case "/3pid/bind":
		address, mxid := body.Get("sid").Str, body.Get("mxid").Str
		if !strings.Contains(address, "@") {
			return nil, fmt.Errorf("no session %s", address)
		}
		s.owners[address] = mxid
		s.tell(address, mxid)
		return map[string]any{"medium": "email", "address": address, "mxid": mxid, "not_before": 1, "not_after": 2, "ts": 1, "signatures": map[string]any{}}, nil
	case "/3pid/unbind":
		delete(s.owners, body.Get("threepid.address").Str)
		return map[string]any{}, nil
	}
	return nil, fmt.Errorf("nothing at %s", path)
}

// sign is the server's word that the invitation with the token is the user's.
func (s *identityServer) sign(invite map[string]string, mxid string) json.RawMessage {
	text, _ := json.Marshal(map[string]string{"mxid": mxid, "token": invite["token"], "sender": invite["sender"]})
	signed, err := gomatrixserverlib.SignJSON(s.name, "ed25519:0", s.private, text)
	if err != nil {
		s.t.Error(err)
	}
	return signed
}

var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}

// tell tells the user's homeserver of the invitations that wait for the address. It goes on
// beside: to learn whether the keys are good, the homeserver asks back.
func (s *identityServer) tell(address, mxid string) {
	invites := []any{}
	for _, i := range s.waiting[address] {
		invites = append(invites, map[string]any{"medium": "email", "address": address, "mxid": mxid,
			"room_id": i["room_id"], "sender": i["sender"], "signed": s.sign(i, mxid)})
	}
	delete(s.waiting, address)
	_, domain, _ := strings.Cut(mxid, ":")
	body, _ := json.Marshal(map[string]any{"medium": "email", "address": address, "mxid": mxid, "invites": invites})
	go func() {
		req, _ := http.NewRequest("PUT", "https://"+domain+"/_matrix/federation/v1/3pid/onbind", bytes.NewReader(body))
		res, err := insecure.Do(req)
		if err != nil || res.StatusCode != http.StatusOK {
			s.t.Errorf("onbind: %v %v", res, err)
		}
	}()
}

// signedByHomeserver verifies a request with the key that its origin publishes.
func (s *identityServer) signedByHomeserver(r *http.Request, body []byte) bool {
	a, ok := client.ParseAuthorization(r.Header.Get("Authorization"))
	if !ok {
		return false
	}
	res, err := insecure.Get("https://" + a.Origin + "/_matrix/key/v2/server")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	keys, _ := io.ReadAll(res.Body)
	key, err := base64.RawStdEncoding.DecodeString(gjson.GetBytes(keys, "verify_keys."+gjson.Escape(a.Key)+".key").Str)
	if err != nil {
		return false
	}
	object, _ := json.Marshal(map[string]any{"method": r.Method, "uri": r.URL.Path, "origin": a.Origin, "destination_is": s.name,
		"content": json.RawMessage(body), "signatures": map[string]any{a.Origin: map[string]string{a.Key: a.Signature}}})
	return gomatrixserverlib.VerifyJSON(a.Origin, gomatrixserverlib.KeyID(a.Key), key, object) == nil
}
