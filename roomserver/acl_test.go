package roomserver

import (
	"testing"

	"github.com/tidwall/gjson"
)

func TestServerACL(t *testing.T) {
	for _, c := range []struct{ content, allowed, barred string }{
		{`{"allow":["*"]}`, "a.example:8448", ""},
		{`{"allow":["*"],"allow_ip_literals":false}`, "a.example", "192.0.2.1:8448"},
		{`{"allow":["*"],"allow_ip_literals":false}`, "a.example:1", "[2001:db8::1]:1"},
		{`{"allow":["*"],"allow_ip_literals":false}`, "a.example:1", "[2001:db8::1]"},
		{`{"allow":["*"],"deny":["*.EVIL.example","evil.example"]}`, "good.example", "x.evil.example:8448"},
		{`{"allow":["*.example"],"deny":["b?d.example"]}`, "bd.example", "bad.example"},
		{`{"allow":["a.example"]}`, "a.example:9", "xa.example"},
		{`{"allow":["a.example"]}`, "A.example", "aXexample"},
		{`{"allow":[1,"a.example"],"deny":"*"}`, "a.example", "1"},
		{`{"allow":["a|b.example"]}`, "", "a"},
		{`{"allow":[]}`, "", "a.example"},
		{`{}`, "", "a.example"},
	} {
		acl := newServerACL(gjson.Parse(c.content))
		if c.allowed != "" && !acl.allows(c.allowed) {
			t.Errorf("%s bars %s", c.content, c.allowed)
		}
		if c.barred != "" && acl.allows(c.barred) {
			t.Errorf("%s allows %s", c.content, c.barred)
		}
	}
}
