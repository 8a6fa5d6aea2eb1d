package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// A list is read in pages. A cursor names the last item of a page, not a number of items
// to skip. So items that are added meanwhile cause no gap and no repetition.

const (
	pageSizeDefault = 20
	pageSizeMax     = 100
)

// page is one page of a list.
type page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"` // null: this is the last page
}

// listQuery is the query of a list.
type listQuery struct {
	limit    int
	begin    string     // where the list begins, if it has a choice; "": not said
	filters  url.Values // each once, and not empty
	position []byte     // the page begins after it; nil: at the beginning
	binding  []byte     // see bindingOf
}

// before is the payment or refund after which the page begins, newest first.
func (q *listQuery) before() (uuid.UUID, error) {
	if q.position == nil {
		return payments.Newest, nil
	}
	id, err := uuid.FromBytes(q.position)
	if err != nil {
		return uuid.UUID{}, errCursor
	}
	return id, nil
}

// listQueryOf reads the query of a list that has these filters.
func listQueryOf(r *http.Request, filters ...string) (listQuery, error) {
	values, err := queryOf(r, append([]string{"cursor", "limit"}, filters...)...)
	if err != nil {
		return listQuery{}, err
	}
	q := listQuery{limit: pageSizeDefault, filters: values}
	if values.Has("limit") {
		if q.limit, err = pageSize(values.Get("limit")); err != nil {
			return listQuery{}, err
		}
	}
	cursor := values.Get("cursor")
	q.begin = values.Get("begin")
	for _, name := range []string{"cursor", "limit", "begin"} {
		values.Del(name)
	}
	q.binding = bindingOf(requestOf(r).identity.MerchantID, r.URL.Path, values)
	if cursor != "" {
		q.position, err = q.readCursor(cursor)
	}
	return q, err
}

func pageSize(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageSizeMax || text != strconv.Itoa(n) {
		detail := fmt.Sprintf("limit must be a number from 1 to %d", pageSizeMax)
		return 0, &invalidRequest{detail: detail}
	}
	return n, nil
}

// bindingSize makes equal bindings of two lists unlikely. A binding need not resist
// forgery: every query is for one merchant, so a forged cursor only chooses where a list
// of that merchant begins.
const bindingSize = 16

// bindingOf binds a cursor to its merchant, list and filters. A cursor of another list
// would silently begin at a wrong place.
func bindingOf(merchantID int64, path string, filters url.Values) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s?%s", merchantID, path, filters.Encode()))
	return sum[:bindingSize]
}

// A cursor is the binding and the position. Callers should not read it: its form may
// change.
var cursorEncoding = base64.RawURLEncoding.Strict()

// cursor is the cursor of the page that begins after the position.
func (q *listQuery) cursor(position []byte) *string {
	text := cursorEncoding.EncodeToString(slices.Concat(q.binding, position))
	return &text
}

func (q *listQuery) readCursor(text string) (position []byte, err error) {
	raw, err := cursorEncoding.DecodeString(text)
	if position, ours := bytes.CutPrefix(raw, q.binding); err == nil && ours {
		return position, nil
	}
	return nil, errCursor
}

// errCursor is the same for a cursor of another merchant and for a malformed one.
var errCursor = &invalidRequest{
	detail: "cursor is not one that this list, with these filters, has given out",
}

// pageOf makes a page. The caller has asked for one thing more than the limit: if it is
// there, another page follows.
func pageOf[T, V any](
	q *listQuery, things []T, view func(*T) V, position func(*T) []byte,
) *page[V] {
	shown := things[:min(len(things), q.limit)]
	p := &page[V]{Data: make([]V, len(shown))}
	for i := range shown {
		p.Data[i] = view(&shown[i])
	}
	if len(things) > len(shown) {
		p.NextCursor = q.cursor(position(&shown[len(shown)-1]))
	}
	return p
}
