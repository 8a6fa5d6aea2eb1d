package simulator

import (
	"strings"
	"time"
)

// A payment that is processing, and a refund with a next status, end after a time. After a
// restart that time begins again.

// unfinished lists the intents and refunds that are not at their end.
func unfinished(e *entry) (ids []string, err error) {
	err = each(e, bucketIntents, func(i intent) error {
		if i.Status == statusProcessing {
			ids = append(ids, i.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = each(e, bucketRefunds, func(r refund) error {
		if r.NextStatus != "" {
			ids = append(ids, r.ID)
		}
		return nil
	})
	return ids, err
}

// finishLater finishes the intents and refunds after the processing time.
func (s *Server) finishLater(ids []string) {
	for _, id := range ids {
		s.work.Go(func() {
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(s.options.Delays.Processing):
			}
			committed, err := s.books.update(func(e *entry) error { return finish(e, id) })
			if err != nil {
				s.log.Error("a payment or refund could not be finished", "id", id, "error", err)
				return
			}
			s.events.add(committed.events)
		})
	}
}

func finish(e *entry, id string) error {
	if strings.HasPrefix(id, "re_") {
		return finishRefund(e, id)
	}
	i, err := get[intent](e, bucketIntents, id)
	if err != nil || i.Status != statusProcessing { // it has been canceled
		return err
	}
	_, err = i.succeed(e, nil)
	return err
}

func finishRefund(e *entry, id string) error {
	r, err := get[refund](e, bucketRefunds, id)
	if err != nil {
		return err
	}
	event := "refund.updated"
	if r.NextStatus == refundFailed {
		paid, err := get[charge](e, bucketCharges, r.Charge)
		if err != nil {
			return err
		}
		paid.AmountRefunded -= r.Amount
		if err := put(e, bucketCharges, paid.ID, paid); err != nil {
			return err
		}
		event, r.FailureReason = "refund.failed", "expired_or_canceled_card"
	}
	r.Status, r.NextStatus = r.NextStatus, ""
	if err := put(e, bucketRefunds, r.ID, r); err != nil {
		return err
	}
	return e.emit(event, r.wire())
}
