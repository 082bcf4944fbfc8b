package canonicaljson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
)

func TestAppend(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                                  `{}`,
		` { "b" : [ 1 , -2 ] , "a" : null } `: `{"a":null,"b":[1,-2]}`,
		`{"本":2,"日":1}`:                       `{"日":1,"本":2}`,
		`{"a":"\u65E5\/\n\u0001"}`:            "{\"a\":\"日/\\n\\u0001\"}",
		`{"\u0041":-0,"":0}`:                  `{"":0,"A":0}`,
		`{"z":1,"\u0001":2,"\t":3," ":4}`:     `{"\u0001":2,"\t":3," ":4,"z":1}`,
		`"\ud83d\ude00"`:                      `"😀"`,
		`9007199254740991`:                    `9007199254740991`,
	} {
		if got, err := Append(nil, []byte(in)); err != nil || string(got) != want {
			t.Errorf("Append(%s) = %s, %v; want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{``, `{`, `{"a":1,"a":2}`, `{"b":1,"a":2,"b":3}`, `1.5`, `1e3`, `01`, `9007199254740992`,
		"\"\xff\"", `"\ud800"`, `"\ud800\u0041"`, `[1,]`, `{"a"}`, `tru`, `"a`, "\"\n\"", `{} {}`, `-`,
		strings.Repeat("[", 10_000)} {
		if got, err := Append(nil, []byte(bad)); !errors.Is(err, ErrInvalid) {
			t.Errorf("Append(%.40s) = %s, %v; want an error", bad, got, err)
		}
	}
}

// FuzzAppend holds the one-pass writer against the library's canonical JSON and
// against encoding/json's understanding of the text.
func FuzzAppend(f *testing.F) {
	for _, s := range []string{`{"b":[1,2,{"c":"\u00e9"}],"a":-0}`, `{"":{"x":null},"\\":true,"\"":"\u001f"}`, `{"\u0008":1,"\b2":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := Append(nil, in)
		if err != nil {
			return
		}
		again, err := Append(nil, got)
		if err != nil || string(again) != string(got) {
			t.Fatalf("not stable: %s became %s (%v)", got, again, err)
		}
		var a, b any
		if err := json.Unmarshal(in, &a); err != nil {
			t.Fatalf("accepted %s, which isn't JSON: %v", in, err)
		}
		if err := json.Unmarshal(got, &b); err != nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%s became %s (%v)", in, got, err)
		}
		reference, err := gomatrixserverlib.CanonicalJSON(in)
		if err == nil && string(reference) != string(got) && !strings.ContainsRune(string(in), '\\') {
			t.Fatalf("%s became %s, the library writes %s", in, got, reference)
		}
	})
}
