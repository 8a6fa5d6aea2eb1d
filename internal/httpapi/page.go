package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/payments"
)

// Lists come in pages. A cursor says after which thing the next page begins, and not
// how many things to skip: whatever is added meanwhile, nothing that was there when the
// list began is left out or shown twice.

// How many things are on a page.
const (
	pageSizeDefault = 20
	pageSizeMax     = 100
)

// page is one page of a list.
type page[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"` // null: there is no more
}

// listQuery is what a caller asks of a list.
type listQuery struct {
	limit    int
	filters  url.Values // each once, and not empty
	position []byte     // after which the page begins; nil: at the beginning
	binding  []byte     // of this merchant's list under these filters
}

// before is the id after which a page of payments or refunds begins.
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

// listQueryOf reads the query of a list that knows the filters.
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
	values.Del("cursor")
	values.Del("limit")
	q.binding = bindingOf(requestOf(r).identity.MerchantID, r.URL.Path, values)
	if cursor != "" {
		q.position, err = q.readCursor(cursor)
	}
	return q, err
}

func pageSize(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageSizeMax || text != strconv.Itoa(n) {
		return 0, &invalidRequest{detail: fmt.Sprintf("limit must be a number from 1 to %d",
			pageSizeMax)}
	}
	return n, nil
}

// bindingSize is enough that two lists do not share a binding by accident. It need not
// resist forgery: whoever makes up a cursor only chooses where a list of the merchant's
// own begins, because every query is for one merchant whatever the cursor says.
const bindingSize = 16

// bindingOf is what a cursor is bound to: the merchant, the list, and its filters. One
// that was given out for another list would begin somewhere that its caller did not
// mean.
func bindingOf(merchantID int64, path string, filters url.Values) []byte {
	text := binary.BigEndian.AppendUint64(nil, uint64(merchantID)) //nolint:gosec // its 64 bits as they are
	text = append(text, path+"?"+filters.Encode()...)
	sum := sha256.Sum256(text)
	return sum[:bindingSize]
}

// A cursor is opaque to callers: the binding and the position, in the URL's own base64.
var cursorEncoding = base64.RawURLEncoding.Strict()

// cursor is where a page begins that goes on after the position.
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

// errCursor never says whether the cursor is somebody else's.
var errCursor = &invalidRequest{
	detail: "cursor is not one that this list, with these filters, has given out",
}

// pageOf shows what fits of things, which are one more than fits if there is more.
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
