package wire

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgproto3"
)

// accept takes connections until the listener is closed.
func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client left before it was accepted
		}
		if p.refuse.Load() {
			abort(client)
			continue
		}
		p.work.Go(func() { p.serve(client) })
	}
}

// serve does what comes before a session: encryption refused, cancel requests passed
// on, the server dialled.
func (p *Proxy) serve(client net.Conn) {
	ended := make(chan struct{})
	p.work.Go(func() { // nobody else can end a connection that is no session yet
		select {
		case <-p.closed:
			abort(client)
		case <-ended:
		}
	})
	s, err := p.connect(client)
	if err != nil || s == nil {
		abort(client) // a reset also tells the client that there is no server
	}
	close(ended)
	if s != nil {
		s.run()
	}
}

// connect answers until the client asks for a session, and opens it. A cancel request
// is none.
func (p *Proxy) connect(client net.Conn) (*session, error) {
	in := newFrameReader(client)
	for {
		code, packet, err := in.startup()
		if err != nil {
			return nil, err
		}
		p.gate.wait(p.closed)
		switch code {
		case codeSSLRequest, codeGSSEncRequest:
			if _, err := client.Write([]byte{'N'}); err != nil {
				return nil, fmt.Errorf("refusing encryption: %w", err)
			}
		case codeCancelRequest:
			return nil, p.cancel(packet)
		default:
			return p.open(client, in, packet)
		}
	}
}

// cancel passes a CancelRequest on and waits until the server has taken it.
func (p *Proxy) cancel(packet []byte) error {
	server, err := net.Dial(p.network, p.address)
	if err != nil {
		return fmt.Errorf("dialling server to cancel: %w", err)
	}
	defer server.Close()
	if _, err := server.Write(packet); err != nil {
		return fmt.Errorf("cancelling: %w", err)
	}
	_, err = io.Copy(io.Discard, server) // the server answers by closing
	return err
}

// open makes a session of a startup message.
func (p *Proxy) open(client net.Conn, in frameReader, packet []byte) (*session, error) {
	var startup pgproto3.StartupMessage
	if err := startup.Decode(packet[4:]); err != nil {
		return nil, fmt.Errorf("decoding startup message: %w", err)
	}
	server, err := net.Dial(p.network, p.address)
	if err != nil {
		return nil, fmt.Errorf("dialling server: %w", err)
	}
	if _, err := server.Write(packet); err != nil {
		return nil, errors.Join(fmt.Errorf("starting session: %w", err), server.Close())
	}
	s := newSession(p, client, server, in, startup.Parameters["application_name"])
	if !p.remember(s) {
		return nil, errors.Join(errors.New("proxy is closed"), server.Close())
	}
	return s, nil
}

// remember makes the session one that Cut and Close reach.
func (p *Proxy) remember(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		return false
	default:
	}
	p.last++
	s.id = p.last
	p.sessions[s] = struct{}{}
	return true
}
