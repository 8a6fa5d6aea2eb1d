package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/pgtest"
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

func TestAnAccountIsMadeOnceHoweverOftenItIsPut(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		const terms = `{"currency":"JPY","overdraft_limit":500,"name":"Bob","metadata":{"a":"1"}}`
		made := m.put("bob", terms).want(http.StatusCreated)
		if made.header.Get("Location") != "/accounts/bob" {
			t.Errorf("Location is %q", made.header.Get("Location"))
		}
		got := made.account()
		if got.ID != "bob" || got.Currency != "JPY" || got.Name != "Bob" || got.Metadata["a"] != "1" || *got.OverdraftLimit != 500 ||
			got.Balance != 0 || got.Held != 0 || *got.Available != 500 || got.Status != "open" || got.Version != 1 {
			t.Errorf("it is %s", made.body)
		}
		for _, again := range []*answer{m.put("bob", terms).want(http.StatusOK), m.get("/accounts/bob").want(http.StatusOK)} {
			if string(again.body) != string(made.body) || again.header.Get("ETag") != made.header.Get("ETag") {
				again.fail("differs from %s", made.body)
			}
		}
	})
}

func TestAnAccountsVersionMovesWithItsTermsAndNotWithItsMoney(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		for i, change := range []struct {
			terms   string
			version int64
		}{
			{`{"currency":"USD","name":"Bob"}`, 1},
			{`{"currency":"USD","name":"Bob","overdraft_limit":0,"metadata":{}}`, 1},
			{`{"currency":"USD","name":"Bob","overdraft_limit":0,"metadata":null}`, 1},
			{`{"currency":"USD","name":"Robert"}`, 2},
			{`{"currency":"USD","name":"Robert","metadata":{"a":"1","b":"2"}}`, 3},
			{`{"currency":"USD","name":"Robert","metadata":{"b":"2","a":"1"}}`, 3},
			{`{"currency":"USD","name":"Robert","overdraft_limit":null}`, 4},
			{`{"currency":"USD","name":"Robert","overdraft_limit":null}`, 4},
			{`{"currency":"USD","name":null,"overdraft_limit":null}`, 5},
			{`{"currency":"USD"}`, 6},
		} {
			m.put("bob", change.terms)
			m.fund(m.first, "bob", 1)
			if got := m.get("/accounts/bob").want(http.StatusOK).account(); got.Version != change.version || got.Balance != int64(i+1) {
				t.Errorf("after %s it is %+v; want version %d and balance %d", change.terms, got, change.version, i+1)
			}
		}
		got := m.get("/accounts/bob").account()
		if got.Name != "" || len(got.Metadata) != 0 || *got.OverdraftLimit != 0 || *got.Available != 10 {
			t.Errorf("what was left out is not back at its default: %+v", got)
		}
	})
}

func TestManyWhoMakeOneAccountAtOnceMakeOne(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		made := 0
		for _, a := range atOnce(40, func(i int) *answer {
			return m.send(m.either(i), call{method: http.MethodPut, path: "/accounts/bob", body: `{"currency":"USD"}`})
		}) {
			if a.status == http.StatusCreated {
				made++
			} else {
				a.want(http.StatusOK)
			}
		}
		if made != 1 {
			t.Errorf("it was made %d times", made)
		}
	})
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
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		named := func(name string) string { return body{"currency": "USD", "name": name}.String() }
		m.putIfMatch("bob", `"1"`, named("a")).wantProblem(http.StatusPreconditionFailed, "precondition_failed")
		m.get("/accounts/bob").want(http.StatusNotFound)
		m.put("bob", named("a")).want(http.StatusCreated)
		for _, stale := range []string{
			`"0"`, `"2"`, `"-1"`, `"+1"`, `"01"`, `1`, `0`, `-1`, `""`, `W/"1"`, `"1`, `"x"`, `"*"`, `*, "1"`, `**`,
			`"99999999999999999999"`,
		} {
			m.putIfMatch("bob", stale, named("b")).wantProblem(http.StatusPreconditionFailed, "precondition_failed")
		}

		changed := 0
		for _, a := range atOnce(20, func(i int) *answer {
			return m.send(m.either(i), call{
				method: http.MethodPut, path: "/accounts/bob", header: http.Header{"If-Match": {`"1"`}}, body: named(fmt.Sprint("b", i)),
			})
		}) {
			if a.status == http.StatusOK {
				changed++
			} else {
				a.wantProblem(http.StatusPreconditionFailed, "precondition_failed")
			}
		}
		if changed != 1 {
			t.Errorf("%d of 20 changes of one version were made", changed)
		}
		m.putIfMatch("bob", `"2"`, named("c")).want(http.StatusOK)
	})
}

