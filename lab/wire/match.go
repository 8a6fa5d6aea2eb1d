package wire

import (
	"fmt"
	"strings"
)

// Match chooses statements. Without Nth or Every it means the first one that matches,
// on whatever connection, counted from the moment that it was given to Proxy.On.
type Match struct {
	name  string
	test  func(text, Seen) bool
	nth   int
	every bool
}

func match(name string, test func(text, Seen) bool) Match {
	return Match{name: name, test: test, nth: 1}
}

// Statement matches SQL that starts so, whatever its case, white space and comments.
func Statement(prefix string) Match {
	prefix = normalize(prefix)
	return match(fmt.Sprintf("statement %q", prefix), func(t text, _ Seen) bool {
		return strings.HasPrefix(t.normal, prefix)
	})
}

// Containing matches SQL that has the words anywhere, for statements that start with
// WITH.
func Containing(words string) Match {
	words = normalize(words)
	return match(fmt.Sprintf("containing %q", words), func(t text, _ Seen) bool {
		return strings.Contains(t.normal, words)
	})
}

// Begin matches BEGIN and START TRANSACTION.
func Begin() Match {
	return match("begin", func(t text, _ Seen) bool { return t.begins() })
}

// Commit matches COMMIT and END.
func Commit() Match {
	return match("commit", func(t text, _ Seen) bool { return t.commits() })
}

// Rollback matches ROLLBACK and ABORT, and not ROLLBACK TO a savepoint.
func Rollback() Match {
	return match("rollback", func(t text, _ Seen) bool { return t.rollsBack() })
}

// Step matches the statement at that position of an explicit transaction: BEGIN is step
// 0, COMMIT the last one.
func Step(k int) Match {
	return match(fmt.Sprintf("step %d", k), func(_ text, s Seen) bool { return s.Step == k })
}

// Any matches every statement.
func Any() Match {
	return match("any statement", func(text, Seen) bool { return true })
}

// Where matches what the function says. The name is for messages; Seen has no outcome
// yet.
func Where(name string, test func(Seen) bool) Match {
	return match(name, func(_ text, s Seen) bool { return test(s) })
}

// And matches what both match; the count (Nth, Every) is the receiver's.
func (m Match) And(other Match) Match {
	first := m.test
	m.test = func(t text, s Seen) bool { return first(t, s) && other.test(t, s) }
	m.name += " and " + other.name
	return m
}

// From matches only on connections with that application_name.
func (m Match) From(app string) Match {
	return m.And(Where("from "+app, func(s Seen) bool { return s.App == app }))
}

// OnConn matches only on that connection of the proxy; see Seen.Conn.
func (m Match) OnConn(id int) Match {
	return m.And(Where(fmt.Sprintf("on connection %d", id), func(s Seen) bool {
		return s.Conn == id
	}))
}

// Nth means the n-th statement that matches, from 1.
func (m Match) Nth(n int) Match {
	m.nth, m.every = n, false
	m.name = fmt.Sprintf("%s number %d", m.name, n)
	return m
}

// Every means all statements that match.
func (m Match) Every() Match {
	m.every = true
	m.name = "every " + m.name
	return m
}
