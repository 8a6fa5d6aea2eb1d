//go:build !linux

package bench

import "syscall"

// childAttributes leave the child in our process group: only Linux can end it at our
// death, so elsewhere Ctrl-C in a terminal should at least reach it too.
func childAttributes() *syscall.SysProcAttr { return nil }