// RFC 9110, section 13.1.1: "*" is whatever version there is. It changes an account, and never creates one.
func TestIfMatchAnyChangesOnlyWhatIsThere(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		named := func(name string) string { return body{"currency": "USD", "name": name}.String() }
		m.putIfMatch("bob", "*", named("a")).wantProblem(http.StatusPreconditionFailed, "precondition_failed")
		m.get("/accounts/bob").want(http.StatusNotFound)
		m.put("bob", named("a")).want(http.StatusCreated)
		for i, tag := range []string{"*", " * ", "*"} {
			if got := m.putIfMatch("bob", tag, named(fmt.Sprint("b", i))).want(http.StatusOK).account(); got.Version != int64(i+2) {
				t.Errorf("it is %+v", got)
			}
		}
		m.putIfMatch("bob", "*", `{"currency":"EUR"}`).wantProblem(http.StatusConflict, "account_currency_fixed")
		closeAny := func(account string) *answer {
			return m.send(m.first, call{method: http.MethodDelete, path: "/accounts/" + account, header: http.Header{"If-Match": {"*"}}})
		}
		closeAny("missing").wantProblem(http.StatusNotFound, "not_found")
		closeAny("alice").wantProblem(http.StatusConflict, "account_not_empty")
		closeAny("bob").want(http.StatusNoContent)
		closeAny("bob").want(http.StatusNoContent)
		m.putIfMatch("bob", "*", named("c")).wantProblem(http.StatusConflict, "account_closed")
	})
}

func TestWhatAnAccountNeverChanges(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		m.put("alice", `{"currency":"EUR"}`).wantProblem(http.StatusConflict, "account_currency_fixed")
		m.putIfMatch("alice", `"1"`, `{"currency":"EUR"}`).wantProblem(http.StatusConflict, "account_currency_fixed")

		m.put("alice", `{"currency":"USD","overdraft_limit":100}`).want(http.StatusOK)
		m.charge("k", aliceToShop(aliceHas+60)).want(http.StatusCreated)
		m.put("alice", `{"currency":"USD","overdraft_limit":59}`).wantProblem(http.StatusConflict, "overdraft_in_use")
		m.put("alice", `{"currency":"USD"}`).wantProblem(http.StatusConflict, "overdraft_in_use")
		m.put("alice", `{"currency":"USD","overdraft_limit":60}`).want(http.StatusOK)
		got := m.get("/accounts/alice").account()
		if got.Balance != -60 || *got.Available != 0 || *got.OverdraftLimit != 60 || got.Version != 3 {
			t.Errorf("it is %+v", got)
		}
	})
}

// Lowering the limit and using it, at once.
func TestAnOverdraftIsUsedOrTakenBackButNotBoth(t *testing.T) {
	acrossTwoInstances(t, func(t *testing.T, m *merchant) {
		for round := range 10 {
			id := fmt.Sprint("poor", round)
			m.put(id, `{"currency":"USD","overdraft_limit":100}`).want(http.StatusCreated)
			answers := atOnce(2, func(i int) *answer {
				if i == 0 {
					return m.charge(id, aliceToShop(100).with("source_account", id))
				}
				return m.put(id, `{"currency":"USD"}`)
			})
			switch [2]int{answers[0].status, answers[1].status} {
			case [2]int{http.StatusCreated, http.StatusConflict}, [2]int{http.StatusPaymentRequired, http.StatusOK}:
			default:
				t.Errorf("the charge got %d, the change %d", answers[0].status, answers[1].status)
			}
		}
	})
}

