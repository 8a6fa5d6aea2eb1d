package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Pattern is the choice of accounts for a charge.
type Pattern string

// The patterns. Hot is the worst case of one transaction for each charge: every
// transaction waits for the same row.
const (
	Uniform Pattern = "uniform" // two of all accounts, at random
	Hot     Pattern = "hot"     // the same account in every charge, and another at random
)

// Account ids are numbers of five digits. So all requests have one length, and pgbench
// can lock two accounts in the order of their ids.
const (
	firstAccount = 10_000
	accountsMax  = 90_000
)

func accountID(i int) string { return strconv.Itoa(firstAccount + i) }

// load is the load of one measurement.
type load struct {
	pattern          Pattern
	connections      int
	merchants        int // chosen at random for each charge
	accounts         int // of each merchant
	warmUp, duration time.Duration
}

func (s *site) load(pattern Pattern, connections int) load {
	c := s.config
	return load{
		pattern, connections, c.Merchants, c.Accounts / c.Merchants,
		seconds(c.WarmUp), seconds(c.Seconds),
	}
}

// charge charges over HTTP. Each connection sends its next charge after the answer to
// the last. A quiet merchant has one more connection. The first wrong answer ends the
// measurement.
func (s *service) charge(ctx context.Context, l load, observe observer) ([]charge, error) {
	n := l.connections
	if s.quietKey != "" {
		n++
	}
	clients := make([]*client, n)
	for i := range clients {
		c, err := s.dial(ctx, l)
		if err != nil {
			return nil, err
		}
		defer c.close() //nolint:revive // for all clients, after the loop that uses them
		clients[i] = c
	}
	if s.quietKey != "" {
		last := clients[n-1]
		last.apiKeys, last.interval = []string{s.quietKey}, quietInterval
	}
	var stopped atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range clients {
		group.Go(func() error { return c.chargeUntil(&stopped) })
	}
	defer context.AfterFunc(ctx, func() {
		for _, c := range clients {
			c.close() // wakes a client that waits for an answer
		}
	})()
	observed := observe(ctx, os.Getpid())
	stopped.Store(true)
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []charge
	for _, c := range clients {
		all = append(all, c.charges...)
	}
	return all, observed
}

// quietInterval is the time from one charge of a quiet merchant to the next. It is short
// because a measurement takes a few seconds. With hundreds of merchants, it is about what
// each of them gets.
const quietInterval = 250 * time.Millisecond

// answerPatience is the time that an answer may take.
const answerPatience = 30 * time.Second

// Amounts have four digits.
const amountMin, amountMax = 1000, 9999

// client charges on one kept connection. It speaks the little HTTP/1.1 that this needs,
// because it shares the cores with the service: the client of net/http uses about as
// much CPU time for a request as the whole service. Its http.ReadResponse alone doubles
// the CPU time of this client.
type client struct {
	service  *service
	apiKeys  []string      // of the merchants that it charges
	interval time.Duration // from one charge to the next; 0: it does not pause
	load     load
	conn     net.Conn
	reader   *bufio.Reader
	request  []byte // its memory is used again, and that of head
	head     []byte // of the last answer
	charges  []charge
}

func (s *service) dial(ctx context.Context, l load) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return &client{
		service: s, apiKeys: s.apiKeys, load: l, conn: conn, reader: bufio.NewReader(conn),
	}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// chargeUntil charges, one after the other.
func (c *client) chargeUntil(stopped *atomic.Bool) error {
	for !stopped.Load() {
		sent := time.Now()
		if _, err := c.charge(); err != nil {
			return fmt.Errorf("charging: %w", err)
		}
		now := time.Now()
		c.charges = append(c.charges, charge{now, now.Sub(sent), c.interval > 0})
		time.Sleep(c.interval - now.Sub(sent)) // returns at once if that is not positive
	}
	return nil
}

// charge makes one charge and returns the body of its answer.
func (c *client) charge() ([]byte, error) {
	amount := amountMin + rand.IntN(amountMax-amountMin+1)
	source, destination := c.accounts()
	body := fmt.Sprintf(
		`{"amount":%d,"currency":"USD","source_account":"%s","destination_account":"%s"}`,
		amount, accountID(source), accountID(destination))
	c.request = fmt.Appendf(c.request[:0],
		"POST /payments HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nIdempotency-Key: %016x%016x\r\n"+
			"Content-Length: %d\r\n\r\n%s",
		c.service.address, c.apiKeys[rand.IntN(len(c.apiKeys))], rand.Uint64(), rand.Uint64(),
		len(body), body)
	if err := c.conn.SetDeadline(time.Now().Add(answerPatience)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return nil, err
	}
	return c.answerTo(amount)
}

// accounts chooses the two accounts of a charge.
func (c *client) accounts() (source, destination int) {
	if c.load.pattern == Uniform {
		source = rand.IntN(c.load.accounts)
	}
	destination = rand.IntN(c.load.accounts - 1)
	if destination >= source {
		destination++
	}
	if rand.IntN(2) == 0 {
		return destination, source
	}
	return source, destination
}

// answerTo reads the answer to a charge of this amount. Only a fresh answer that says
// "created" for the amount is accepted. The body is valid until the next charge.
func (c *client) answerTo(amount int) ([]byte, error) {
	c.head = c.head[:0]
	for !bytes.HasSuffix(c.head, []byte("\r\n\r\n")) {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("reading an answer: %w", err)
		}
		c.head = append(c.head, line...)
	}
	_, rest, _ := bytes.Cut(c.head, []byte("\r\nContent-Length: "))
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	length, _ := strconv.Atoi(string(digits))
	body, err := c.reader.Peek(length)
	if err != nil {
		return nil, fmt.Errorf("reading an answer of %d bytes: %w", length, err)
	}
	if !bytes.HasPrefix(c.head, []byte("HTTP/1.1 201 ")) ||
		bytes.Contains(c.head, []byte("\r\nIdempotent-Replayed: ")) ||
		!bytes.Contains(body, fmt.Appendf(nil, `"amount":%d,`, amount)) {
		return nil, fmt.Errorf("a charge of %d was answered %s%s", amount, c.head, body)
	}
	_, err = c.reader.Discard(length)
	return body, err
}
