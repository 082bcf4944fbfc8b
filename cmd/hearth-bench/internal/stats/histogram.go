// Package stats keeps latencies in bounded memory.
package stats

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Latencies fall into buckets at most 1/128 of their value wide.
const (
	mantissa = 7
	buckets  = (64 - mantissa) << mantissa
)

// Histogram counts latencies, and may be shared. The zero value is empty.
type Histogram struct {
	count [buckets]atomic.Uint32
	n     atomic.Int64
	max   atomic.Int64
}

// Record counts one latency.
func (h *Histogram) Record(d time.Duration) {
	h.count[bucket(d)].Add(1)
	h.n.Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// Count is the number of latencies recorded.
func (h *Histogram) Count() int64 { return h.n.Load() }

// Max is the longest latency recorded, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) }

// Quantile returns the latency that the fraction q of all stayed within, to
// within 1 %; 0 of an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	need := int64(q * float64(h.n.Load()))
	var seen int64
	for i := range h.count {
		if seen += int64(h.count[i].Load()); seen > need {
			return min(upper(i), h.Max())
		}
	}
	return h.Max()
}

func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	shift := max(bits.Len64(v)-mantissa-1, 0)
	return shift<<mantissa + int(v>>shift)
}

// upper is the largest value of a bucket.
func upper(i int) time.Duration {
	shift := max(i>>mantissa-1, 0)
	return time.Duration(uint64(i-shift<<mantissa+1)<<shift - 1)
}
