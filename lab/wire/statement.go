package wire

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// Seen is one executed statement, as it passed through the proxy. A simple Query with
// several statements in it is one.
type Seen struct {
	Conn int    // counts the proxy's connections from 1
	App  string // the connection's application_name
	Tx   int    // counts the connection's explicit transactions from 1; 0 outside of one
	Step int    // position in the transaction: BEGIN is 0, COMMIT the last; -1 outside of one
	SQL  string // as the client wrote it

	// Outcome is the server's command tag, "error" and the SQLSTATE, or "skipped" after an
	// earlier error in the pipeline. It is empty if no reply came. Proxy.mu guards it.
	Outcome string

	text text
}

const skipped = "skipped"

func (s Seen) String() string {
	return fmt.Sprintf("conn %d tx %d step %d: %s → %s", s.Conn, s.Tx, s.Step, s.text.normal,
		cmp.Or(s.Outcome, "no reply"))
}

// text is a statement's SQL with the form that matches are made against, computed once
// per Parse.
type text struct{ sql, normal string }

func newText(sql string) text { return text{sql: sql, normal: normalize(sql)} }

var comment = regexp.MustCompile(`(?s)--[^\n]*|/\*.*?\*/`)

// normalize drops comments and case and folds white space, so that a match survives a
// reformatted statement. It does not know string literals, and need not.
func normalize(sql string) string {
	words := strings.Fields(comment.ReplaceAllString(sql, " "))
	return strings.TrimRight(strings.ToLower(strings.Join(words, " ")), "; ")
}

func (t text) startsWith(words ...string) bool {
	for _, word := range words {
		if t.normal == word || strings.HasPrefix(t.normal, word+" ") {
			return true
		}
	}
	return false
}

func (t text) begins() bool { return t.startsWith("begin", "start transaction") }

func (t text) commits() bool { return t.startsWith("commit", "end") }

func (t text) rollsBack() bool {
	return t.startsWith("rollback", "abort") && !t.startsWith("rollback to")
}

// position numbers the statements of a connection's transactions. It goes by the text
// that the client sends, because the server's ReadyForQuery comes only at the end of a
// pipeline.
type position struct {
	tx   int
	step int
	open bool
}

func (p *position) next(t text) (tx, step int) {
	switch {
	case t.begins():
		p.tx, p.step, p.open = p.tx+1, 0, true
	case p.open:
		p.step++
	default:
		return 0, -1
	}
	if t.commits() || t.rollsBack() {
		p.open = false
	}
	return p.tx, p.step
}
