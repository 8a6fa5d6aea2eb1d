package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Progress shows how far a run is: by a bar on a terminal, and by a line for each step
// elsewhere. One goroutine uses it.
type Progress struct {
	out      io.Writer
	terminal bool
}

// NewProgress writes to out.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

const clearLine = "\r\x1b[K" // removes a bar

// Say writes a line.
func (p *Progress) Say(text string) {
	if p.terminal {
		fmt.Fprint(p.out, clearLine)
	}
	fmt.Fprintf(p.out, "%s…\n", text)
}

// Step tells how many steps are done, and the result of the last one.
func (p *Progress) Step(done, total int, result string) {
	if !p.terminal {
		fmt.Fprintf(p.out, "%d/%d %s\n", done, total, result)
		return
	}
	const width = 30
	filled := width * done / total
	fmt.Fprintf(p.out, "%s[%s%s] %d/%d %s", clearLine, strings.Repeat("█", filled),
		strings.Repeat("░", width-filled), done, total, result)
}
