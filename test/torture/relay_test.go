package torture

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/paymentsvc/paymentsvc/lab/service"
)

// relay stands between a client and an instance, for one exchange a connection, and
// spoils it.
type relay struct {
	listener net.Listener
	upstream string
	hold     chan struct{}       // requests are passed on once it is closed
	cut      func(whole int) int // how many bytes of an answer are passed on
	answers  chan []byte         // what the instance said, whole
	work     sync.WaitGroup
}

// startRelay is one that spoils nothing until it is told to.
func startRelay(t testing.TB, in *service.Instance) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{
		listener: listener,
		upstream: in.URL()[len("http://"):],
		hold:     make(chan struct{}),
		cut:      func(whole int) int { return whole },
		answers:  make(chan []byte, 100),
	}
	r.work.Go(r.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		r.work.Wait()
	})
	return r
}

func (r *relay) url() string { return "http://" + r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.work.Go(func() {
			defer client.Close()
			r.exchange(client)
		})
	}
}

// exchange passes on a request, and as much of its answer as it is told to. The answer
// is read whole, whoever waits for it: what the instance said is what a retry has to
// say again.
func (r *relay) exchange(client net.Conn) {
	<-r.hold
	server, err := net.Dial("tcp", r.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	r.work.Go(func() { _, _ = io.Copy(server, client) }) // ends with either of them
	var said bytes.Buffer
	answer, err := http.ReadResponse(bufio.NewReader(io.TeeReader(server, &said)), nil)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return
	}
	r.answers <- said.Bytes()
	_, _ = client.Write(said.Bytes()[:r.cut(said.Len())])
}
