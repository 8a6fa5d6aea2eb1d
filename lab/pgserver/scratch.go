package pgserver

import (
	"os"
	"syscall"
)

// ScratchDir is where a server that nobody needs to keep costs least: in memory if the
// machine has plenty of that (on Linux, where making a server and cloning databases
// took less than half of the time), else among the temporary files. A TMPDIR decides
// it.
func ScratchDir() string {
	const (
		memory = "/dev/shm"
		// several servers at a time, each with some hundred MB; a container has 64 MB
		// by default
		plenty = 4 << 30
	)
	var space syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(memory, &space) != nil {
		return os.TempDir()
	}
	if uint64(space.Bavail)*uint64(space.Bsize) < plenty { //nolint:unconvert // sizes, of other types on other systems
		return os.TempDir()
	}
	return memory
}
