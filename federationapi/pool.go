package federationapi

// pool is a bounded number of workers and what waits for one of them. A lock of its owner's guards
// it.
type pool[T any] struct {
	workers, active int
	waiting         []T
}

// enter has something wait for a worker. start starts one, unless it is too late for that.
func (p *pool[T]) enter(x T, start func() bool) {
	p.waiting = append(p.waiting, x)
	if p.active < p.workers && start() {
		p.active++
	}
}

// next is what a worker does next. If there is nothing, or it is to stop, it ends.
func (p *pool[T]) next(stop bool) (x T, ok bool) {
	if len(p.waiting) == 0 || stop {
		p.active--
		return x, false
	}
	x, p.waiting[0] = p.waiting[0], x
	p.waiting = p.waiting[1:]
	return x, true
}
