package main

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// memoryCheck is how often memory is looked at.
	memoryCheck = 5 * time.Second
	// calmCheck is after how many looks the server may be found calm.
	calmCheck = 3
	// worthReturning is how much memory is given back at least, in bytes: what is free,
	// and what a collection would free, stacks of goroutines that have ended among it.
	worthReturning = 8 << 20
	// stackBytes is about what a goroutine's stack takes.
	stackBytes = 16 << 10
	// calmCollections is how many collections a busy server has in calmCheck looks.
	calmCollections = 3
	// besideCaches is what the process may take beside its caches' budget before
	// garbage is collected earlier than the runtime would by itself, in bytes.
	besideCaches = 128 << 20
)

// watchMemory keeps the process near the memory that its caches' budget (in bytes)
// suggests. Left alone, the runtime takes as much again as is in use, which for full
// caches is more than a homeserver's share of its machine; and it keeps what a busy
// hour has needed.
func watchMemory(ctx context.Context, budget int64) {
	tick := time.NewTicker(memoryCheck)
	defer tick.Stop()
	var calm calmness
	for n := 1; ; n++ {
		limitMemory(budget)
		if n%calmCheck == 0 {
			calm.returnMemory()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// limitMemory sets the runtime's soft limit. What is live beyond the budget, such as
// thousands of requests at once, raises it, so that the collector isn't kept busy with
// memory that it can't free. GOMEMLIMIT, if the admin has set it, stands.
func limitMemory(budget int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := liveBytes()
	debug.SetMemoryLimit(max(budget+besideCaches, live+live/2))
}

// liveBytes is what the last collection found in use.
func liveBytes() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(min(sample[0].Value.Uint64(), math.MaxInt64/2))
}

// calmness tells busy times from calm ones by the collections there have been.
type calmness struct{ collections uint32 }

// returnMemory gives memory that was needed in busier times back to the operating
// system once it is calm.
func (c *calmness) returnMemory() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	calm := m.NumGC-c.collections < calmCollections
	c.collections = m.NumGC
	live := liveBytes()
	free := int64(m.HeapIdle-m.HeapReleased) + max(0, int64(m.HeapAlloc)-live) +
		max(0, int64(m.StackInuse)-stackBytes*int64(runtime.NumGoroutine()))
	// What is live has to be gone through for it, so that it must be worth that.
	if calm && free > max(worthReturning, live/8) {
		debug.FreeOSMemory()
		runtime.ReadMemStats(&m)
		c.collections = m.NumGC
	}
}
