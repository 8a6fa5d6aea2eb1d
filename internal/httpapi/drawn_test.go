package httpapi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/paymentsvc/paymentsvc/lab/contract"
	"github.com/paymentsvc/paymentsvc/lab/pgtest"
)

// Requests are drawn from the contract's own schemas. What it describes must be readable, whatever becomes of it; what it does not
// describe must be refused, and change nothing. That every answer is a described one is checked where all are (contract_test.go).

func TestWhatTheContractDescribesIsRead(t *testing.T) {
	forEachOperation(t, func(rt *rapid.T, m *merchant, drawn *request) {
		if a := m.send(m.first, drawn.call()); a.status == http.StatusBadRequest || a.status >= http.StatusInternalServerError {
			rt.Errorf("%s is answered %d %s", drawn, a.status, a.body)
		}
	})
}

func TestWhatTheContractDoesNotDescribeIsRefusedAndChangesNothing(t *testing.T) {
	forEachOperation(t, func(rt *rapid.T, m *merchant, drawn *request) {
		broken := rapid.SampledFrom(drawn.breakages()).Draw(rt, "breakage")
		broken.do()
		before := m.everything()
		a := m.send(m.first, drawn.call())
		if a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity {
			rt.Errorf("%s: %s is answered %d %s", broken.what, drawn, a.status, a.body)
		}
		if after := m.everything(); after != before {
			rt.Errorf("%s: %s changed %s to %s", broken.what, drawn, before, after)
		}
	})
}

// forEachOperation draws a request of each operation that a merchant has, again and again.
func forEachOperation(t *testing.T, judge func(*rapid.T, *merchant, *request)) {
	t.Helper()
	t.Parallel()
	db := pgtest.New(t)
	in := newInstance(t, db.URL)
	m := newMerchant(t, db, in, in)
	m.put(drawnTill, `{"currency":"USD"}`).want(http.StatusCreated)
	paths := contract.Published().Document.Paths.Map()
	rapid.Check(t, func(rt *rapid.T) {
		for _, path := range slices.Sorted(maps.Keys(paths)) {
			operations := paths[path].Operations()
			for _, method := range slices.Sorted(maps.Keys(operations)) {
				if operation := operations[method]; operation.Security == nil { // where it is empty, it is nobody's in particular
					judge(rt, m, m.drawRequest(rt, method, path, operation))
				}
			}
		}
	})
}

// everything is what the merchant has, in a form that any change of it changes.
func (m *merchant) everything() (sum string) {
	m.t.Helper()
	if err := m.db.Pool.QueryRow(context.Background(), `
		SELECT concat_ws(' ',
			(SELECT md5(string_agg(concat_ws(' ', id, status, version, description, metadata), ',' ORDER BY id))
				FROM payments WHERE merchant_id = $1),
			(SELECT count(*) FROM refunds WHERE merchant_id = $1),
			(SELECT count(*) FROM entries WHERE merchant_id = $1),
			(SELECT count(*) FROM idempotency_keys WHERE merchant_id = $1),
			(SELECT count(*) FROM idempotency_answers WHERE merchant_id = $1),
			(SELECT md5(string_agg(concat_ws(' ', id, status, version, balance, held, last_sequence), ',' ORDER BY id))
				FROM accounts WHERE merchant_id = $1))`, m.id).Scan(&sum); err != nil {
		m.t.Fatal(err)
	}
	return sum
}

// request is a drawn request, still in parts.
type request struct {
	operation    *openapi3.Operation
	method, path string
	header       http.Header
	query        url.Values
	body         map[string]any // nil: none
	schema       *openapi3.Schema
	text         string // of the body, where it is not that of body
}

func (r *request) call() call {
	c := call{method: r.method, path: r.path, header: r.header, body: r.text}
	if r.text == "" && r.body != nil {
		c.body = encode(r.body)
	}
	if len(r.query) > 0 {
		c.path += "?" + r.query.Encode()
	}
	return c
}

func (r *request) String() string {
	c := r.call()
	return fmt.Sprintf("%s %s %v %.1000s", c.method, c.path, c.header, c.body)
}

func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it was drawn as JSON
	}
	return string(text)
}

