// Package compare builds, starts and stops the homeservers that the load tool
// measures beside each other.
package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/wire"
)

// startLimit is how long a server may take until it answers.
const startLimit = 5 * time.Minute

// ProcessOptions of StartProcess.
type ProcessOptions struct {
	Dir string    // the working directory, this one's if empty
	Log io.Writer // takes the server's output; nil drops it
}

// Process is a running server.
type Process struct {
	StartTime time.Duration // until its first answer
	cmd       *exec.Cmd
	ended     chan struct{} // closed after the process ended, with err set
	err       error
}

// StartProcess starts a server and waits for it to answer at the target. At a
// target where something answers already it refuses to.
func StartProcess(ctx context.Context, t wire.Target, argv []string, o ProcessOptions) (*Process, error) {
	if answers(ctx, t) == nil {
		return nil, fmt.Errorf("start %s: another server already answers at its address", argv[0])
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.Dir, o.Log, o.Log
	// It dies with the tool, so that nothing is left over whatever happens.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for answers(ctx, t) != nil {
		select {
		case <-p.ended:
			return nil, fmt.Errorf("start %s: it ended before it answered: %w", argv[0], errors.Join(p.err, errSeeLog))
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("start %s: no answer: %w", argv[0], ctx.Err()), p.Stop())
		case <-time.After(2 * time.Millisecond):
		}
	}
	p.StartTime = time.Since(begin)
	return p, nil
}

var errSeeLog = errors.New("its log says why")

func answers(ctx context.Context, t wire.Target) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c := matrix.NewClient(ctx, t, matrix.Account{})
	defer c.Close()
	return c.Versions()
}

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// stopLimit is how long a server may take to end before it is killed.
const stopLimit = 30 * time.Second

// Stop asks the server to end and waits until it has.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("stop %s: it had to be killed after %v", p.cmd.Path, stopLimit)
	}
}