func TestAnAccountIDHasTheFormThatTheContractSays(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	for _, id := range []string{"a", "A1", "_", "0", "a.b:c-d_e", strings.Repeat("x", 64), "processor", "Processor:x"} {
		m.put(id, `{"currency":"USD"}`).want(http.StatusCreated)
		m.get("/accounts/" + id).want(http.StatusOK)
	}
	missing := m.get("/accounts/missing").wantProblem(http.StatusNotFound, "not_found")
	for _, id := range []string{
		strings.Repeat("x", 65), "-a", ".a", ":a", "a%20b", "a%00", "%00", "a%0a",
		"a%2Fb", "a%5Cb", "%C3%BC", "%FF", "a;b", "a@b", "a+b", "a%2e%2e%2fb",
	} {
		m.put(id, `{"currency":"USD"}`).wantProblem(http.StatusBadRequest, "invalid_request")
		if none := m.get("/accounts/"+id).wantProblem(http.StatusNotFound, "not_found"); none.withoutIDs() != missing.withoutIDs() {
			none.fail("differs from what a missing one gets: %s", missing.body)
		}
	}
	for _, id := range []string{"processor:", "processor:stripe:USD"} {
		m.put(id, `{"currency":"USD"}`).wantProblem(http.StatusUnprocessableEntity, "unprocessable")
		m.get("/accounts/"+id).wantProblem(http.StatusNotFound, "not_found")
	}
}

// RFC 3986, section 2.3 and 6.2.2.2: an escaped character is the character. encodeURIComponent escapes the colon.
func TestAnEscapedAccountIDIsTheSameID(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	m.put("org%3Abob", `{"currency":"USD"}`).want(http.StatusCreated)
	for _, id := range []string{"org:bob", "org%3Abob", "org%3abob", "%6Frg:bob"} {
		if got := m.get("/accounts/" + id).want(http.StatusOK).account(); got.ID != "org:bob" {
			t.Errorf("%s is %s", id, got.ID)
		}
	}
	m.put("processor%3Ax", `{"currency":"USD"}`).wantProblem(http.StatusUnprocessableEntity, "unprocessable")
}

func TestTheTermsOfAnAccountAreReadStrictly(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	terms := func(members string) string { return `{"currency":"USD"` + members + `}` }
	for _, test := range []struct {
		text   string
		status int
		code   string
	}{
		{``, 415, "unsupported_media_type"},
		{`{}`, 400, malformed},
		{`{"currency":null}`, 400, malformed},
		{`{"currency":840}`, 400, malformed},
		{`null`, 400, malformed},
		{terms(`,"currency":"USD"`), 400, malformed},
		{terms(`,"Name":"x"`), 400, malformed},
		{terms(`,"balance":100`), 400, malformed},
		{terms(`,"overdraft_limit":"5"`), 400, malformed},
		{terms(`,"overdraft_limit":1.0`), 400, malformed},
		{terms(`,"overdraft_limit":1e3`), 400, malformed},
		{terms(`,"overdraft_limit":true`), 400, malformed},
		{terms(`,"name":"\u0000"`), 400, malformed},
		{terms(`,"name":"\ud800"`), 400, malformed},
		{terms(`,"name":"` + "\xff" + `"`), 400, malformed},
		{terms(`,"name":{}`), 400, malformed},
		{terms(`,"metadata":{"\u0000":"a"}`), 400, malformed},
		{terms(`,"metadata":{"a":"\u0000"}`), 400, malformed},
		{terms(`,"metadata":{"a":1}`), 400, malformed},
		{terms(`,"metadata":{"a":{}}`), 400, malformed},
		{terms(`}`), 400, malformed},
		{`{"currency":"usd"}`, 422, refused},
		{`{"currency":"XXX"}`, 422, refused},
		{terms(`,"overdraft_limit":-1`), 422, refused},
		{terms(`,"overdraft_limit":9007199254740992`), 422, refused},
		{terms(`,"overdraft_limit":18446744073709551617`), 422, refused},
		{terms(`,"overdraft_limit":-18446744073709551615`), 422, refused},
		{terms(`,"name":"` + strings.Repeat("é", 201) + `"`), 422, refused},
		{terms(`,"metadata":{"":"a"}`), 422, refused},
		{terms(`,"metadata":{"` + strings.Repeat("k", 41) + `":"a"}`), 422, refused},
		{terms(`,"name":"` + strings.Repeat("x", 64<<10) + `"`), 413, "payload_too_large"},
		{terms(`,"overdraft_limit":9007199254740991,"name":"` + strings.Repeat("é", 200) + `"`), 201, ""},
	} {
		a := m.put("bob", test.text).want(test.status)
		if test.code != "" {
			a.wantProblem(test.status, test.code)
			m.get("/accounts/bob").want(http.StatusNotFound)
		}
	}
}
