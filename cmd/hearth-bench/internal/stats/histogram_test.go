package stats

import (
	"testing"
	"time"
)

func TestQuantilesAreWithinOnePercent(t *testing.T) {
	var h Histogram
	for i := 1; i <= 100_000; i++ {
		h.Record(time.Duration(i) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.9: 90 * time.Millisecond, 0.99: 99 * time.Millisecond, 1: 100 * time.Millisecond} {
		got := h.Quantile(q)
		if diff := (got - want).Abs(); diff > want/100 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Max() != 100*time.Millisecond || h.Count() != 100_000 {
		t.Errorf("max %v of %d", h.Max(), h.Count())
	}
}

func TestEveryValueFallsIntoItsBucket(t *testing.T) {
	for v := time.Duration(0); v < 1<<62; v = v*2 + v/3 + 1 {
		i := bucket(v)
		if v > upper(i) || i > 0 && v <= upper(i-1) {
			t.Fatalf("%d fell into bucket %d, which spans %d to %d", v, i, upper(i-1)+1, upper(i))
		}
	}
}
