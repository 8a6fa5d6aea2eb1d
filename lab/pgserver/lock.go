package pgserver

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// lock makes a directory ours.
type lock struct{ file *os.File }

// lock takes the directory until it is released or this process has ended, however it
// ended: the kernel sees to that. A directory that somebody has gives ErrInUse.
func (d directory) lock() (*lock, error) {
	file, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(file.Name())
		err = fmt.Errorf("%w: %s has server process %s, run by process %s", ErrInUse, d.path,
			d.postmaster().pid, holder)
		return nil, errors.Join(err, file.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the data directory: %w", err), file.Close())
	}
	l := &lock{file: file}
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteString(strconv.Itoa(os.Getpid()))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing our process id into the lock: %w", err),
			l.release())
	}
	return l, nil
}

// release unlocks, and does not leave that to Close: a child that was forked at this
// moment, any child, has a copy of the open file until its program begins, and the lock
// would stay for as long.
func (l *lock) release() error {
	unlocked := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	if err := errors.Join(unlocked, l.file.Close()); err != nil {
		return fmt.Errorf("unlocking the data directory: %w", err)
	}
	return nil
}
