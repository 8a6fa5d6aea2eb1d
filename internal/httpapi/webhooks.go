package httpapi

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"github.com/paymentsvc/paymentsvc/internal/outbox"
	"github.com/paymentsvc/paymentsvc/internal/payments"
	"github.com/paymentsvc/paymentsvc/internal/webhooks"
)

// routeWebhooks has the routes without a query.
func (a *api) routeWebhooks(r chi.Router) {
	r.Put("/webhook-endpoints/{id}", a.handle(a.putWebhook))
	r.Get("/webhook-endpoints/{id}", a.handle(a.getWebhook))
	r.Delete("/webhook-endpoints/{id}", a.handle(a.deleteWebhook))
	r.Get("/webhook-endpoints/{id}/secret", a.handle(a.getWebhookSecret))
	r.Put("/webhook-endpoints/{id}/secret", a.handle(a.putWebhookSecret))
	r.Post("/webhook-endpoints/{id}/test", a.handle(a.postWebhookTest))
	r.Post("/events/{id}/redeliver", a.handle(a.postRedeliver))
}

// webhookRequest is the body of PUT /webhook-endpoints/{id}. It replaces the URL and the
// event types. The secret and the status stay as they are if they are absent.
type webhookRequest struct {
	URL        *text  `json:"url"`
	EventTypes []text `json:"event_types"`
	Secret     *text  `json:"secret"`
	Status     *text  `json:"status"`
}

func (b *webhookRequest) terms() (webhooks.Terms, error) {
	if err := required(b.URL, "/url"); err != nil {
		return webhooks.Terms{}, err
	}
	terms := webhooks.Terms{
		URL: b.URL.value(), Secret: (*string)(b.Secret), Status: (*webhooks.Status)(b.Status),
	}
	for _, kind := range b.EventTypes {
		terms.EventTypes = append(terms.EventTypes, string(kind))
	}
	return terms, nil
}

func (a *api) putWebhook(w http.ResponseWriter, r *http.Request) error {
	var body webhookRequest
	if err := decode(w, r, &body); err != nil {
		return err
	}
	terms, err := body.terms()
	if err != nil {
		return err
	}
	ref := webhookOf(r)
	condition, err := a.webhookCondition(r)
	if err != nil {
		return err
	}
	endpoint, created, secret, err := a.Webhooks.Put(r.Context(), ref, terms, condition)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/webhook-endpoints/"+ref.ID)
	}
	return writeWebhook(w, status, &endpoint, secret)
}

// webhookCondition is the If-Match of a request on an endpoint.
func (a *api) webhookCondition(r *http.Request) (webhooks.IfVersion, error) {
	condition, err := ifMatchOf(r, func() (int64, error) {
		endpoint, err := a.Webhooks.Get(r.Context(), webhookOf(r))
		return endpoint.Version, err
	})
	return webhooks.IfVersion(condition), err
}

// webhookOf is the endpoint in a request's path.
func webhookOf(r *http.Request) webhooks.Ref {
	return webhooks.Ref{
		MerchantID: requestOf(r).identity.MerchantID, ID: pathParameter(r, "id"),
	}
}

func (a *api) getWebhook(w http.ResponseWriter, r *http.Request) error {
	endpoint, err := a.Webhooks.Get(r.Context(), webhookOf(r))
	if err != nil {
		return err
	}
	return writeWebhook(w, http.StatusOK, &endpoint, "")
}

func (a *api) deleteWebhook(w http.ResponseWriter, r *http.Request) error {
	condition, err := a.webhookCondition(r)
	if err != nil {
		return err
	}
	if err := a.Webhooks.Delete(r.Context(), webhookOf(r), condition); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// listWebhooks lists a merchant's endpoints, ascending by id.
func (a *api) listWebhooks(w http.ResponseWriter, r *http.Request) error {
	q, err := listQueryOf(r)
	if err != nil {
		return err
	}
	after := string(q.position)
	if q.position != nil && !webhooks.ValidID(after) {
		return errCursor
	}
	endpoints, err := a.Webhooks.List(r.Context(), requestOf(r).identity.MerchantID, after,
		q.limit+1)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, pageOf(&q, endpoints,
		func(e *webhooks.Endpoint) webhookJSON { return viewWebhook(e, "") },
		func(e *webhooks.Endpoint) []byte { return []byte(e.ID) }))
}

type webhookJSON struct {
	ID             string          `json:"id"`
	URL            string          `json:"url"`
	EventTypes     []string        `json:"event_types"` // empty: all
	Status         webhooks.Status `json:"status"`
	DisabledReason string          `json:"disabled_reason,omitzero"`
	Secret         string          `json:"secret,omitzero"` // in the answer that made it
	CreatedAt      string          `json:"created_at"`
	Version        int64           `json:"version"`
}

