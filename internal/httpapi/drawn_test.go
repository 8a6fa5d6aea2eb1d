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
)

// Requests are drawn from the contract's own schemas. Package lab/contract compares
// every answer with the contract.

func TestDescribedRequestIsRead(t *testing.T) {
	m, draws := drawsOfEachOperation(t)
	rapid.Check(t, func(rt *rapid.T) {
		for _, draw := range draws {
			drawn := draw.Draw(rt, "request")
			a := m.send(m.first, drawn.call())
			if a.status == http.StatusBadRequest || a.status >= http.StatusInternalServerError {
				rt.Errorf("%s is answered %d %s", drawn, a.status, a.body)
			}
		}
	})
}

// Each operation gets a request in every form that the contract does not describe. The
// credential is judged first, and the answer repeats no API key that a query holds by
// mistake.
func TestUndescribedRequestIsRefusedAndChangesNothing(t *testing.T) {
	m, draws := drawsOfEachOperation(t)
	for _, draw := range draws {
		drawn := draw.Example(0)
		// a missing account would be the first to be refused
		if drawn.body["source_account"] != nil {
			drawn.body["source_account"], drawn.body["destination_account"] = "alice", "shop"
		}
		// so would be a drawn URL with a host that cannot be
		if drawn.body["url"] != nil {
			drawn.body["url"] = "https://example.com"
		}
		for i := range drawn.breakages() {
			broken := drawn.clone()
			breakage := broken.breakages()[i]
			breakage.do()
			before := m.everything()
			c := broken.call()
			m.send(m.first, c.with(http.Header{"Authorization": nil})).want(401)
			a := m.send(m.first, c)
			if !breakage.isRefusedBy(a) || strings.Contains(string(a.body), m.apiKey) {
				t.Errorf("%s: %s is answered %d %s", breakage.what, broken, a.status, a.body)
			}
			if after := m.everything(); after != before {
				t.Errorf("%s: %s changed %s to %s", breakage.what, broken, before, after)
			}
		}
	}
}

// drawsOfEachOperation has a generator of requests for each operation of a merchant.
func drawsOfEachOperation(t *testing.T) (m *merchant, draws []*rapid.Generator[*request]) {
	t.Helper()
	m = onOneInstance(t)
	m.put(drawnTill, `{"currency":"USD"}`).want(201)
	paths := contract.Published().Document.Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		operations := paths[path].Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			operation := operations[method]
			if operation.Security != nil { // an empty list: it takes no credential
				continue
			}
			draws = append(draws, rapid.Custom(func(rt *rapid.T) *request {
				return m.drawRequest(rt, method, path, operation)
			}))
		}
	}
	return m, draws
}

