//go:build !linux

package bench

import "syscall"

// childAttributes leave the child in this process group. Only Linux can kill it at the
// death of this process; elsewhere Ctrl-C in a terminal reaches it too.
func childAttributes() *syscall.SysProcAttr { return nil }
