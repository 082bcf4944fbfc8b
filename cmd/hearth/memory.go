package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// calmCheck is how often memory is looked at.
	calmCheck = 15 * time.Second
	// worthReturning is how much free memory is given back at least, in bytes.
	worthReturning = 24 << 20
	// calmCollections is how many collections a busy server has in calmCheck.
	calmCollections = 3
)

// returnMemory gives memory that was needed in busier times back to the operating
// system once it is calm. The runtime by itself keeps as much again as it uses,
// which is right for a busy server, but a homeserver shares its machine and is
// calm most of the time.
func returnMemory(ctx context.Context) {
	tick := time.NewTicker(calmCheck)
	defer tick.Stop()
	var collections uint32
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		calm := m.NumGC-collections < calmCollections
		collections = m.NumGC
		if calm && m.HeapIdle-m.HeapReleased > worthReturning {
			debug.FreeOSMemory()
			runtime.ReadMemStats(&m)
			collections = m.NumGC
		}
	}
}
