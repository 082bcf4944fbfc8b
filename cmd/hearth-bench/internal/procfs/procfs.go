// Package procfs reads what processes have used of the machine from /proc.
package procfs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU time in /proc/PID/stat: USER_HZ, which Linux fixes
// at 100 on every architecture that Go supports.
const tick = time.Second / 100

// Watch names the processes of a measured server.
type Watch struct {
	Server   []int // the homeserver's own processes
	Database int   // PostgreSQL's postmaster, 0 for none; its children count too
}

// Usage is what processes had used at one moment.
type Usage struct {
	At             time.Time
	ServerCPU      time.Duration
	DatabaseCPU    time.Duration
	ToolCPU        time.Duration // the load tool itself
	ServerMemory   int64         // bytes resident
	DatabaseMemory int64         // bytes, memory shared between processes counted once
}

// CPU reads the CPU times only, which is cheap.
func (w Watch) CPU() (Usage, error) {
	u := Usage{At: time.Now(), ToolCPU: self()}
	for _, pid := range w.Server {
		s, err := readStat(pid)
		if err != nil {
			return u, err
		}
		u.ServerCPU += s.own
	}
	if w.Database == 0 {
		return u, nil
	}
	// A child that ends between two readings moves from the sum of the living
	// to the postmaster's own account of children that it has waited for.
	postmaster, err := readStat(w.Database)
	if err != nil {
		return u, err
	}
	u.DatabaseCPU = postmaster.own + postmaster.reaped
	for _, pid := range children(w.Database) {
		if s, err := readStat(pid); err == nil {
			u.DatabaseCPU += s.own
		}
	}
	return u, nil
}

// Memory reads CPU times and memory.
func (w Watch) Memory() (Usage, error) {
	u, err := w.CPU()
	if err != nil {
		return u, err
	}
	for _, pid := range w.Server {
		n, err := field(pid, "status", "VmRSS:")
		if err != nil {
			return u, err
		}
		u.ServerMemory += n
	}
	if w.Database == 0 {
		return u, nil
	}
	for _, pid := range append(children(w.Database), w.Database) {
		if n, err := field(pid, "smaps_rollup", "Pss:"); err == nil { // a backend may just have ended
			u.DatabaseMemory += n
		}
	}
	return u, nil
}

type stat struct{ own, reaped time.Duration }

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	// The command, in parentheses, may hold anything, also parentheses.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 15 {
		return stat{}, fmt.Errorf("CPU time of process %d: %d fields in stat", pid, len(f))
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(f[i], 10, 64)
		return time.Duration(n) * tick
	}
	return stat{own: ticks(11) + ticks(12), reaped: ticks(13) + ticks(14)}, nil
}

// children lists the direct children of a process. PostgreSQL's backends are
// all children of the postmaster.
func children(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// field reads a value in kB from a file of /proc/PID and returns bytes.
func field(pid int, file, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("memory of process %d: no %s in %s", pid, name, file)
}

func self() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
