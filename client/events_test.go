package client_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/client"
	"github.com/paymentsvc/paymentsvc/lab/await"
)

func TestEventsAreReadInPages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.furnish()
	paid := must[*client.PaymentReply](t)(b.Charge(t.Context(), "k", client.Charge{
		Amount: 7, Currency: "USD", SourceAccount: "world", DestinationAccount: "alice",
	}))
	filter := client.EventFilter{PaymentID: paid.ID, Type: "payment.succeeded"}
	var page *client.Page[client.Event]
	await.Until(t, 30*time.Second, "the event is there", func() bool {
		page = must[*client.Page[client.Event]](t)(
			b.ListEvents(t.Context(), filter, client.PageRequest{}))
		return len(page.Data) == 1
	})
	e := page.Data[0]
	var data client.Payment
	if err := json.Unmarshal(e.Data, &data); err != nil || data.ID != paid.ID ||
		e.PaymentID != paid.ID || e.PaymentVersion != 1 || !e.CreatedAt.Equal(paid.CreatedAt) {
		t.Errorf("the event is %s, %v", e.Body, err)
	}
	same := must[*client.Event](t)(b.GetEvent(t.Context(), e.ID))
	if string(same.Body) != string(e.Body) {
		t.Errorf("alone it is\n%s\nin the feed it is\n%s", same.Body, e.Body)
	}
	after := client.PageRequest{Cursor: page.NextCursor}
	end := must[*client.Page[client.Event]](t)(b.ListEvents(t.Context(), filter, after))
	if len(end.Data) > 0 || end.NextCursor != page.NextCursor {
		t.Errorf("after the end are %v, and the cursor is %s", end.Data, end.NextCursor)
	}
	latest := must[*client.Page[client.Event]](t)(b.ListEvents(t.Context(),
		client.EventFilter{Latest: true}, client.PageRequest{Limit: 1}))
	if len(latest.Data) != 1 || latest.Data[0].ID != e.ID {
		t.Errorf("the latest are %v", latest.Data)
	}
}
