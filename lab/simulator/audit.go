package simulator

// Books are what an audit compares with its own.
type Books struct {
	Intents       []BookIntent `json:"intents"`        // oldest first
	EventsWaiting int          `json:"events_waiting"` // that are not delivered yet
}

// BookIntent is an intent with all that was done to it.
type BookIntent struct {
	ID             string            `json:"id"`
	Status         string            `json:"status"`
	Amount         int64             `json:"amount"`
	AmountReceived int64             `json:"amount_received"`
	AmountRefunded int64             `json:"amount_refunded"` // of what was taken
	Currency       string            `json:"currency"`
	CaptureMethod  string            `json:"capture_method"`
	Created        int64             `json:"created"`
	Metadata       map[string]string `json:"metadata"`
	TimesTaken     int               `json:"times_taken"` // executions that took money
	Charges        []BookCharge      `json:"charges"`
	Refunds        []BookRefund      `json:"refunds"`
	Disputes       []BookDispute     `json:"disputes"`
}

// BookCharge is one try to charge the card.
type BookCharge struct {
	ID             string `json:"id"`
	Amount         int64  `json:"amount"`
	AmountCaptured int64  `json:"amount_captured"`
	PaymentMethod  string `json:"payment_method"`
	FailureCode    string `json:"failure_code,omitempty"`
}

// BookRefund is money that was given back, or is to be.
type BookRefund struct {
	ID       string            `json:"id"`
	Amount   int64             `json:"amount"`
	Status   string            `json:"status"`
	Released bool              `json:"released"` // it was held, and never taken
	Metadata map[string]string `json:"metadata"`
}

// BookDispute is a dispute of a charge.
type BookDispute struct {
	ID     string `json:"id"`
	Amount int64  `json:"amount"`
	Reason string `json:"reason"`
	Status string `json:"status"`
}

// Books reads the books, all at one moment.
func (s *Server) Books() (Books, error) {
	all := Books{Intents: []BookIntent{}}
	err := s.books.view(func(e *entry) error {
		waiting, err := undelivered(e)
		if err != nil {
			return err
		}
		all.EventsWaiting = len(waiting)
		position := map[string]int{}
		err = each(e, bucketIntents, func(i intent) error {
			position[i.ID] = len(all.Intents)
			all.Intents = append(all.Intents, i.book())
			return nil
		})
		if err != nil {
			return err
		}
		return addRows(e, func(id string) *BookIntent { return &all.Intents[position[id]] })
	})
	return all, err
}

func (i intent) book() BookIntent {
	return BookIntent{
		ID: i.ID, Status: i.Status, Amount: i.Amount, AmountReceived: i.Received,
		Currency: i.Currency, CaptureMethod: i.CaptureMethod, Created: i.Created,
		Metadata: i.Metadata, Charges: []BookCharge{}, Refunds: []BookRefund{},
		Disputes: []BookDispute{},
	}
}

// addRows adds the rows of the other buckets to their intents.
func addRows(e *entry, of func(id string) *BookIntent) error {
	err := each(e, bucketCharges, func(c charge) error {
		i := of(c.Intent)
		i.Charges = append(i.Charges, BookCharge{
			ID: c.ID, Amount: c.Amount, AmountCaptured: c.AmountCaptured,
			PaymentMethod: c.Card, FailureCode: c.FailureCode,
		})
		return nil
	})
	if err != nil {
		return err
	}
	err = each(e, bucketTakings, func(t taking) error {
		of(t.Intent).TimesTaken++
		return nil
	})
	if err != nil {
		return err
	}
	err = each(e, bucketRefunds, func(r refund) error {
		i := of(r.Intent)
		if r.Status != refundFailed && !r.Released {
			i.AmountRefunded += r.Amount
		}
		i.Refunds = append(i.Refunds, BookRefund{
			ID: r.ID, Amount: r.Amount, Status: r.Status, Released: r.Released,
			Metadata: r.Metadata,
		})
		return nil
	})
	if err != nil {
		return err
	}
	return each(e, bucketDisputes, func(d dispute) error {
		i := of(d.Intent)
		i.Disputes = append(i.Disputes, BookDispute{
			ID: d.ID, Amount: d.Amount, Reason: d.Reason, Status: d.Status,
		})
		return nil
	})
}
