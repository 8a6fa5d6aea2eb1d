package bench

import "syscall"

// childAttributes make a child that is killed when this process dies. The child has a
// process group of its own: Ctrl-C in a terminal reaches only this process, which ends
// its children in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