func writeWebhook(
	w http.ResponseWriter, status int, endpoint *webhooks.Endpoint, secret string,
) error {
	w.Header().Set("ETag", etag(endpoint.Version))
	view := viewWebhook(endpoint, secret)
	return writeJSON(w, status, &view)
}

func viewWebhook(endpoint *webhooks.Endpoint, secret string) webhookJSON {
	return webhookJSON{
		ID:             endpoint.ID,
		URL:            endpoint.URL,
		EventTypes:     endpoint.EventTypes,
		Status:         endpoint.Status,
		DisabledReason: endpoint.DisabledReason,
		Secret:         secret,
		CreatedAt:      endpoint.CreatedAt.UTC().Format(payments.TimeFormat),
		Version:        endpoint.Version,
	}
}

type secretJSON struct {
	Secret             string  `json:"secret"`
	PreviousValidUntil *string `json:"previous_secret_valid_until"` // null: none is valid
}

// getWebhookSecret shows the secret. A key that may only read could sign with it.
func (a *api) getWebhookSecret(w http.ResponseWriter, r *http.Request) error {
	if requestOf(r).identity.ReadOnly {
		return errReadOnlyKey
	}
	secret, err := a.Webhooks.Secret(r.Context(), webhookOf(r))
	if err != nil {
		return err
	}
	return writeSecret(w, &secret)
}

// putWebhookSecret makes a new secret.
func (a *api) putWebhookSecret(w http.ResponseWriter, r *http.Request) error {
	if err := decodeOptional(w, r, &struct{}{}); err != nil {
		return err
	}
	condition, err := a.webhookCondition(r)
	if err != nil {
		return err
	}
	secret, err := a.Webhooks.Rotate(r.Context(), webhookOf(r), condition)
	if err != nil {
		return err
	}
	return writeSecret(w, &secret)
}

func writeSecret(w http.ResponseWriter, secret *webhooks.Secret) error {
	w.Header().Set("ETag", etag(secret.Version))
	view := secretJSON{Secret: secret.Text}
	if !secret.PreviousValidUntil.IsZero() {
		view.PreviousValidUntil = new(secret.PreviousValidUntil.UTC().Format(payments.TimeFormat))
	}
	return writeJSON(w, http.StatusOK, &view)
}

type attemptJSON struct {
	EventID    string  `json:"event_id"`
	Number     int64   `json:"number"`
	StatusCode *int64  `json:"status_code"` // null: there was no answer
	Error      *string `json:"error"`
	LatencyMS  int64   `json:"latency_ms"`
	Response   string  `json:"response"`
	At         string  `json:"at"`
}

// listAttempts lists the tries to deliver to an endpoint, newest first.
func (a *api) listAttempts(w http.ResponseWriter, r *http.Request) error {
	q, err := listQueryOf(r)
	if err != nil {
		return err
	}
	before := uuid.Max
	if q.position != nil {
		if before, err = uuid.FromBytes(q.position); err != nil {
			return errCursor
		}
	}
	attempts, err := a.Webhooks.Attempts(r.Context(), webhookOf(r), before, q.limit+1)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, pageOf(&q, attempts,
		func(t *webhooks.Attempt) attemptJSON {
			return attemptJSON{
				EventID: t.Event.EventID(), Number: t.Number, StatusCode: t.StatusCode,
				Error: t.Error, LatencyMS: t.LatencyMS, Response: t.Response,
				At: t.At.UTC().Format(payments.TimeFormat),
			}
		},
		func(t *webhooks.Attempt) []byte { return t.ID[:] }))
}

type queuedJSON struct {
	EventID   string   `json:"event_id"`
	Endpoints []string `json:"webhook_endpoints"`
}

// postWebhookTest sends a test event, once more each time.
func (a *api) postWebhookTest(w http.ResponseWriter, r *http.Request) error {
	if err := decodeOptional(w, r, &struct{}{}); err != nil {
		return err
	}
	at, err := a.Webhooks.SendTest(r.Context(), webhookOf(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted,
		&queuedJSON{EventID: at.EventID(), Endpoints: []string{webhookOf(r).ID}})
}

// redeliverRequest is the body of POST /events/{id}/redeliver.
type redeliverRequest struct {
	Endpoint *text `json:"webhook_endpoint"`
}

// postRedeliver sends an event once more each time, to all endpoints or one.
func (a *api) postRedeliver(w http.ResponseWriter, r *http.Request) error {
	at, err := outbox.ParseEventID(pathParameter(r, "id"))
	if err != nil {
		return outbox.ErrNotFound
	}
	var body redeliverRequest
	if err := decodeOptional(w, r, &body); err != nil {
		return err
	}
	endpoints, err := a.Webhooks.Redeliver(r.Context(), requestOf(r).identity.MerchantID, at,
		(*string)(body.Endpoint))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted,
		&queuedJSON{EventID: at.EventID(), Endpoints: endpoints})
}
