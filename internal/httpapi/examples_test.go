package httpapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/paymentsvc/paymentsvc/internal/httpapi"
	"github.com/paymentsvc/paymentsvc/lab/contract"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// codesOf are the problems that a response may be.
func codesOf(response *openapi3.ResponseRef) []string {
	content := response.Value.Content["application/problem+json"]
	if content == nil {
		return nil
	}
	var codes []string
	for _, part := range content.Schema.Value.AllOf {
		if code := part.Value.Properties["code"]; code != nil {
			for _, each := range code.Value.Enum {
				codes = append(codes, each.(string))
			}
		}
	}
	return codes
}

// What a reader of the contract sees is what a caller gets: every example of an answer
// is provoked and compared, but for ids and times. The example of a request is sent for
// the answer of its name; the others are provoked as it is written here.
func TestTheExamplesOfTheContractAreTrue(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	order := aliceToShop(4999).with("reference", "order-1017")
	provoke := exampleProblems(in, order)
	paths := contract.Published().Document.Paths
	for name, request := range requestExamples(paths.Value("/payments").Post) {
		provoke[name] = func(m *merchant) *answer { return m.chargeOn(in, "k", encode(request)) }
	}
	maps.Copy(provoke, exampleChanges(paths))
	accounts := map[string]string{"customer": "bob", "bank": "bank"}
	for name, request := range requestExamples(paths.Value("/accounts/{account_id}").Put) {
		provoke[name] = func(m *merchant) *answer { return m.put(accounts[name], encode(request)) }
	}

	examples := answerExamples()
	for name := range provoke {
		if examples[name].status == 0 {
			t.Errorf("no answer has an example %s", name)
		}
	}
	for name, example := range examples {
		t.Run(name, func(t *testing.T) {
			send := provoke[name]
			if send == nil {
				t.Fatal("it is not known how to provoke it")
			}
			a := send(newMerchant(t, db, in, in))
			if got, want := inOrder(t, string(a.body)), inOrder(t,
				encode(example.value)); a.status != example.status || got != want {
				t.Errorf("it is answered %d\n%s, and the example says %d\n%s", a.status, got,
					example.status, want)
			}
		})
	}
}

// exampleProblems says how to get each problem that the contract shows, but for those
// that the example of a request gets.
func exampleProblems(in *instance, order body) map[string]func(m *merchant) *answer {
	return map[string]func(m *merchant) *answer{
		"unreadable":   func(m *merchant) *answer { return m.get("/accounts?limit=1000") },
		"noCredential": func(m *merchant) *answer { return m.as("").get("/accounts") },
		"readOnly": func(m *merchant) *answer {
			return m.as(m.readOnlyKey()).charge("k", order)
		},
		"otherOrigin": func(m *merchant) *answer {
			return m.send(in, call{
				method: "POST", path: "/payments", body: order.String(),
				header: http.Header{"Idempotency-Key": {"k"}, "Sec-Fetch-Site": {"cross-site"}},
			})
		},
		"noAccount": func(m *merchant) *answer { return m.get("/accounts/missing") },
		"noPayment": func(m *merchant) *answer {
			return m.get("/payments/pay_01a20ad267df7b68adb4d622d79eec28")
		},
		"noKey": func(m *merchant) *answer {
			return m.send(in, call{method: "POST", path: "/payments", body: order.String()})
		},
		"twoKeys": func(m *merchant) *answer {
			m.charge("k1", order).want(201)
			return m.charge("k2", order)
		},
		"otherAmount": func(m *merchant) *answer {
			m.charge("k", order).want(201)
			return m.charge("k", order.with("amount", 5999))
		},
		"misspelt": func(m *merchant) *answer {
			return m.charge("k", order.with("destination_account", "shopp"))
		},
		"otherCurrency": func(m *merchant) *answer { return m.put("alice", `{"currency":"EUR"}`) },
		"lowerCase":     func(m *merchant) *answer { return m.put("alice", `{"currency":"usd"}`) },
		"notEmpty":      func(m *merchant) *answer { return m.close("alice") },
		"stale": func(m *merchant) *answer {
			return m.putIfMatch("alice", `"7"`, `{"currency":"USD"}`)
		},
		"notYet": func(m *merchant) *answer {
			return m.get("/accounts/alice?at=2999-01-01T00:00:00Z")
		},
		"tooLarge": func(m *merchant) *answer {
			return m.put("alice", `{"currency":"USD"}`+strings.Repeat(" ", 64<<10))
		},
		"form": func(m *merchant) *answer {
			return m.send(in, call{
				method: "PUT", path: "/accounts/alice", body: "currency=USD",
				header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
			})
		},
		"tooMany": func(m *merchant) *answer {
			m.other = newInstanceWith(m.t, m.db.URL,
				settings{rateLimit: httpapi.RateLimit{PerSecond: 1, Burst: 1}})
			var a *answer
			for a = m.get("/accounts"); a.status == http.StatusOK; a = m.get("/accounts") {
			}
			return a
		},
		"bug": func(m *merchant) *answer {
			m.other = newInstanceWith(m.t, m.db.URL, settings{api: poison(m.t)})
			return m.get("/accounts/poison")
		},
		"noDatabase": func(m *merchant) *answer {
			m.other = newDownInstance(m.t, m.db)
			return m.get("/accounts")
		},
		"inDoubt": func(m *merchant) *answer {
			// long enough to be on its way
			hasty := newInstanceWith(m.t, m.db.URL, settings{requestTimeout: 5 * time.Second})
			release := m.hold("alice")
			defer release()
			return m.chargeOn(hasty, "k", order.String())
		},
	}
}

