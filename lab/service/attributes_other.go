//go:build !linux

package service

import "syscall"

// ownGroup keeps the signals of a terminal from a child.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// mortal is as near as other systems come: there is no signal at a parent's death, so a
// killed test leaves its children.
func mortal() *syscall.SysProcAttr { return ownGroup() }
