//go:build !linux

package process

import "syscall"

// Attributes leave the child in the parent's process group, so that Ctrl-C in a
// terminal reaches it too: only Linux can signal a child at its parent's death. After a
// SIGKILL of the parent the server stays. Start then reports it with its process id.
func Attributes(credential *syscall.Credential, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: credential}
}
