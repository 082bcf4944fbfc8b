package federationapi

import (
	"context"
	"fmt"
	"time"

	"hearth/storage"
)

// maxPending bounds what is counted of what waits for a server.
const maxPending = 1000

// ExplainQueue says in words what waits to be sent to a server, as the database of the
// server with the name own knows it. That server may be running meanwhile.
func ExplainQueue(ctx context.Context, db *storage.DB, own, server string, say func(line string)) error {
	place, known, err := db.GetFederationCursor(ctx, server)
	if err != nil {
		return err
	}
	if !known {
		say("Nothing was ever sent to it, and nothing waits to be.")
		return nil
	}
	if place.SucceededAt > 0 {
		say(fmt.Sprintf("It last took what it was sent %s.", ago(place.SucceededAt)))
	} else {
		say("It has never taken what it was sent.")
	}
	waiting, err := db.PendingFor(ctx, own, server, place.Position, maxPending)
	if err != nil {
		return err
	}
	if waiting.Events+waiting.ToDevice == 0 {
		say("No events and no messages to devices wait for it.")
	} else {
		say(fmt.Sprintf("There wait for it: %s events and %s messages to devices.", counted(waiting.Events), counted(waiting.ToDevice)))
	}
	if waiting.OldestTS > 0 {
		say(fmt.Sprintf("The oldest of these events is from %s.", ago(waiting.OldestTS)))
	}
	failure, err := db.GetDestination(ctx, server)
	if err != nil || failure.Failures == 0 {
		return err
	}
	say(fmt.Sprintf("It has failed %d times in a row, first %s and last %s: %s.", failure.Failures, ago(failure.FailingSince), ago(failure.FailedAt), failure.LastError))
	if next := time.UnixMilli(failure.RetryAt); next.After(time.Now()) {
		say(fmt.Sprintf("It is tried again at %s, or as soon as it is heard of; an admin can have that done at once with POST /_synapse/admin/v1/federation/destinations/%s/reset_connection.",
			next.UTC().Format(time.RFC3339), server))
	}
	return nil
}

// ago says when something was, by the clock and from now.
func ago(ms int64) string {
	at := time.UnixMilli(ms)
	return fmt.Sprintf("at %s (%s ago)", at.UTC().Format(time.RFC3339), time.Since(at).Round(time.Second))
}

func counted(n int) string {
	if n == maxPending {
		return fmt.Sprintf("%d or more", n)
	}
	return fmt.Sprint(n)
}
