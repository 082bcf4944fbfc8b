package postgres

import "syscall"

// sysProcAttr puts a process into a session of its own and lets it run as
// somebody else.
func sysProcAttr(credential *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Credential: credential}
}
