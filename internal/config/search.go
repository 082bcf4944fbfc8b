package config

// Search says whether messages are found by their words.
type Search struct {
	Enabled bool `doc:"Whether people can search for what was said, in rooms that aren't encrypted. Off, no\nindex is kept; turned on again, it is brought up to date in the background."`
}

// UserDirectory says whom people find.
type UserDirectory struct {
	AllLocalUsers bool `yaml:"all_local_users" doc:"Whether everybody on this server can be found. Off, people find those with whom they\nshare a room, and those in rooms that anybody may join or read."`
}