// exampleChanges says how to get each answer and each problem that the contract shows
// of a payment that is there.
func exampleChanges(paths *openapi3.Paths) map[string]func(m *merchant) *answer {
	hold := encode(requestExamples(paths.Value("/payments").Post)["hold"])
	held := func(m *merchant) (path string) {
		return m.chargeOn(m.first, "hold", hold).want(201).location()
	}
	paid := func(m *merchant) (path string) {
		path = held(m)
		m.post("capture", path+"/capture", "").want(200)
		return path
	}
	requested := func(operation *openapi3.Operation, name string) string {
		return encode(requestExamples(operation)[name])
	}
	payment := paths.Value("/payments/{payment_id}")
	capture, refund := paths.Value("/payments/{payment_id}/capture").Post,
		paths.Value("/payments/{payment_id}/refunds").Post
	return map[string]func(m *merchant) *answer{
		"gift": func(m *merchant) *answer {
			return m.patch(held(m), `"1"`, requested(payment.Patch, "gift"))
		},
		"part": func(m *merchant) *answer {
			return m.post("k", held(m)+"/capture", requested(capture, "part"))
		},
		"void": func(m *merchant) *answer { return m.post("k", held(m)+"/cancel", "") },
		"returned": func(m *merchant) *answer {
			return m.post("k", paid(m)+"/refunds", requested(refund, "returned"))
		},
		"tooLate": func(m *merchant) *answer {
			path := held(m)
			m.post("cancel", path+"/cancel", "").want(200)
			return m.post("k", path+"/capture", "")
		},
		"tooMuchBack": func(m *merchant) *answer {
			return m.post("k", paid(m)+"/refunds", `{"amount":5000}`)
		},
		"otherOperation": func(m *merchant) *answer {
			return m.post("hold", held(m)+"/cancel", "")
		},
		"spent": func(m *merchant) *answer {
			path := paid(m)
			spend := aliceToShop(4999).with("source_account", "shop").with("destination_account",
				"world")
			m.charge("spend", spend).want(201)
			return m.post("k", path+"/refunds", "")
		},
		"cardNumber": func(m *merchant) *answer {
			return m.patch(held(m), `"1"`, `{"description":"4242 4242 4242 4242"}`)
		},
		"jsonPatch": func(m *merchant) *answer {
			return m.send(m.first, call{
				method: "PATCH", path: held(m), body: `[{"op":"remove","path":"/description"}]`,
				header: http.Header{
					"If-Match":     {`"1"`},
					"Content-Type": {"application/json-patch+json"},
				},
			})
		},
		"staleEdit": func(m *merchant) *answer { return m.patch(held(m), `"7"`, `{}`) },
		"unseen": func(m *merchant) *answer {
			return m.send(m.first, call{method: "PATCH", path: held(m), body: `{}`})
		},
		"then": func(m *merchant) *answer {
			var entries struct{ Data []struct{ At string } }
			m.get("/accounts/alice/entries").decode(&entries)
			return m.get("/accounts/alice?at=" + entries.Data[0].At)
		},
	}
}

func requestExamples(operation *openapi3.Operation) map[string]any {
	examples := map[string]any{}
	for name, example := range operation.RequestBody.Value.Content["application/json"].Examples {
		examples[name] = example.Value.Value
	}
	return examples
}

type answerExample struct {
	status int
	value  any
}

// answerExamples are those of all operations, by their names.
func answerExamples() map[string]answerExample {
	examples := map[string]answerExample{}
	for _, operation := range contract.Published().Operations() {
		for status, response := range operation.Responses.Map() {
			for _, content := range response.Value.Content {
				for name, example := range content.Examples {
					// "default" is 0, which nothing is answered with
					code, _ := strconv.Atoi(status)
					examples[name] = answerExample{code, example.Value.Value}
				}
			}
		}
	}
	return examples
}

// varying matches ids and times.
var varying = regexp.MustCompile(`[0-9a-f]{32}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z`)

// inOrder is JSON with its members in one order, and without ids and times.
func inOrder(t *testing.T, text string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	return varying.ReplaceAllString(encode(value), "…")
}
