package pgserver

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// lock takes the directory until it is released or this process has ended: the kernel
// releases it then. A directory that another server has gives ErrInUse.
func (d directory) lock() (release func() error, err error) {
	file, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(file.Name())
		err = fmt.Errorf("%w: process %s runs a Postgres in %s: end that process, or choose "+
			"another directory", ErrInUse, holder, d.path)
		return nil, errors.Join(err, file.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the data directory: %w", err), file.Close())
	}
	// Close alone would not do: a child that was forked at this moment, any child, has a
	// copy of the open file until its program begins, and would keep the lock.
	release = func() error {
		return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
	}
	if err := os.WriteFile(file.Name(), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("writing the lock: %w", err), release())
	}
	return release, nil
}
