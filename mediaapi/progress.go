package mediaapi

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errStalled says that a server stopped sending.
var errStalled = errors.New("nothing arrived for too long")

// progress cancels a context unless it is told again and again that all is well.
type progress struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// watchProgress returns a context that ends when the time has passed and nobody has
// allowed more.
func watchProgress(ctx context.Context, first time.Duration) (context.Context, *progress) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &progress{ctx, cancel, time.AfterFunc(first, func() { cancel(errStalled) })}
}

// allow gives it time from now on.
func (p *progress) allow(d time.Duration) { p.timer.Reset(d) }

func (p *progress) stop() {
	p.timer.Stop()
	p.cancel(nil)
}

// explain replaces the error of what a stall has cancelled.
func (p *progress) explain(err error) error {
	if err != nil && errors.Is(context.Cause(p.ctx), errStalled) {
		return fmt.Errorf("%w: %w", errSource, errStalled)
	}
	return err
}
