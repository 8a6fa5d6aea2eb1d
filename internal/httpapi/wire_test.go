package httpapi_test

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// What net/http's client would not do: write a request byte by byte as the test wants
// it.

// connect opens a connection to an instance.
func (m *merchant) connect(in *instance) net.Conn {
	m.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(in.url, "http://"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { conn.Close() })
	return conn
}

// headOfCharge is everything of a charge that comes before its body. The lines are
// header fields as they go over the wire.
func (m *merchant) headOfCharge(bodyLength int, lines ...string) string {
	return m.headOf("/payments", bodyLength, lines...)
}

func (m *merchant) headOf(path string, bodyLength int, lines ...string) string {
	return strings.Join(append([]string{
		"POST " + path + " HTTP/1.1", "Host: service", "Authorization: Bearer " + m.apiKey,
		"Content-Type: application/json",
		"Content-Length: " + strconv.Itoa(bodyLength), "Connection: close",
	}, lines...), "\r\n") + "\r\n\r\n"
}

// exchange sends bytes, if any are left to send, and reads one answer. It may be called
// on any goroutine; without an answer it returns nil.
func (m *merchant) exchange(conn net.Conn, text string) *http.Response {
	m.t.Helper()
	if text != "" {
		if _, err := conn.Write([]byte(text)); err != nil {
			m.t.Errorf("sending: %v", err)
			return nil
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		m.t.Errorf("reading the answer: %v", err)
		return nil
	}
	return res
}

// readCharge judges the answer to a charge that came with the keys.
func (m *merchant) readCharge(res *http.Response, keys ...string) *answer {
	m.t.Helper()
	return m.readPost(res, "/payments", keys...)
}

// readPost judges the answer to a POST to the path that came with the keys.
func (m *merchant) readPost(res *http.Response, path string, keys ...string) *answer {
	m.t.Helper()
	if res == nil {
		return &answer{t: m.t}
	}
	return m.read(&http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: path},
		Header: http.Header{"Idempotency-Key": keys},
	}, res)
}

// either is one instance and the other in turn.
func (m *merchant) either(i int) *instance {
	if i%2 == 0 {
		return m.first
	}
	return m.other
}
