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

// account is the user who runs the server.
type account struct {
	name       string
	credential *syscall.Credential // nil: the user that we are
}

// accountFor is our own user, except for root, as whom Postgres refuses to run: then it
// is the user to whom the data belongs, or for new data postgres, or else nobody.
func accountFor(dir directory) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	info, err := os.Stat(dir.data())
	if err == nil {
		return ownerOf(info)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return account{}, fmt.Errorf("looking at the data: %w", err)
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return newAccount(u)
		}
	}
	return account{}, errors.New(
		"Postgres refuses to run as root, and there is neither a user postgres nor a user nobody",
	)
}

func ownerOf(data fs.FileInfo) (account, error) {
	stat, ok := data.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 {
		return account{}, errors.New("the data belongs to root, as whom Postgres refuses to run")
	}
	credential := &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
	return account{name: fmt.Sprintf("with id %d", stat.Uid), credential: credential}, nil
}

func newAccount(u *user.User) (account, error) {
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return account{}, fmt.Errorf("reading the ids of user %s: %w", u.Username, err)
	}
	return account{name: u.Username,
		credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// mayEnter reads the permission bits as the kernel does. For ourselves there is nothing
// to find out: we were there.
func (a account) mayEnter(dir fs.FileInfo) bool {
	stat, ok := dir.Sys().(*syscall.Stat_t)
	if a.credential == nil || !ok {
		return true
	}
	execute := uint32(0o001)
	switch {
	case stat.Uid == a.credential.Uid:
		execute = 0o100
	case stat.Gid == a.credential.Gid:
		execute = 0o010
	}
	return uint32(dir.Mode().Perm())&execute != 0
}

// own gives a file that we made to the user who runs the server.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}
	if err := os.Chown(path, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
		return fmt.Errorf("giving a file to user %s: %w", a.name, err)
	}
	return nil
}
