package config

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Federation says how this server talks with others.
type Federation struct {
	Enabled            bool     `doc:"Whether this server talks with others at all."`
	PublicAddress      string   `yaml:"public_address" doc:"What /.well-known/matrix/server announces: host:port where other servers reach this\none. Empty: nothing is announced, and they connect to server_name at port 8448."`
	TLSCertificateFile string   `yaml:"tls_certificate_file" doc:"The certificate of listen.federation and its chain, in PEM. It is read again when it\nchanges. Empty: a self-signed one is made in data_dir, which others don't accept\nunless they are told to."`
	TLSKeyFile         string   `yaml:"tls_key_file" doc:"The private key of the certificate, in PEM."`
	TrustedCAFiles     List     `yaml:"trusted_ca_files" doc:"Certificate authorities in PEM that are trusted beside those of the system."`
	VerifyCertificates bool     `yaml:"verify_certificates" doc:"Whether other servers must prove by certificate who they are. Turn it off only for\ntests: without it anybody on the way can pretend to be any server."`
	AllowServers       List     `yaml:"allow_servers" doc:"The servers to talk with, *.example.org for all below a name. Empty: all."`
	DenyServers        List     `yaml:"deny_servers" doc:"Servers never to talk with, even if they are in allow_servers."`
	AllowPrivateRanges bool     `yaml:"allow_private_ranges" doc:"Whether to connect to servers at loopback and private addresses. Off, nobody can make\nthis server ask others inside its own network."`
	LongestPause       Duration `yaml:"longest_pause" doc:"How long a server that gives no answer is left alone at most before it is asked again.\nShorter costs more attempts at servers that are gone for good."`
	KeyServers         List     `yaml:"key_servers" doc:"Servers to ask for the keys of servers that can't be reached. They are believed."`
}

// List is a list of texts, written in YAML as [a, b] or a block, in the environment
// with commas.
type List []string

// UnmarshalText reads a list.
func (l *List) UnmarshalText(text []byte) error {
	*l = nil
	body := strings.TrimSpace(string(text))
	if strings.HasPrefix(body, "[") && strings.HasSuffix(body, "]") {
		body = body[1 : len(body)-1]
	}
	for item := range strings.SplitSeq(body, ",") {
		if item = strings.Trim(strings.TrimSpace(item), `"'`); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// MarshalText writes a list as YAML.
func (l List) MarshalText() ([]byte, error) {
	var quoted []string
	for _, item := range l {
		quoted = append(quoted, strconv.Quote(item))
	}
	return []byte("[" + strings.Join(quoted, ", ") + "]"), nil
}

// absolute makes the paths start from dir.
func (f *Federation) absolute(dir string) {
	paths := []*string{&f.TLSCertificateFile, &f.TLSKeyFile}
	for i := range f.TrustedCAFiles {
		paths = append(paths, &f.TrustedCAFiles[i])
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (l *loader) federation(f *Federation) {
	if (f.TLSCertificateFile == "") != (f.TLSKeyFile == "") {
		l.problem("federation.tls_key_file", "a certificate needs its key and a key its certificate: set both or none")
	}
	if f.PublicAddress != "" && !serverName.MatchString(f.PublicAddress) {
		l.problem("federation.public_address", "%q is no address: write host:port, such as matrix.example.org:8448", f.PublicAddress)
	}
	for path, list := range map[string]List{"allow_servers": f.AllowServers, "deny_servers": f.DenyServers, "key_servers": f.KeyServers} {
		for _, name := range list {
			if path != "key_servers" {
				name = strings.TrimPrefix(name, "*.")
			}
			if !serverName.MatchString(name) {
				l.problem("federation."+path, "%q is no server name", name)
			}
		}
	}
}
