package client

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// cache remembers values until they expire, at most maxRemembered.
type cache[V any] struct{ entries *lru.Cache[string, cached[V]] }

type cached[V any] struct {
	value   V
	expires time.Time
}

func newCache[V any]() *cache[V] {
	entries, err := lru.New[string, cached[V]](maxRemembered)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &cache[V]{entries}
}

func (c *cache[V]) get(key string) (v V, ok bool) {
	e, ok := c.entries.Get(key)
	if !ok || time.Now().After(e.expires) {
		return v, false
	}
	return e.value, true
}

// last returns a value even if it has expired.
func (c *cache[V]) last(key string) (v V, ok bool) {
	e, ok := c.entries.Get(key)
	return e.value, ok
}

func (c *cache[V]) set(key string, v V, lifetime time.Duration) {
	c.entries.Add(key, cached[V]{v, time.Now().Add(lifetime)})
}

func (c *cache[V]) drop(key string) { c.entries.Remove(key) }
