package bench

import "syscall"

// childAttributes make a child that is killed when we die. It has a process group of
// its own, so that Ctrl-C in a terminal reaches only us: we stop what we started in its
// order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
