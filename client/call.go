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
	// answerSizeMax is the largest answer that is read: a page of 100 payments whose
	// texts are as long as they may be, in an encoding that makes the most of them.
	answerSizeMax = 20 << 20
)

// call is one request and all its attempts, which differ in nothing.
type call struct {
	operation string // for people, in errors
	method    string
	path      string
	key       Key    // "": the method says how the request is idempotent
	ifVersion int64  // for If-Match; 0: unconditional
	mediaType string // of the body
	body      []byte // nil: none
}

// newCall makes a call to the resource under parts of a path.
func newCall(operation, method string, parts ...string) (*call, error) {
	var path strings.Builder
	for _, part := range parts {
		// An id that is empty or dots would make the path another resource's.
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
		return nil, fmt.Errorf("%s: the request has %d bytes, and the service takes %d", operation,
			len(r.body), bodySizeMax)
	}
	return r, nil
}

// newKeyed makes a call that moves money, under a key. Its body is never empty, or
// net/http would take it for one that it may send again by itself.
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

// effect is what an attempt has done to the money, or to whatever else it is about.
type effect int

const (
	none  effect = iota // nothing, and it will not
	maybe               // something, or it may yet, or not
	// what the answer says; it is the last word about the key, and so about earlier
	// attempts as well
	known
)

// outcome is what came of an attempt.
type outcome struct {
	reply      Reply
	err        error // nil: it is done
	effect     effect
	retry      bool // it may be sent again
	retryAfter time.Duration
}

// do sends the request until it is answered, and reads the answer into into. It returns
// an error as soon as nothing more may be hoped for, or tried.
func (c *Client) do(ctx context.Context, r *call, into any) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	// some attempt may have had, or may have yet, an effect that the client has not
	// been told of
	unsettled := false
	for n := 1; ; n++ {
		o := c.attempt(ctx, r, into)
		unsettled = (unsettled || o.effect == maybe) && o.effect != known
		if o.err == nil {
			c.budget.earn()
			o.reply.Attempts = n
			return o.reply, nil
		}
		err := c.pause(ctx, r, n, &o)
		switch {
		case err != nil && unsettled:
			return Reply{}, &UnknownOutcomeError{Operation: r.operation, Key: r.key, Attempts: n,
				Err: err}
		case err != nil:
			return Reply{}, fmt.Errorf("%s: %w", r.operation, err)
		}
	}
}

// pause waits before the attempt that follows the nth. An error says why there will be
// none.
func (c *Client) pause(ctx context.Context, r *call, n int, o *outcome) error {
	switch {
	case !o.retry:
		if _, answered := errors.AsType[*Error](o.err); answered {
			c.budget.earn() // the service is there, whatever it said
		}
		return o.err
	case ctx.Err() != nil:
		return because(ctx.Err(), o.err)
	case n >= c.options.AttemptsMax:
		return o.err
	case o.retryAfter > c.options.RetryAfterMax:
		return fmt.Errorf("asked to come back only in %v: %w", o.retryAfter, o.err)
	}
	// Those who were told the same Retry-After must not come back at the same moment.
	jitter := fullJitter(n, c.options.BackoffBase, c.options.BackoffMax)
	if deadline, _ := ctx.Deadline(); time.Until(deadline)-o.retryAfter <= jitter {
		return fmt.Errorf("%w before another attempt could be made: %w", context.DeadlineExceeded,
			o.err)
	}
	if !c.budget.spend() {
		return because(ErrRetryBudget, o.err)
	}
	wait := o.retryAfter + jitter
	if c.options.OnRetry != nil {
		c.options.OnRetry(Retry{Operation: r.operation, Key: r.key, Attempt: n, Err: o.err,
			Wait: wait})
	}
	if err := sleep(ctx, wait); err != nil {
		return because(err, o.err)
	}
	return nil
}

// because says why an attempt is the last, and how it ended.
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
	var line line
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
		return r.lost(fmt.Errorf("the answer, status %d, ended early: %w", response.StatusCode,
			err), false)
	case len(body) > answerSizeMax:
		return r.effecting(outcome{err: fmt.Errorf("the answer has more than %d bytes",
			answerSizeMax), effect: maybe})
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

// lost is an attempt without a whole answer.
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

// effecting knows that reading has no effect, and that a write without a key cannot be
// looked up: where the service could not reach its database, the write may have been
// done, and only its acknowledgement lost.
func (r *call) effecting(o outcome) outcome {
	if e, ok := errors.AsType[*Error](o.err); ok && e.Code == codeUnavailable && r.key == "" {
		o.effect = maybe
	}
	if r.method == http.MethodGet && o.effect == maybe {
		o.effect = none
	}
	return o
}

// line watches whether an attempt ever had a connection. One that asked for it and got
// none has sent nothing. A transport that does not report to httptrace has not been
// seen asking either, so nothing is concluded from its silence.
type line struct{ asked, held atomic.Bool }

func (l *line) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { l.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { l.held.Store(true) },
	})
}

func (l *line) neverHeld() bool { return l.asked.Load() && !l.held.Load() }
