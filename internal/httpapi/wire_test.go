package httpapi_test

import (
	"bufio"
	"net"
	"net/http"
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
	return strings.Join(append([]string{
		"POST /payments HTTP/1.1", "Host: service", "Authorization: Bearer " + m.apiKey,
		"Content-Type: application/json",
		"Content-Length: " + strconv.Itoa(bodyLength), "Connection: close",
	}, lines...), "\r\n") + "\r\n\r\n"
}

// exchange sends text, and reads one answer.
func (m *merchant) exchange(conn net.Conn, text string) *http.Response {
	m.t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		m.t.Fatalf("sending: %v", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		m.t.Fatalf("reading the answer: %v", err)
	}
	return res
}

// either is one instance and the other in turn.
func (m *merchant) either(i int) *instance {
	if i%2 == 0 {
		return m.first
	}
	return m.other
}
