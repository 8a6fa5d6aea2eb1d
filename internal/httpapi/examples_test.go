package httpapi_test

import (
	"encoding/json"
	"regexp"
	"strconv"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	problems "github.com/paymentsvc/paymentsvc/internal/problem"
	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/contract"
)

// Every example of an answer that is no problem is provoked and compared, but for ids
// and times. The example of a request is sent for the answer of its name. The example of
// a problem has the words of its code.
func TestTheExamplesOfTheContractAreTrue(t *testing.T) {
	m, _ := onCards(t)
	paths := contract.Published().Document.Paths
	provoke := exampleChanges(paths)
	for name, request := range requestExamples(paths.Value("/payments").Post) {
		provoke[name] = func(m *merchant) *answer { return m.charge("k", request) }
	}
	accounts := map[string]string{"customer": "bob", "bank": "bank"}
	for name, terms := range requestExamples(paths.Value("/accounts/{account_id}").Put) {
		provoke[name] = func(m *merchant) *answer { return m.put(accounts[name], terms.String()) }
	}
	examples := answerExamples()
	for name, example := range examples {
		t.Run(name, func(t *testing.T) {
			code, isProblem := example.value["code"].(string)
			if isProblem && provoke[name] == nil {
				kind := problems.Kinds[code]
				if kind.Status != example.status || kind.Title != example.value["title"] ||
					string(kind.Retry) != example.value["retry"] {
					t.Errorf("the words of its code are %+v", kind)
				}
				return
			}
			a := provoke[name](m.another(t))
			got, want := inOrder(t, string(a.body)), inOrder(t, example.value.String())
			if a.status != example.status || got != want {
				t.Errorf("it is answered %d\n%s, and the example says %d\n%s", a.status, got,
					example.status, want)
			}
		})
	}
}

// exampleChanges says how to get each answer that the contract shows of a payment that is
// there.
func exampleChanges(paths *openapi3.Paths) map[string]func(m *merchant) *answer {
	hold := requestExamples(paths.Value("/payments").Post)["hold"]
	held := func(m *merchant) (path string) {
		return m.charge("hold", hold).want(201).location()
	}
	requested := func(operation *openapi3.Operation, name string) string {
		return requestExamples(operation)[name].String()
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
			path := held(m)
			m.post("capture", path+"/capture", "").want(200)
			return m.post("k", path+"/refunds", requested(refund, "returned"))
		},
		"paidEvent": func(m *merchant) *answer {
			id := m.charge("k", aliceToShop(4999)).want(201).paymentID()
			var found []event
			await.Until(m.t, patience, "the event is there", func() bool {
				found, _ = m.follow("/events?payment_id="+id, "")
				return len(found) == 1
			})
			return m.get("/events/" + found[0].ID)
		},
		"receiver": func(m *merchant) *answer {
			return m.putWebhook("erp", requested(
				paths.Value("/webhook-endpoints/{webhook_endpoint_id}").Put, "receiver"))
		},
		"tested": func(m *merchant) *answer {
			m.putWebhook("erp", `{"url":"https://example.com"}`).want(201)
			return m.send(m.first, call{method: "POST", path: "/webhook-endpoints/erp/test"})
		},
		"then": func(m *merchant) *answer {
			return m.get("/accounts/alice?at=" + m.entries("/accounts/alice/entries").Data[0].At)
		},
	}
}

func requestExamples(operation *openapi3.Operation) map[string]body {
	examples := map[string]body{}
	for name, example := range operation.RequestBody.Value.Content["application/json"].Examples {
		examples[name] = example.Value.Value.(map[string]any)
	}
	return examples
}

type answerExample struct {
	status int
	value  body
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
					examples[name] = answerExample{code, example.Value.Value.(map[string]any)}
				}
			}
		}
	}
	return examples
}

// varying matches ids, secrets and times.
var varying = regexp.MustCompile(
	`[0-9a-f]{48}|[0-9a-f]{32}|whsec_[\w+/=]+|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}Z`,
)

// inOrder is JSON with its members in one order, and without ids and times.
func inOrder(t *testing.T, text string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	return varying.ReplaceAllString(encode(value), "…")
}
