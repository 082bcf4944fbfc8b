package config

// Media says what is kept of the files that people share.
type Media struct {
	MaxUploadSize   Size     `yaml:"max_upload_size" doc:"The largest file that may be uploaded."`
	MaxRemoteSize   Size     `yaml:"max_remote_size" doc:"The largest file that is fetched from another server."`
	RemoteCache     Size     `yaml:"remote_cache" doc:"How much is kept on the disk of what can be fetched again: other servers' media and the\npictures of previews. What was not asked for for longest goes first."`
	UserQuota       Size     `yaml:"user_quota" doc:"How much the uploads of one user may take together. 0B: no bound."`
	DailyQuota      Size     `yaml:"daily_quota" doc:"How much one user may upload in 24 hours. 0B: no bound."`
	LocalRetention  Age      `yaml:"local_retention" doc:"After which time a user's upload is deleted that nobody asks for, such as 365d. Pictures of\nusers and rooms, and what an administrator protects, stay. never: all is kept."`
	RemoteRetention Age      `yaml:"remote_retention" doc:"The same for what can be fetched again, beside the bound of remote_cache."`
	Unauthenticated bool     `yaml:"unauthenticated_downloads" doc:"Whether media can be downloaded without logging in too, by the paths from before 2024\n(/_matrix/media/v3/download and thumbnail), for old clients and bridges. Then whoever knows a\nfile's address has the file, from anywhere and for ever, and this server can be used to hand\nfiles to strangers, those of other servers among them. Better leave it off."`
	S3              S3       `yaml:"s3" doc:"An S3-compatible object storage to keep files in instead of data_dir. hearth media copy\nbrings them there and back."`
	Previews        Previews `doc:"What clients show of the pages that people link to. This server then learns of links in\nencrypted rooms as well, if clients ask, and the pages' servers learn that somebody wrote of them."`
}

// S3 says where an object storage is.
type S3 struct {
	Bucket    string `doc:"The bucket's name. Empty: files are kept in data_dir."`
	Endpoint  string `doc:"Its host, with or without port, such as s3.eu-central-1.amazonaws.com."`
	Region    string `doc:"Its region, if it has one."`
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
	Prefix    string `doc:"What stands before the names of the files, such as hearth/."`
	PlainHTTP bool   `yaml:"plain_http" doc:"Whether to ask without TLS: for a storage on the same machine only."`
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
	if s := m.S3; s.Bucket != "" && (s.Endpoint == "" || s.AccessKey == "" || s.SecretKey == "") {
		l.problem("media.s3.bucket", "needs endpoint, access_key and secret_key")
	}
	if m.RemoteCache < m.MaxRemoteSize {
		l.problem("media.remote_cache", "must hold at least one file of media.max_remote_size")
	}
}
