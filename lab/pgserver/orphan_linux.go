package pgserver

import "syscall"

// childAttributes make a child that gets SIGINT, for Postgres a fast shutdown, when its
// parent dies; see startProcess. Go sets the signal after it has changed the user, which
// would clear it.
//
// The child has a process group of its own, so that Ctrl-C in a terminal reaches only
// the parent: a service drains its requests first, and stops its database after.
func childAttributes(credential *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: credential, Setpgid: true, Pdeathsig: syscall.SIGINT}
}
