package clientapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"hearth/storage"
)

// TestFallbackPages has somebody register whose app knows neither terms nor tokens.
func TestFallbackPages(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.RegistrationTokenRequired = true
		o.Terms = &Terms{Version: "1", Language: "en", ServiceURL: "https://hearth.test/terms"}
	})
	if err := w.db.AddRegistrationToken(background(t), storage.RegistrationToken{Token: "let-me-in"}); err != nil {
		t.Fatal(err)
	}
	account := object{"username": "alice", "password": "secret-alice"}
	asked := w.refused(401, "<nil>", "POST", "/register", "", account)
	session := asked["session"].(string)
	path := func(stage string) string { return "/_matrix/client/v3/auth/" + stage + "/fallback/web" }
	for _, stage := range asked["flows"].([]any)[0].(object)["stages"].([]any) {
		res, body := w.browser(path(stage.(string))+"?session="+session, nil)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, "<form") {
			t.Errorf("%s: %s\n%s", stage, res.Status, body)
		}
		form := url.Values{"session": {session}}
		if stage == stageRegistrationToken {
			form.Set("token", "wrong")
			if res, body := w.browser(path(stage.(string)), form); res.StatusCode != http.StatusForbidden || !strings.Contains(body, `role="alert"`) {
				t.Errorf("a wrong token: %s\n%s", res.Status, body)
			}
			form.Set("token", "let-me-in")
		}
		res, body = w.browser(path(stage.(string)), form)
		if res.StatusCode != http.StatusOK || !strings.Contains(body, authDone) || !strings.Contains(res.Header.Get("Content-Security-Policy"), authDonePolicy) {
			t.Errorf("%s: %s %v\n%s", stage, res.Status, res.Header, body)
		}
		if res, _ := w.browser(path(stage.(string)), form); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s for the second time: %s", stage, res.Status)
		}
	}
	account["auth"] = object{"session": session}
	w.ok("POST", "/register", "", account)
	for _, other := range []string{stagePassword, "m.login.nothing"} {
		if res, _ := w.browser(path(other)+"?session="+session, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", other, res.Status)
		}
	}
}
