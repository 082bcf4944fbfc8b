package config

// Media says what is kept of the files that people share.
type Media struct {
	MaxUploadSize Size `yaml:"max_upload_size" doc:"The largest file that may be uploaded."`
	MaxRemoteSize Size `yaml:"max_remote_size" doc:"The largest file that is fetched from another server."`
	RemoteCache   Size `yaml:"remote_cache" doc:"How much is kept on the disk of what can be fetched again: other servers' media. What\nwas not asked for for longest goes first."`
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
