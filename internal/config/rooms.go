package config

// Rooms says what becomes of rooms.
type Rooms struct {
	ForgetOnLeave bool `yaml:"forget_on_leave" doc:"Whether users forget a room, with all of its history, when they leave it or are made to.\nOff, they may still look at what they could see when they left, until they forget it."`
}
