package payments

import (
	"context"
	"errors"
	"maps"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/paymentsvc/paymentsvc/internal/ledger"
	"github.com/paymentsvc/paymentsvc/internal/postgres"
	"github.com/paymentsvc/paymentsvc/internal/validate"
)

// Patch is a decoded JSON merge patch (RFC 7396) of a payment's description and
// metadata. It moves no money.
type Patch struct {
	Description *string            // nil: as it is
	Metadata    map[string]*string // each nil value removes its key
	NoMetadata  bool               // all of it is removed, before Metadata is added
}

// ErrVersionMismatch means that the payment has changed since the version that the
// caller has seen.
var ErrVersionMismatch = errors.New("the payment has changed since the given version")

// Edit applies the patch to the version of the payment that the caller has seen, to
// prevent lost updates: with another version by now it returns ErrVersionMismatch. With
// AnyVersion the patch is applied to the latest version. Then each further try is due
// to somebody else's change, and none is made when ctx is over. A patch that changes
// nothing does not move the version.
//
// A *validate.Error means that the payment would have too much written on it,
// ErrNotFound that there is no such payment, and postgres.ErrNotConfirmed that it is
// edited, but not yet known to be safe.
func (s *Service) Edit(
	ctx context.Context, merchantID int64, id uuid.UUID, version ledger.IfVersion, patch Patch,
) (*Payment, error) {
	for {
		payment, err := s.Get(ctx, merchantID, id)
		switch {
		case err != nil:
			return nil, err
		case !version.Allows(payment.Version):
			return nil, ErrVersionMismatch
		}
		edited, err := s.editVersion(ctx, payment, patch)
		switch {
		case errors.Is(err, ErrVersionMismatch) && version == ledger.AnyVersion:
			continue
		case err != nil:
			return nil, err
		}
		return edited, nil
	}
}

// editVersion applies the patch if the payment is still as it was read. That is a
// condition of the UPDATE, which decides. The read only says what to write.
func (s *Service) editVersion(
	ctx context.Context, payment *Payment, patch Patch,
) (*Payment, error) {
	patch.applyTo(payment)
	if err := payment.checkTexts(); err != nil {
		return nil, err
	}
	var edited *Payment
	err := postgres.Confirm(ctx, s.pool, func(conn *pgx.Conn) (err error) {
		edited, err = findOne(ctx, conn, `
			UPDATE payments p
			SET description = $4, metadata = $5,
				version = p.version
					+ ((p.description, p.metadata) IS DISTINCT FROM ($4, $5::jsonb))::int
			WHERE p.merchant_id = $1 AND p.id = $2 AND p.version = $3
			RETURNING `+paymentColumns,
			payment.MerchantID, payment.ID, payment.Version, payment.Description,
			metadataJSON(payment.Metadata))
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrVersionMismatch
	case err != nil:
		return nil, err
	}
	return edited, nil
}

func (p *Patch) applyTo(payment *Payment) {
	if p.Description != nil {
		payment.Description = *p.Description
	}
	metadata := map[string]string{}
	if !p.NoMetadata {
		maps.Copy(metadata, payment.Metadata)
	}
	for key, value := range p.Metadata {
		if value == nil {
			delete(metadata, key)
		} else {
			metadata[key] = *value
		}
	}
	payment.Metadata = metadata
}

func (p *Payment) checkTexts() error {
	var fields validate.Fields
	fields.RequireText("/description", p.Description, descriptionLengthMax)
	fields.RequireMetadata(p.Metadata)
	return fields.Err()
}
