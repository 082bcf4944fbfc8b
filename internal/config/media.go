package config

// Media says what is kept of the files that people share.
type Media struct {
	MaxUploadSize Size     `yaml:"max_upload_size" doc:"The largest file that may be uploaded."`
	MaxRemoteSize Size     `yaml:"max_remote_size" doc:"The largest file that is fetched from another server."`
	RemoteCache   Size     `yaml:"remote_cache" doc:"How much is kept on the disk of what can be fetched again: other servers' media and the\npictures of previews. What was not asked for for longest goes first."`
	Previews      Previews `doc:"What clients show of the pages that people link to. This server then learns of links in\nencrypted rooms as well, if clients ask, and the pages' servers learn that somebody wrote of them."`
}

// Previews says which pages are looked at.
type Previews struct {
	Enabled            bool `doc:"Whether this server looks at linked pages for its users."`
	DenyURLs           List `yaml:"deny_urls" doc:"Pages never to look at: hosts, *.example.org for all below a name, or beginnings of\naddresses such as example.org/private/."`
	AllowPrivateRanges bool `yaml:"allow_private_ranges" doc:"Whether to look at pages at loopback and private addresses. Off, nobody can make this\nserver ask others inside its own network."`
}

func defaultMedia() Media {
	return Media{MaxUploadSize: 50 << 20, MaxRemoteSize: 100 << 20, RemoteCache: 10 << 30}
}

func (l *loader) media(m *Media) {
	if m.MaxUploadSize < 1 {
		l.problem("media.max_upload_size", "must be more than nothing")
	}
	if m.MaxRemoteSize < 1 {
		l.problem("media.max_remote_size", "must be more than nothing")
	}
	if m.RemoteCache < m.MaxRemoteSize {
		l.problem("media.remote_cache", "must hold at least one file of media.max_remote_size")
	}
}
