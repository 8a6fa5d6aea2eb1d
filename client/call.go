package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// bodySizeMax is the largest body that the service takes.
	bodySizeMax = 64 << 10
	// answerSizeMax is the largest answer that is read. A page of 100 payments with the
	// longest texts, all escaped, fits.
	answerSizeMax = 20 << 20
)

// call is one request. All its attempts are identical.
type call struct {
	operation string // for people, in errors
	method    string
	path      string
	key       Key    // "": the request is idempotent by its method
	ifVersion int64  // for If-Match; 0: unconditional
	mediaType string // of the body
	body      []byte // nil: none
}

// newCall makes a call to the resource at a path, which is given in parts.
func newCall(operation, method string, parts ...string) (*call, error) {
	var path strings.Builder
	for _, part := range parts {
		// An empty id, or one of dots only, would name another resource.
		if strings.Trim(part, ".") == "" {
			return nil, fmt.Errorf("%s: %q is not an id", operation, part)
		}
		path.WriteString("/" + url.PathEscape(part))
	}
	return &call{operation: operation, method: method, path: path.String()}, nil
}

// newWrite makes a call with a body.
func newWrite(operation, method string, body any, parts ...string) (*call, error) {
	r, err := newCall(operation, method, parts...)
	if err != nil {
		return nil, err
	}
	r.mediaType = "application/json"
	if r.body, err = json.Marshal(body); err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	if len(r.body) > bodySizeMax {
		return nil, fmt.Errorf("%s: the request has %d bytes, and the service takes %d",
			operation, len(r.body), bodySizeMax)
	}
	return r, nil
}

// newKeyed makes a call that moves money, under a key. Its body is never empty: net/http
// could send an empty one again by itself.
func newKeyed(operation string, key Key, body any, parts ...string) (*call, error) {
	if err := key.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	r, err := newWrite(operation, http.MethodPost, body, parts...)
	if err != nil {
		return nil, err
	}
	r.key = key
	return r, nil
}

// effect is an attempt's effect on the service.
type effect int

const (
	none  effect = iota // the attempt has no effect, also later
	maybe               // the attempt may have an effect, now or later
	known               // the answer is final for the key, and so for earlier attempts too
)

// outcome is the result of an attempt.
type outcome struct {
	reply      Reply
	err        error // nil: success
	effect     effect
	retry      bool // the request may be sent again
	retryAfter time.Duration
}

// do sends the request until it has an answer, and decodes the answer into into. It
// returns an error when another attempt is not useful or not allowed.
func (c *Client) do(ctx context.Context, r *call, into any) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	var cause error // of the first attempt that may have an effect, unknown to the client
	for n := 1; ; n++ {
		o := c.attempt(ctx, r, into)
		switch {
		case o.effect == known:
			cause = nil
		case o.effect == maybe && cause == nil:
			cause = o.err
		}
		if o.err == nil {
			c.budget.earn()
			o.reply.Attempts = n
			return o.reply, nil
		}
		err := c.pause(ctx, r, n, &o)
		switch {
		case err != nil && cause != nil:
			return Reply{}, &UnknownOutcomeError{
				Operation: r.operation, Key: r.key, Attempts: n, Cause: cause, Err: err,
			}
		case err != nil:
			return Reply{}, fmt.Errorf("%s: %w", r.operation, err)
		}
	}
}