// everything is what the merchant has, in a form that any change of it changes.
func (m *merchant) everything() (sum string) {
	m.t.Helper()
	if err := m.db.Pool.QueryRow(context.Background(), `
		SELECT concat_ws(' ',
			(SELECT md5(string_agg(
					concat_ws(' ', id, status, version, description, metadata), ',' ORDER BY id))
				FROM payments WHERE merchant_id = $1),
			(SELECT count(*) FROM refunds WHERE merchant_id = $1),
			(SELECT count(*) FROM entries WHERE merchant_id = $1),
			(SELECT count(*) FROM idempotency_keys WHERE merchant_id = $1),
			(SELECT count(*) FROM idempotency_answers WHERE merchant_id = $1),
			(SELECT md5(string_agg(
					concat_ws(' ', id, status, version, balance, held, last_sequence),
					',' ORDER BY id))
				FROM accounts WHERE merchant_id = $1),
			(SELECT md5(string_agg(concat_ws(' ', id, secret, version), ',' ORDER BY id))
				FROM webhook_endpoints WHERE merchant_id = $1),
			(SELECT count(*) FROM webhook_deliveries WHERE merchant_id = $1))`, m.id,
	).Scan(&sum); err != nil {
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
	apiKey       string
	text         string // of the body, where it is not that of body
	rawQuery     string // where it is not that of query
}

func (r *request) clone() *request {
	c := *r
	c.header, c.query, c.body = r.header.Clone(), maps.Clone(r.query), maps.Clone(r.body)
	return &c
}

func (r *request) call() call {
	c := call{method: r.method, path: r.path, header: r.header, body: r.text}
	if r.text == "" && r.body != nil {
		c.body = encode(r.body)
	}
	if query := cmp.Or(r.rawQuery, r.query.Encode()); query != "" {
		c.path += "?" + query
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

// drawRequest draws a request that the operation describes. If it is about a payment,
// there is one, in its first version: what is refused for being about nothing shows
// nothing else.
func (m *merchant) drawRequest(
	t *rapid.T, method, path string, operation *openapi3.Operation,
) *request {
	r := &request{
		operation: operation, method: method, path: path, apiKey: m.apiKey,
		header: http.Header{}, query: url.Values{},
	}
	parameters := contract.Published().Document.Components.Parameters
	for _, each := range operation.Parameters {
		p := each.Value
		isCursor := p.Name == "cursor" || p.Name == "Last-Event-ID"
		if isCursor || !p.Required && rapid.Bool().Draw(t, "without "+p.Name) {
			// a cursor cannot be drawn: it is one that the service has given out, or
			// malformed
			continue
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

// drawnTill receives the drawn charges. No example names it, so no drawn request closes it.
const drawnTill = "the-till-of-what-is-drawn"

// drawPayment makes a payment of a cent, which is captured or can be.
func (m *merchant) drawPayment(t *rapid.T) (id string) {
	cent := aliceToShop(1).with("source_account", "world").with("destination_account", drawnTill).
		with("capture", rapid.Bool().Draw(t, "captured"))
	return m.charge("drawn "+uuid.NewString(), cent).want(201).payment().ID
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

// drawValue draws a value of a schema: every other time, if there is one, its example,
// so that enough of the requests are about something that is there.
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
	case openapi3.TypeArray:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length of "+name) {
			list = append(list, drawValue(t, s.Items.Value, name))
		}
		return list
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
			object[drawText(t, s.PropertyNames.Value, "name in "+name)] = drawValue(t, more.Value,
				"value in "+name)
		}
	}
	return object
}

// breakage is a change after which a request is no longer one that the contract
// describes.
type breakage struct {
	what string
	do   func()
}

// isRefusedBy tells whether the answer refuses the breakage, and not another part of
// the request.
func (b breakage) isRefusedBy(a *answer) bool {
	if a.status != http.StatusUnprocessableEntity {
		return a.status == http.StatusBadRequest
	}
	wrong := a.problem().Errors
	return len(wrong) > 0 && strings.HasPrefix("/"+b.what, wrong[0].Pointer+" ")
}

// breakages are all that the request can suffer.
func (r *request) breakages() []breakage {
	var all []breakage
	add := func(what string, do func()) { all = append(all, breakage{what, do}) }
	for _, each := range r.operation.Parameters {
		r.breakParameter(each.Value, add)
	}
	queries := []string{"unknown=1", "=", "%zz", "a;b", "Limit=1", "api_key=" + r.apiKey}
	for _, query := range queries {
		add("the query "+query, func() { r.rawQuery = query })
	}
	if r.body != nil {
		r.breakBody(add)
	}
	// rapid needs them in one order
	slices.SortFunc(all, func(a, b breakage) int { return cmp.Compare(a.what, b.what) })
	return all
}

func (r *request) breakBody(add func(what string, do func())) {
	whole := encode(r.body)
	open := strings.TrimSuffix(whole, "}")
	for what, text := range map[string]string{
		"an array": "[" + whole + "]", "half a body": open, "a second value": whole + "{}",
		"a letter behind the body": whole + "x", "a byte order mark": "\ufeff" + whole,
		"a space": " ", "null": "null", "a comma at the end": open + ",}",
	} {
		add(what, func() { r.text = text })
	}
	add("an unknown member", func() { r.body["unknown"] = nil })
	for member, value := range r.body {
		escaped := fmt.Sprintf(`"\u%04x%s"`, member[0], member[1:])
		add(member+" twice, once escaped", func() {
			r.text = "{" + escaped + ":" + encode(value) + "," + whole[1:]
		})
		add(member+" in another case", func() {
			delete(r.body, member)
			r.body[strings.ToUpper(member)] = value
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
	case p.Name == "Prefer": // one that cannot be read is ignored
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
	for _, wrong := range append(wrongValues(p.Schema.Value), wrongTexts(p.Schema.Value)...) {
		text, ok := wrong.(string)
		if !ok {
			text = encode(wrong)
		}
		switch isInteger := p.Schema.Value.Type.Is(openapi3.TypeInteger); {
		// in a query an integer is a text, and every other value too
		case isInteger && text == "1", !isInteger && !ok:
		case p.In == openapi3.ParameterInHeader && text == "\x00": // net/http sends no such thing
		default:
			add(fmt.Sprintf("%s is %.60q", p.Name, text), set(text))
		}
	}
}

// wrongTexts are texts of a parameter that a lenient reader might take for a value of
// the schema.
func wrongTexts(s *openapi3.Schema) []any {
	switch {
	case s.Type.Is(openapi3.TypeInteger):
		return []any{"+1", "01", "99999999999999999999"}
	case s.Format == "date-time":
		return []any{"yesterday", "2026-01-01", "infinity", "2026-02-30T00:00:00Z"}
	case len(s.Enum) > 0:
		return []any{"none", "Succeeded", "succeeded,declined"}
	}
	return nil
}

// wrongValues are values next to those of a schema: of other types, and out of its
// range.
func wrongValues(s *openapi3.Schema) []any {
	var wrong []any
	if !s.Type.Includes(openapi3.TypeString) {
		wrong = append(wrong, "text", "1")
	}
	if !s.Type.Includes(openapi3.TypeInteger) {
		wrong = append(wrong, 1)
	} else {
		wrong = append(wrong, 1.5, json.Number("1.0"), json.Number("1e0"), *s.Min-1,
			json.Number(fmt.Sprintf("%.0f", *s.Max+1)))
	}
	if !s.Type.Includes(openapi3.TypeBoolean) {
		wrong = append(wrong, true)
	}
	if !s.Type.Includes(openapi3.TypeObject) {
		wrong = append(wrong, map[string]any{})
	}
	if !s.Type.Includes(openapi3.TypeArray) {
		wrong = append(wrong, []any{})
	}
	if s.Type.Includes(openapi3.TypeString) {
		if s.MaxLength != nil && *s.MaxLength < 10_000 {
			wrong = append(wrong, strings.Repeat("x", int(*s.MaxLength)+1))
		}
		if s.Pattern != "" {
			wrong = append(wrong, "\x00")
		}
		for _, text := range []string{`"\ud800"`, `"\udc00"`, `"\udc00\ud800"`, `"a\u0000b"`} {
			wrong = append(wrong, json.RawMessage(text)) // surrogates without their other half
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
		wrong = append(wrong, many, map[string]any{"": ""}, map[string]any{tooLong: ""},
			map[string]any{"\x00": ""},
			json.RawMessage(`{"\ud800":""}`), json.RawMessage(`{"a":"1","a":"1"}`))
	}
	return wrong
}