// drawRequest draws a request that the operation describes. If it is about a payment, there is one, in its first version: what
// is refused for being about nothing shows nothing else.
func (m *merchant) drawRequest(t *rapid.T, method, path string, operation *openapi3.Operation) *request {
	r := &request{operation: operation, method: method, path: path, header: http.Header{}, query: url.Values{}}
	parameters := contract.Published().Document.Components.Parameters
	for _, each := range operation.Parameters {
		p := each.Value
		if p.Name == "cursor" || !p.Required && rapid.Bool().Draw(t, "without "+p.Name) {
			continue // a cursor cannot be drawn: it is one that the service has given out, or malformed
		}
		value := fmt.Sprint(drawValue(t, p.Schema.Value, p.Name))
		switch p {
		case parameters["PaymentId"].Value:
			value = m.drawPayment(t)
		case parameters["PaymentIfMatch"].Value:
			value = `"1"`
		}
		switch p.In {
		case openapi3.ParameterInPath:
			r.path = strings.Replace(r.path, "{"+p.Name+"}", value, 1)
		case openapi3.ParameterInHeader:
			r.header.Set(p.Name, value)
		case openapi3.ParameterInQuery:
			r.query.Set(p.Name, value)
		}
	}
	if operation.RequestBody != nil {
		r.schema = operation.RequestBody.Value.Content["application/json"].Schema.Value
		r.body = drawValid(t, r.schema)
	}
	return r
}

// drawnTill is paid by what is drawn, and never closed by it: no example names it.
const drawnTill = "the-till-of-what-is-drawn"

// drawPayment makes a payment of a cent, which is captured or can be.
func (m *merchant) drawPayment(t *rapid.T) (id string) {
	cent := aliceToShop(1).with("source_account", "world").with("destination_account", drawnTill).
		with("capture", rapid.Bool().Draw(t, "captured"))
	return m.charge("drawn "+uuid.NewString(), cent).want(http.StatusCreated).payment().ID
}

// drawValid draws an object that meets also what its members must be together.
func drawValid(t *rapid.T, s *openapi3.Schema) map[string]any {
	for range 100 {
		object := drawValue(t, s, "body").(map[string]any)
		if s.VisitJSON(object, openapi3.EnableJSONSchema2020()) == nil {
			return object
		}
	}
	t.Skip("no luck") // of rapid: it draws anew, and fails the test if that happens often
	return nil
}

// drawValue draws a value of a schema: every other time, if there is one, its example, so that enough of the requests are about
// something that is there.
func drawValue(t *rapid.T, s *openapi3.Schema, name string) any {
	if len(s.Examples) > 0 && rapid.Bool().Draw(t, name+" as in the example") {
		return rapid.SampledFrom(s.Examples).Draw(t, name)
	}
	if len(s.Enum) > 0 {
		return rapid.SampledFrom(s.Enum).Draw(t, name)
	}
	switch kind := rapid.SampledFrom(s.Type.Slice()).Draw(t, "type of "+name); kind {
	case openapi3.TypeNull:
		return nil
	case openapi3.TypeBoolean:
		return rapid.Bool().Draw(t, name)
	case openapi3.TypeInteger:
		return rapid.Int64Range(int64(*s.Min), int64(*s.Max)).Draw(t, name)
	case openapi3.TypeString:
		return drawText(t, s, name)
	case openapi3.TypeObject:
		return drawObject(t, s, name)
	default:
		panic("no request has a member of the type " + kind)
	}
}

func drawText(t *rapid.T, s *openapi3.Schema, name string) string {
	most := -1
	if s.MaxLength != nil {
		most = int(min(*s.MaxLength, 600))
	}
	switch {
	case s.Format == "date-time":
		return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, name), 0).UTC().Format(time.RFC3339)
	case s.Pattern != "" && !strings.HasPrefix(s.Pattern, "^[^"):
		return rapid.StringMatching(s.Pattern).Draw(t, name)
	default:
		text := rapid.Rune().Filter(func(r rune) bool { return r != 0 })
		return rapid.StringOfN(text, int(s.MinLength), most, -1).Draw(t, name)
	}
}

func drawObject(t *rapid.T, s *openapi3.Schema, name string) map[string]any {
	object := map[string]any{}
	for _, member := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(s.Required, member) || rapid.Bool().Draw(t, "with "+member) {
			object[member] = drawValue(t, s.Properties[member].Value, member)
		}
	}
	if more := s.AdditionalProperties.Schema; more != nil {
		for range rapid.IntRange(0, 3).Draw(t, "members of "+name) {
			object[drawText(t, s.PropertyNames.Value, "name in "+name)] = drawValue(t, more.Value, "value in "+name)
		}
	}
	return object
}

// breakage is a change after which a request is no longer one that the contract describes.
type breakage struct {
	what string
	do   func()
}

