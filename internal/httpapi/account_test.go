package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// account is what GET and PUT answer.
type account struct {
	ID, Currency, Status, Name string
	Balance, Held, Version     int64
	Available                  *int64
	OverdraftLimit             *int64 `json:"overdraft_limit"`
	Metadata                   map[string]string
	CreatedAt                  string `json:"created_at"`
}

func (a *answer) account() (got account) {
	a.t.Helper()
	a.decode(&got)
	if tag := fmt.Sprintf(`"%d"`, got.Version); a.header.Get("ETag") != tag {
		a.fail("has the ETag %s, and should have %s", a.header.Get("ETag"), tag)
	}
	return got
}

func TestRepeatedPutMakesOneAccount(t *testing.T) {
	m := onTwoInstances(t)
	const terms = `{"currency":"JPY","overdraft_limit":500,"name":"Bob","metadata":{"a":"1"}}`
	made := m.put("bob", terms).want(201)
	if made.location() != "/accounts/bob" {
		t.Errorf("Location is %q", made.location())
	}
	if got := made.account(); got.Name != "Bob" || got.Metadata["a"] != "1" ||
		*got.OverdraftLimit != 500 || *got.Available != 500 || got.Version != 1 {
		t.Errorf("it is %s", made.body)
	}
	for _, again := range []*answer{
		m.put("bob", terms).want(200),
		m.get("/accounts/bob").want(200),
	} {
		if string(again.body) != string(made.body) ||
			again.header.Get("ETag") != made.header.Get("ETag") {
			again.fail("differs from %s", made.body)
		}
	}
}

func TestAccountVersionFollowsItsTermsOnly(t *testing.T) {
	m := onTwoInstances(t)
	for i, change := range []struct {
		terms   string
		version int64
	}{
		{`{"currency":"USD","name":"Bob"}`, 1},
		{`{"currency":"USD","name":"Bob","overdraft_limit":0,"metadata":null}`, 1},
		{`{"currency":"USD","name":"Robert","metadata":{"a":"1","b":"2"}}`, 2},
		{`{"currency":"USD","name":"Robert","metadata":{"b":"2","a":"1"}}`, 2},
		{`{"currency":"USD","name":"Robert","overdraft_limit":null}`, 3},
		{`{"currency":"USD"}`, 4},
	} {
		m.put("bob", change.terms)
		m.fund(m.first, "bob", 1)
		if got := m.get("/accounts/bob").want(200).account(); got.Version != change.version ||
			got.Balance != int64(i+1) {
			t.Errorf("after %s it is %+v; want version %d and balance %d", change.terms, got,
				change.version, i+1)
		}
	}
	got := m.get("/accounts/bob").account()
	if got.Name != "" || len(got.Metadata) != 0 || *got.OverdraftLimit != 0 ||
		*got.Available != 6 {
		t.Errorf("what was left out is not back at its default: %+v", got)
	}
}

// Of many requests at once that all make an account, or change the version that all
// have seen, one succeeds. The others are told, so no change is lost.
func TestOneOfManyWritesAtOnceWins(t *testing.T) {
	m := onTwoInstances(t)
	payment := m.charge("k", aliceToShop(1)).want(201).location()
	bob := call{method: "PUT", path: "/accounts/bob", body: `{"currency":"USD"}`}
	edit := call{method: "PATCH", path: payment, header: http.Header{"If-Match": {`"1"`}}}
	for _, row := range []struct {
		call
		edits     bool
		won, lost int // statuses
	}{
		{bob, false, 201, 200},
		{edit, true, 200, 412},
	} {
		won := 0
		for _, a := range atOnce(40, func(i int) *answer {
			c := row.call
			if row.edits {
				c.body = fmt.Sprintf(`{"description":"%d"}`, i)
			}
			return m.send(m.either(i), c)
		}) {
			if a.status == row.won {
				won++
			} else {
				a.want(row.lost)
			}
		}
		if won != 1 {
			t.Errorf("%s %s %v succeeded %d times", row.method, row.path, row.header, won)
		}
	}
}

// atOnce sends n requests at the same moment, and returns their answers.
func atOnce(n int, send func(i int) *answer) []*answer {
	answers := make([]*answer, n)
	start := make(chan struct{})
	var senders sync.WaitGroup
	for i := range n {
		senders.Go(func() {
			<-start
			answers[i] = send(i)
		})
	}
	close(start)
	senders.Wait()
	return answers
}

