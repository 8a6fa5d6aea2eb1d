package wire

import (
	"fmt"
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

	Tag      string   // of CommandComplete, as the server said it; empty if none came
	SQLState string   // of the server's ErrorResponse, or of the one injected
	Skipped  bool     // the server ignored it, because of an earlier error in its pipeline
	Warnings []string // SQLSTATE and message of the notices that came with it
}

func (s Seen) String() string {
	outcome := s.Tag
	switch {
	case s.Skipped:
		outcome = "skipped"
	case s.SQLState != "":
		outcome = "error " + s.SQLState
	case outcome == "":
		outcome = "no reply"
	}
	return fmt.Sprintf("conn %d tx %d step %d: %s → %s", s.Conn, s.Tx, s.Step, normalize(s.SQL),
		outcome)
}

// text is a statement's SQL with the form that matches are made against, computed once
// per Parse.
type text struct{ sql, normal string }

func newText(sql string) text { return text{sql: sql, normal: normalize(sql)} }

// normalize drops comments and case and folds white space, so that a match survives a
// reformatted statement. It does not know string literals, which is good enough to
// recognise a statement by.
func normalize(sql string) string {
	var plain strings.Builder
	for line := range strings.Lines(sql) {
		line, _, _ = strings.Cut(line, "--")
		plain.WriteString(line)
		plain.WriteByte(' ')
	}
	sql = plain.String()
	for {
		before, rest, found := strings.Cut(sql, "/*")
		_, after, closed := strings.Cut(rest, "*/")
		if !found || !closed {
			break
		}
		sql = before + " " + after
	}
	return strings.TrimRight(strings.ToLower(strings.Join(strings.Fields(sql), " ")), "; ")
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
// that the client sends, because the server's word (ReadyForQuery) comes only at the
// end of a pipeline.
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
