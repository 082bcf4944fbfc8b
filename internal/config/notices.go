package config

import "hearth/internal/userid"

// ServerNotices says how administrators write to people.
type ServerNotices struct {
	Localpart     string `doc:"The local part of the user id that notices come from, which nobody must have, such as\nserver. Empty: no notices."`
	DisplayName   string `yaml:"display_name" doc:"What that user is called."`
	AvatarURL     string `yaml:"avatar_url" doc:"Its picture: an mxc:// URI."`
	RoomName      string `yaml:"room_name" doc:"The name of the rooms in which people get notices, each in one of their own."`
	RoomTopic     string `yaml:"room_topic" doc:"Their topic."`
	RoomAvatarURL string `yaml:"room_avatar_url" doc:"Their picture: an mxc:// URI."`
	AutoJoin      bool   `yaml:"auto_join" doc:"Whether people are in that room at once. Off, they are invited to it, which they can't\nreject."`
}

func (l *loader) notices(c *Config) {
	n := c.ServerNotices
	if n.Localpart == "" {
		return
	}
	if id, err := userid.New(n.Localpart, c.ServerName); err != nil || id != "@"+n.Localpart+":"+c.ServerName {
		l.problem("server_notices.localpart", "%q can't stand in a user id of this server", n.Localpart)
	}
}

// UserID is whom notices come from, "" for no notices.
func (n *ServerNotices) UserID(serverName string) string {
	if n.Localpart == "" {
		return ""
	}
	return "@" + n.Localpart + ":" + serverName
}
