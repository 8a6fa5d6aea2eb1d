package wire

import (
	"fmt"
	"strings"
)

// Match chooses statements. Without Nth or Every it means the first one that matches,
// on whatever connection, counted from the moment that it was given to Proxy.On.
type Match struct {
	name  string
	test  func(*Seen) bool
	nth   int
	every bool
}

func match(name string, test func(*Seen) bool) Match {
	return Match{name: name, test: test, nth: 1}
}

// Statement matches SQL that starts so, whatever its case, white space and comments.
func Statement(prefix string) Match {
	prefix = normalize(prefix)
	return match(fmt.Sprintf("statement %q", prefix), func(st *Seen) bool {
		return strings.HasPrefix(st.text.normal, prefix)
	})
}

// Containing matches SQL that has the words anywhere, for statements that start with
// WITH.
func Containing(words string) Match {
	words = normalize(words)
	return match(fmt.Sprintf("containing %q", words), func(st *Seen) bool {
		return strings.Contains(st.text.normal, words)
	})
}

// Commit matches COMMIT and END.
func Commit() Match {
	return match("commit", func(st *Seen) bool { return st.text.commits() })
}

// Step matches the statement at that position of an explicit transaction: BEGIN is step
// 0, COMMIT the last one.
func Step(k int) Match {
	return match(fmt.Sprintf("step %d", k), func(st *Seen) bool { return st.Step == k })
}

// Any matches every statement.
func Any() Match { return match("any statement", func(*Seen) bool { return true }) }

// From matches only on connections with that application_name.
func (m Match) From(app string) Match {
	test := m.test
	m.test = func(st *Seen) bool { return st.App == app && test(st) }
	m.name += " from " + app
	return m
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
