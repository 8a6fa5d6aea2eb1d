package pgserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// logSizeMax bounds the log of a server that is started again and again. A start puts a
// larger log aside.
const logSizeMax = 16 << 20

// serverLog is the server's log file, from its end at a start.
type serverLog struct {
	*os.File
	start int64
}

func (d directory) openLog() (*serverLog, error) {
	if info, err := os.Stat(d.logFile()); err == nil && info.Size() > logSizeMax {
		if err := os.Rename(d.logFile(), d.logFile()+".1"); err != nil {
			return nil, fmt.Errorf("putting the old log aside: %w", err)
		}
	}
	file, err := os.OpenFile(d.logFile(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the server's log: %w", err)
	}
	start, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the server's log: %w", err), file.Close())
	}
	return &serverLog{File: file, start: start}, nil
}

// tail is the end of the log since it was opened.
func (l *serverLog) tail() string {
	const bytesMax = 4 << 10
	info, err := l.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(l.start, info.Size()-bytesMax)
	said, err := io.ReadAll(io.NewSectionReader(l.File, from, bytesMax))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(said))
}
