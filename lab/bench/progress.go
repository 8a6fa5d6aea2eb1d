package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Progress tells a person how far a run is: as a bar where the output is a terminal,
// and as a line a step elsewhere. One goroutine uses it.
type Progress struct {
	out         io.Writer
	terminal    bool
	done, total int
}

// NewProgress writes to out.
func NewProgress(out io.Writer) *Progress {
	file, ok := out.(*os.File)
	if !ok {
		return &Progress{out: out}
	}
	info, err := file.Stat()
	return &Progress{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// Say writes a line.
func (p *Progress) Say(text string) { p.print("%s…\n", text) }

// Begin starts a bar of this many steps.
func (p *Progress) Begin(total int) { p.done, p.total = 0, total }

// Step says what is being done.
func (p *Progress) Step(text string) {
	if p.terminal {
		p.print("\r\x1b[K%s %s", p.bar(), text)
	}
}

// Done says what a step came to.
func (p *Progress) Done(text string) {
	p.done++
	if !p.terminal {
		p.print("%d/%d %s\n", p.done, p.total, text)
	}
}

// End removes the bar.
func (p *Progress) End() {
	if p.terminal {
		p.print("\r\x1b[K")
	}
}

func (p *Progress) bar() string {
	const width = 30
	filled := width * p.done / max(p.total, 1)
	return fmt.Sprintf("[%s%s] %d/%d", strings.Repeat("█", filled),
		strings.Repeat("░", width-filled), p.done, p.total)
}

// print has nobody to tell if the output is gone.
func (p *Progress) print(format string, args ...any) { _, _ = fmt.Fprintf(p.out, format, args...) }