// RFC 9110, section 13.1.1.
func TestIfMatchGuardsAgainstALostUpdate(t *testing.T) {
	m := onTwoInstances(t)
	named := func(name string) string { return body{"currency": "USD", "name": name}.String() }
	payment := m.charge("k", aliceToShop(1)).want(201).location()
	for _, tag := range []string{`"1"`, "*", `"1", "2"`} { // none creates an account
		m.putIfMatch("bob", tag, named("a")).wantProblem("precondition_failed")
	}
	m.get("/accounts/bob").want(404)
	m.put("bob", named("a")).want(201)
	for _, stale := range []string{
		`"0"`, `"2"`, `"-1"`, `"+1"`, `"01"`, `""`, `W/"2"`, `"*"`, `"1,"`, `"2", W/"3"`,
		`"99999999999999999999"`,
	} {
		m.putIfMatch("bob", stale, named("b")).wantProblem("precondition_failed")
		m.closeIfMatch("bob", stale).wantProblem("precondition_failed")
		m.patch(payment, stale, "{}").wantProblem("precondition_failed")
	}
	for _, unreadable := range []string{
		`1`, `"1`, `*, "1"`, `**`, `w/"1"`, `W/1`, `W/`, ``, `,`, `"1" "2"`, `"1"; "2"`, `"1", 2`,
	} {
		for _, a := range []*answer{
			m.putIfMatch("bob", unreadable, named("b")), m.closeIfMatch("bob", unreadable),
			m.patch(payment, unreadable, "{}"),
		} {
			if p := a.wantProblem(malformed).problem(); !strings.HasPrefix(p.Detail, "If-Match") {
				a.fail("does not say what is malformed")
			}
		}
	}
	for _, tag := range []string{`W/"1"`, `"3", W/"1"`, `"1", "7"`} {
		m.patch(payment, tag, "{}").want(200)
	}
	for i, tag := range []string{`"1"`, "*", " * ", `W/"4"`, `"3", "5"`, `W/"6", "7"`} {
		got := m.putIfMatch("bob", tag, named(fmt.Sprint("c", i))).want(200).account()
		if got.Version != int64(i+2) {
			t.Errorf("it is %+v", got)
		}
	}
	for _, tag := range []string{"*", `"1"`, `"1", "2"`} {
		m.closeIfMatch("missing", tag).wantProblem("not_found")
		m.patch("/payments/"+strings.Repeat("0", 32), tag, "{}").wantProblem("not_found")
	}
	m.closeIfMatch("alice", "*").wantProblem("account_not_empty")
	// A condition that no longer holds because the request has been executed is not held
	// against its retry.
	for _, tag := range []string{`"3", "7"`, `"7"`, "*"} {
		m.closeIfMatch("bob", tag).want(204)
	}
	m.putIfMatch("bob", "*", named("d")).wantProblem("account_closed")
}

// RFC 3986, section 2.3 and 6.2.2.2: an escaped character is the character.
// encodeURIComponent escapes the colon.
func TestAnAccountIDHasTheFormThatTheContractSays(t *testing.T) {
	m := onOneInstance(t)
	for _, id := range []string{
		"a", "A1", "_", "0", "a.b:c-d_e", strings.Repeat("x", 64), "processor", "Processor:x",
		"org%3Abob",
	} {
		m.put(id, `{"currency":"USD"}`).want(201)
		m.get("/accounts/" + id).want(200)
	}
	for _, id := range []string{"org:bob", "org%3abob", "%6Frg:bob"} {
		if got := m.get("/accounts/" + id).want(200).account(); got.ID != "org:bob" {
			t.Errorf("%s is %s", id, got.ID)
		}
	}
	missing := m.get("/accounts/missing").wantProblem("not_found")
	for _, id := range []string{
		strings.Repeat("x", 65), "-a", ".a", ":a", "a%20b", "a%00", "a%0a", "a%2Fb", "a%5Cb",
		"%C3%BC", "%FF", "a;b", "a+b", "a%2e%2e%2fb",
	} {
		m.put(id, `{"currency":"USD"}`).wantProblem("invalid_request")
		none := m.get("/accounts/" + id).wantProblem("not_found")
		if none.withoutIDs() != missing.withoutIDs() {
			none.fail("differs from what a missing one gets: %s", missing.body)
		}
	}
	for _, id := range []string{"processor:", "processor%3Ax", "processor:stripe:USD"} {
		m.put(id, `{"currency":"USD"}`).wantProblem("unprocessable")
		m.get("/accounts/" + id).wantProblem("not_found")
	}
}

// Every JSON reader has a number exactly up to 2^53-1. A limit beyond it is refused too
// (TestUndescribedRequestIsRefusedAndChangesNothing).
func TestBalancesStayWithinWhatEveryJSONReaderHasExactly(t *testing.T) {
	m := onOneInstance(t)
	const most = 1<<53 - 1
	m.put("bank", `{"currency":"USD","overdraft_limit":null}`).want(201)
	m.put("vault", `{"currency":"USD","overdraft_limit":9007199254740991}`).want(201)
	pay := func(key string, cents int64, source, destination string) *answer {
		return m.charge(key, aliceToShop(cents).with("source_account", source).
			with("destination_account", destination).
			with("capture", !strings.HasPrefix(key, "hold")))
	}
	paid := pay("paid", 1, "vault", "shop").want(201).location()
	pay("fill", most, "bank", "vault").want(201)
	pay("to the brim", 1, "alice", "vault").want(201)
	held := pay("hold", most, "bank", "shop").want(201).location()
	for _, a := range []*answer{
		pay("debt", 1, "bank", "shop"), pay("balance", 1, "alice", "vault"),
		pay("hold more", 1, "bank", "shop"),
		m.post("capture", held+"/capture", `{"amount":1}`), m.post("refund", paid+"/refunds", ""),
	} {
		a.wantProblem("unprocessable").wantErrorAt("/amount")
	}
	for id, want := range map[string][2]int64{"vault": {most, 0}, "bank": {-most, most}} {
		got := m.get("/accounts/" + id).want(200).account()
		if got.Balance != want[0] || got.Held != want[1] ||
			got.Available != nil && *got.Available != most {
			t.Errorf("it is %+v, want %d with %d held", got, want[0], want[1])
		}
	}
}
