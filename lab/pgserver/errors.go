package pgserver

import "errors"

var (
	// ErrInUse means that another server, named in the message by its process id, works
	// on the data directory.
	ErrInUse = errors.New("data directory is in use")

	// ErrNotRunning means that no server answers on the data directory.
	ErrNotRunning = errors.New("no server runs")

	// ErrNoBinaries means that this machine has no Postgres programs and none could be
	// downloaded.
	ErrNoBinaries = errors.New("no Postgres programs (initdb, postgres)")

	// ErrClosedDirectory means that the user who runs the server may not enter the data
	// directory.
	ErrClosedDirectory = errors.New("data directory cannot be entered")

	// ErrVersion means that the data was written by another major version of Postgres.
	ErrVersion = errors.New("data of another Postgres version")
)

// Why a postmaster died at its start, where a moment's patience or another port helps.
var (
	errPredecessor = errors.New("a server that is not ours is still there")
	errPortTaken   = errors.New("another process has the port")
)