// breakages are all that the request can suffer.
func (r *request) breakages() []breakage {
	var all []breakage
	add := func(what string, do func()) { all = append(all, breakage{what, do}) }
	for _, each := range r.operation.Parameters {
		r.breakParameter(each.Value, add)
	}
	add("an unknown parameter", func() { r.query.Set("unknown", "1") })
	if r.body != nil {
		r.breakBody(add)
	}
	slices.SortFunc(all, func(a, b breakage) int { return cmp.Compare(a.what, b.what) }) // rapid needs them in one order
	return all
}

func (r *request) breakBody(add func(what string, do func())) {
	add("an array in place of the body", func() { r.text = "[" + encode(r.body) + "]" })
	add("half a body", func() { r.text = strings.TrimSuffix(encode(r.body), "}") })
	add("an unknown member", func() { r.body["unknown"] = nil })
	for member := range r.body {
		add(member+" twice", func() {
			r.text = strings.TrimSuffix(encode(r.body), "}") + "," + encode(member) + ":" + encode(r.body[member]) + "}"
		})
	}
	for _, member := range r.schema.Required {
		add("no "+member, func() { delete(r.body, member) })
		add(member+" is null", func() { r.body[member] = nil })
	}
	for member, property := range r.schema.Properties {
		for _, wrong := range wrongValues(property.Value) {
			add(fmt.Sprintf("%s is %.60v", member, wrong), func() { r.body[member] = wrong })
		}
	}
}

func (r *request) breakParameter(p *openapi3.Parameter, add func(what string, do func())) {
	set := func(value string) func() {
		return func() {
			if p.In == openapi3.ParameterInHeader {
				r.header.Set(p.Name, value)
			} else {
				r.query.Set(p.Name, value)
			}
		}
	}
	switch {
	case p.In == openapi3.ParameterInPath: // an id that cannot be is the id of nothing
		return
	case p.Name == "If-Match": // a version that cannot be is one that does not match
		return
	case p.In == openapi3.ParameterInQuery:
		add(p.Name+" twice", func() { r.query[p.Name] = []string{"1", "1"} })
		add(p.Name+" is empty", set(""))
		if p.Name == "cursor" {
			add("a cursor that was not given out", set("bm90IGEgY3Vyc29y"))
		}
	case p.Required:
		add("no "+p.Name, func() { r.header.Del(p.Name) })
	}
	for _, wrong := range wrongValues(p.Schema.Value) {
		text, ok := wrong.(string)
		if !ok {
			text = encode(wrong)
		}
		switch isInteger := p.Schema.Value.Type.Is(openapi3.TypeInteger); {
		case isInteger && text == "1", !isInteger && !ok: // in a query an integer is a text, and every other value too
		case p.In == openapi3.ParameterInHeader && text == "\x00": // net/http sends no such thing
		default:
			add(fmt.Sprintf("%s is %.60q", p.Name, text), set(text))
		}
	}
}

// wrongValues are values next to those of a schema: of other types, and out of its range.
func wrongValues(s *openapi3.Schema) []any {
	var wrong []any
	if !s.Type.Includes(openapi3.TypeString) {
		wrong = append(wrong, "text", "1")
	}
	if !s.Type.Includes(openapi3.TypeInteger) {
		wrong = append(wrong, 1)
	} else {
		wrong = append(wrong, 1.5, json.Number("1.0"), json.Number("1e0"), *s.Min-1, json.Number(fmt.Sprintf("%.0f", *s.Max+1)))
	}
	if !s.Type.Includes(openapi3.TypeBoolean) {
		wrong = append(wrong, true)
	}
	if !s.Type.Includes(openapi3.TypeObject) {
		wrong = append(wrong, map[string]any{})
	}
	wrong = append(wrong, []any{})
	if s.Type.Includes(openapi3.TypeString) {
		if s.MaxLength != nil && *s.MaxLength < 10_000 {
			wrong = append(wrong, strings.Repeat("x", int(*s.MaxLength)+1))
		}
		if s.Pattern != "" {
			wrong = append(wrong, "\x00")
		}
		if s.Pattern != "" && !strings.HasPrefix(s.Pattern, "^[^") {
			wrong = append(wrong, " ", "ü", `"`)
		}
	}
	if more := s.AdditionalProperties.Schema; more != nil {
		for _, value := range wrongValues(more.Value) {
			wrong = append(wrong, map[string]any{"name": value})
		}
		many := map[string]any{}
		for i := range int(*s.MaxProps) + 1 {
			many[fmt.Sprint(i)] = ""
		}
		tooLong := strings.Repeat("x", int(*s.PropertyNames.Value.MaxLength)+1)
		wrong = append(wrong, many, map[string]any{"": ""}, map[string]any{tooLong: ""}, map[string]any{"\x00": ""})
	}
	return wrong
}
