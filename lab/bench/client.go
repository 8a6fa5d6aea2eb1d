package bench

import (
	"bufio"
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// A charge is answered within this, or something is wrong.
const answerPatience = 30 * time.Second

// Amounts have four digits.
const amountMin, amountMax = 1000, 9999

// client is one kept connection that charges. It speaks just enough HTTP/1.1 to send
// one request over and over, with another key, amount and accounts, and to read the
// answer. It shares the machine with what it measures, and net/http's client takes
// about as much CPU time a request as all of the service.
type client struct {
	conn    net.Conn
	reader  *bufio.Reader
	random  *rand.Rand
	load    Load
	request request
	answers []answer
}

// answer is a charge that was answered.
type answer struct {
	at   time.Time
	took time.Duration
}

func dial(ctx context.Context, load Load) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", load.Address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails, see crypto/rand
	return &client{
		conn:    conn,
		reader:  bufio.NewReaderSize(conn, 8<<10),
		random:  rand.New(rand.NewChaCha8(seed)), // its seed is what makes keys new
		load:    load,
		request: newRequest(load.Address, load.APIKey),
		answers: make([]answer, 0, 1<<10),
	}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// chargeUntil charges, one after the other.
func (c *client) chargeUntil(stopped *atomic.Bool) error {
	for !stopped.Load() {
		if err := c.charge(); err != nil {
			return err
		}
	}
	return nil
}

// charge sends one charge and checks its answer.
func (c *client) charge() error {
	source, destination := c.accounts()
	amount := amountMin + c.random.IntN(amountMax-amountMin+1)
	var key [keyLength / 2]byte
	binary.NativeEndian.PutUint64(key[:8], c.random.Uint64())
	binary.NativeEndian.PutUint64(key[8:], c.random.Uint64())
	c.request.fill(key[:], amount, source, destination)

	sent := time.Now()
	if err := c.conn.SetDeadline(sent.Add(answerPatience)); err != nil {
		return fmt.Errorf("charging: %w", err)
	}
	if _, err := c.conn.Write(c.request.bytes); err != nil {
		return fmt.Errorf("charging: %w", err)
	}
	if err := c.readAnswer(amount); err != nil {
		return fmt.Errorf("charging: %w", err)
	}
	now := time.Now()
	c.answers = append(c.answers, answer{at: now, took: now.Sub(sent)})
	return nil
}

// accounts chooses who pays and who is paid.
func (c *client) accounts() (source, destination int) {
	n := c.load.Accounts
	if c.load.Pattern == Uniform {
		source = c.random.IntN(n)
	}
	destination = c.random.IntN(n - 1)
	if destination >= source {
		destination++
	}
	if c.random.IntN(2) == 0 {
		return destination, source
	}
	return source, destination
}

// readAnswer reads one answer and makes sure that it says what it should: created, now,
// for this amount.
func (c *client) readAnswer(amount int) error {
	status, length, err := c.readHead()
	if err != nil {
		return err
	}
	if length < 0 || length > c.reader.Size() {
		return fmt.Errorf("an answer of %d bytes is not one to a charge", length)
	}
	body, err := c.reader.Peek(length)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if status != "201" || amountOf(body) != amount {
		return fmt.Errorf("a charge of %d was answered %s: %s", amount, status, body)
	}
	_, err = c.reader.Discard(length)
	return err
}

var (
	contentLength = []byte("Content-Length")
	replayed      = []byte("Idempotent-Replayed")

	errReplayed = errors.New("a charge under a new key was answered with the answer to another")
)

// readHead reads up to the empty line. length is -1 if the answer does not say it.
func (c *client) readHead() (status string, length int, err error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return "", 0, fmt.Errorf("reading an answer: %w", err)
	}
	_, code, _ := bytes.Cut(line, []byte(" "))
	if len(code) < 3 {
		return "", 0, fmt.Errorf("not an HTTP answer: %q", line)
	}
	status, length = string(code[:3]), -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return "", 0, fmt.Errorf("reading an answer: %w", err)
		}
		name, value, more := bytes.Cut(line, []byte(":"))
		switch {
		case !more:
			return status, length, nil
		case bytes.EqualFold(name, contentLength):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", 0, fmt.Errorf("reading an answer's length: %w", err)
			}
		case bytes.EqualFold(name, replayed):
			return "", 0, errReplayed
		}
	}
}

var amountMember = []byte(`"amount":`)

// amountOf reads the member "amount" of a payment; 0 if there is none.
func amountOf(body []byte) (amount int) {
	_, rest, _ := bytes.Cut(body, amountMember)
	for _, digit := range bytes.TrimLeft(rest, " ") {
		if digit < '0' || digit > '9' {
			break
		}
		amount = amount*10 + int(digit-'0')
	}
	return amount
}

// keyLength is that of an Idempotency-Key here: 32 random hexadecimal digits, a UUID
// without its hyphens.
const keyLength = 32

// request is the bytes of a charge. What varies has a fixed length and is written over.
type request struct {
	bytes                            []byte
	key, amount, source, destination []byte // parts of bytes
}

func newRequest(host, apiKey string) request {
	const key, amount, source, destination = "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK", "AAAA", "SSSSS",
		"DDDDD"
	body := `{"amount":` + amount + `,"currency":"USD","source_account":"` + source +
		`","destination_account":"` + destination + `"}`
	r := request{bytes: fmt.Appendf(nil,
		"POST /payments HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nIdempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s",
		host, apiKey, key, len(body), body)}
	part := func(placeholder string) []byte {
		at := bytes.LastIndex(r.bytes, []byte(placeholder))
		return r.bytes[at : at+len(placeholder)]
	}
	r.key, r.amount, r.source, r.destination = part(key), part(amount), part(source),
		part(destination)
	return r
}

func (r *request) fill(key []byte, amount, source, destination int) {
	hex.Encode(r.key, key)
	copy(r.amount, strconv.Itoa(amount))
	copy(r.source, accountID(source))
	copy(r.destination, accountID(destination))
}
