package config

// DelayedEvents bounds what users have sent later.
type DelayedEvents struct {
	MaxDelay   Duration `yaml:"max_delay" doc:"How far ahead an event can be scheduled."`
	MaxPerUser int      `yaml:"max_per_user" doc:"How many events a user may have scheduled at the same time. 0: nobody can schedule any."`
}

// RTC says how the media of calls travel.
type RTC struct {
	LiveKitServiceURLs List `yaml:"livekit_service_urls" doc:"Where clients get access to a LiveKit server (the URL of lk-jwt-service), the preferred\nfirst. Element Call and Element X need one for calls. Empty: this server offers none."`
}

func (l *loader) calls(c *Config) {
	if n := c.DelayedEvents.MaxPerUser; n < 0 || n > 10_000 {
		l.problem("delayed_events.max_per_user", "%d isn't between 0 and 10000", n)
	}
	for _, url := range c.RTC.LiveKitServiceURLs {
		l.webURL("rtc.livekit_service_urls", url)
	}
}
