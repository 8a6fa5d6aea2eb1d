package pgserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that runs the server.
type account struct {
	name       string
	credential *syscall.Credential // nil: the user of this process
}

// accountFor is the user of this process, except for root: Postgres refuses to run as
// root. Then it is the owner of the data, or for new data postgres, or else nobody.
func accountFor(dir directory) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	var data syscall.Stat_t
	err := syscall.Stat(dir.data(), &data)
	switch {
	case err == nil && data.Uid == 0:
		return account{}, errors.New("the data belongs to root, " +
			"and Postgres refuses to run as root")
	case err == nil:
		return account{
			name:       strconv.Itoa(int(data.Uid)),
			credential: &syscall.Credential{Uid: data.Uid, Gid: data.Gid},
		}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return account{}, fmt.Errorf("looking at the data: %w", err)
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		return account{name, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}},
			errors.Join(uidErr, gidErr)
	}
	return account{}, errors.New("there is neither a user postgres nor a user nobody, and " +
		"Postgres refuses to run as root")
}

// own gives a file to the server's user.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	if err := os.Chown(path, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
		return fmt.Errorf("giving a file to user %s: %w", a.name, err)
	}
	return nil
}
