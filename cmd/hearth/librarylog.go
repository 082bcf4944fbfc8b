package main

import (
	"io"
	"log/slog"

	"github.com/sirupsen/logrus"
)

// libraryLog takes what gomatrixserverlib logs with logrus into the server's log, as
// details for who looks for something: what matters of it comes back as an error.
type libraryLog struct{ log *slog.Logger }

// redirectLibraryLog has libraries log by log's rules, and not to the standard error.
func redirectLibraryLog(log *slog.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.WarnLevel)
	logrus.AddHook(libraryLog{log})
}

// Levels implements logrus.Hook.
func (libraryLog) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (l libraryLog) Fire(e *logrus.Entry) error {
	args := make([]any, 0, 2*len(e.Data))
	for k, v := range e.Data {
		args = append(args, k, v)
	}
	l.log.Debug(e.Message, args...)
	return nil
}
