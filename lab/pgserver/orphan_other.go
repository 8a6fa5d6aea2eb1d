//go:build !linux

package pgserver

import "syscall"

// childAttributes leave the child in our process group: only Linux can signal it at our
// death, so elsewhere Ctrl-C in a terminal should at least reach it too. After a
// SIGKILL of the parent the server stays until somebody stops it, and Start says so
// with its process id.
func childAttributes(credential *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: credential}
}
