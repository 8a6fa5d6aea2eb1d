package process

import "syscall"

// Attributes make a child that runs as the user of the credential (nil: as this one)
// and gets the signal when its parent dies; see Start. Go sets the signal after it has
// changed the user, which would clear it.
//
// The child has a process group of its own, so that Ctrl-C in a terminal reaches only
// the parent: a service drains its requests first, and stops its servers after.
func Attributes(credential *syscall.Credential, signal syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: credential, Setpgid: true, Pdeathsig: signal}
}