// pause waits after the nth attempt. An error says why no other attempt follows.
func (c *Client) pause(ctx context.Context, r *call, n int, o *outcome) error {
	switch {
	case !o.retry:
		if _, answered := errors.AsType[*Error](o.err); answered {
			c.budget.earn() // any answer shows that the service works
		}
		return o.err
	case ctx.Err() != nil:
		return because(ctx.Err(), o.err)
	case n >= c.options.AttemptsMax:
		return o.err
	case o.retryAfter > c.options.RetryAfterMax:
		return fmt.Errorf("asked to come back only in %v: %w", o.retryAfter, o.err)
	}
	// Callers with the same Retry-After must not return at the same moment.
	jitter := fullJitter(n, c.options.BackoffBase, c.options.BackoffMax)
	if deadline, _ := ctx.Deadline(); time.Until(deadline)-o.retryAfter <= jitter {
		return fmt.Errorf("%w before another attempt could be made: %w",
			context.DeadlineExceeded, o.err)
	}
	if !c.budget.spend() {
		return because(ErrRetryBudget, o.err)
	}
	wait := o.retryAfter + jitter
	if c.options.OnRetry != nil {
		c.options.OnRetry(Retry{
			Operation: r.operation, Key: r.key, Attempt: n, Err: o.err, Wait: wait,
		})
	}
	if err := sleep(ctx, wait); err != nil {
		return because(err, o.err)
	}
	return nil
}

// because joins the reason for no more attempts with the last attempt's error.
func because(reason, last error) error {
	if errors.Is(last, reason) {
		return last
	}
	return fmt.Errorf("%w: %w", reason, last)
}

// attempt sends the request once.
func (c *Client) attempt(ctx context.Context, r *call, into any) outcome {
	ctx, cancel := context.WithTimeout(ctx, c.options.AttemptTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return outcome{err: err} // nothing is sent
	}
	var line line
	line.asked.Store(c.transport != nil) // the client's own always supports httptrace
	request, err := c.request(line.watch(ctx), r)
	if err != nil {
		return outcome{err: err}
	}
	response, err := c.http.Do(request)
	if err != nil {
		return r.lost(err, line.neverHeld())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerSizeMax+1))
	switch {
	case err != nil:
		err = fmt.Errorf("the answer, status %d, ended early: %w", response.StatusCode, err)
		return r.lost(err, false)
	case len(body) > answerSizeMax:
		err = fmt.Errorf("the answer has more than %d bytes", answerSizeMax)
		return r.effecting(outcome{err: err, effect: maybe})
	}
	return r.effecting(judge(response, body, into))
}

func (c *Client) request(ctx context.Context, r *call) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, body)
	if err != nil {
		return nil, err
	}
	request.GetBody = nil // see "What net/http does by itself"
	header := request.Header
	header.Set("Authorization", "Bearer "+c.options.APIKey)
	header.Set("Accept", jsonType+", "+problemType)
	header.Set("User-Agent", c.options.UserAgent)
	if r.body != nil {
		header.Set("Content-Type", r.mediaType)
	}
	if r.key != "" {
		header.Set("Idempotency-Key", r.key.header())
	}
	if r.ifVersion != 0 {
		header.Set("If-Match", strconv.Quote(strconv.FormatInt(r.ifVersion, 10)))
	}
	return request, nil
}

// lost is the outcome of an attempt without a complete answer.
func (r *call) lost(err error, neverSent bool) outcome {
	o := outcome{err: err, effect: maybe, retry: true}
	if neverSent {
		o.effect = none
		// Another attempt would meet the same certificate.
		_, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
		o.retry = !distrusted
	}
	return r.effecting(o)
}

// effecting corrects the effect of an outcome. A read has none. A write without a key
// may have one even if the service answers that its database is unavailable: only the
// acknowledgement may be lost, and without a key the service cannot look that up.
func (r *call) effecting(o outcome) outcome {
	if e, ok := errors.AsType[*Error](o.err); ok && e.Code == codeUnavailable && r.key == "" {
		o.effect = maybe
	}
	if r.method == http.MethodGet && o.effect == maybe {
		o.effect = none
	}
	return o
}

// line records whether an attempt ever had a connection. An attempt that asked for a
// connection and got none has sent nothing. With a caller's transport, nothing follows if
// no request for a connection was seen: it may not support httptrace.
type line struct{ asked, held atomic.Bool }

func (l *line) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { l.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { l.held.Store(true) },
	})
}

func (l *line) neverHeld() bool { return l.asked.Load() && !l.held.Load() }
