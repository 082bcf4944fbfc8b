package scenario

import (
	"context"
	"sync"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// writers is how many messages of a crew can be on their way at a time.
const writers = 64

// crew lets people take turns in sending, at a rate, until hush ends: each in
// the next of their places. People share connections, but always the same one,
// so that their messages keep their order. A message that the server's slowness
// delayed counts from when it was due.
func (e *Env) crew(ctx, hush context.Context, people []matrix.Account, places [][]*sender, t *tally) *sync.WaitGroup {
	var wg sync.WaitGroup
	begin := check.Now()
	for worker := range min(writers, len(people)) {
		wg.Go(func() {
			c := e.client(ctx, matrix.Account{})
			defer c.Close()
			idle := begin // when the last answer came
			for round := 0; ; round++ {
				for p := worker; p < len(people); p += writers {
					turn := round*len(people) + p
					due := begin + time.Duration(float64(turn)/e.Rate*float64(time.Second))
					if sleep(hush, due-check.Now()) != nil {
						return
					}
					if idle < due {
						due = check.Now()
					}
					s := places[p][round%len(places[p])]
					c.Account, s.client = people[p], c
					_ = t.send(s, due) // counted by the tally
					idle = check.Now()
				}
			}
		})
	}
	return &wg
}
