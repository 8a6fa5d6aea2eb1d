// Package transcript reads the shell sessions of the documentation, so that tests can
// run what it shows.
package transcript

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is one command of a session, and what it should print.
type Step struct{ Command, Output string }

var blocks = regexp.MustCompile("(?ms)^```console\n(.*?)^```")

// Steps reads the ```console blocks of a text: "$ " begins a command, and what follows
// is its output.
func Steps(markdown string) (steps []Step) {
	for _, block := range blocks.FindAllStringSubmatch(markdown, -1) {
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				steps = append(steps, Step{Command: command})
			} else if len(steps) > 0 {
				steps[len(steps)-1].Output += line
			}
		}
	}
	return steps
}

// varies is what differs from run to run: ids and times.
var varies = regexp.MustCompile(`(pay|req)_[0-9a-f]{32}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`)

// Mask makes a transcript comparable: each id and time becomes the number of its first
// appearance.
func Mask(text string) string {
	names := map[string]string{}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return varies.ReplaceAllStringFunc(text, func(value string) string {
		if _, seen := names[value]; !seen {
			names[value] = fmt.Sprintf("<%d>", len(names)+1)
		}
		return names[value]
	})
}
