package service

import "syscall"

// ownGroup keeps the signals of a terminal from a child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// mortal makes a child that is killed when the thread that started it ends; see
// startChild.
func mortal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
