package wire

import (
	"context"
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

// serve opens a session, or passes a cancel request on.
func (p *Proxy) serve(client net.Conn) {
	// Cut and Close reach sessions only.
	opened := context.AfterFunc(p.ctx, func() { abort(client) })
	s, err := p.connect(client)
	opened()
	if err != nil || s == nil {
		abort(client) // a reset also tells the client that there is no server
		return
	}
	s.run()
}

// connect passes a client's first message on. A cancel request opens no session.
func (p *Proxy) connect(client net.Conn) (*session, error) {
	requests := pgproto3.NewBackend(client, nil)
	message, err := requests.ReceiveStartupMessage()
	if err != nil {
		return nil, fmt.Errorf("reading startup message: %w", err)
	}
	p.gate.wait(p.ctx.Done())
	server, err := net.Dial(p.network, p.address)
	if err != nil {
		return nil, fmt.Errorf("dialling server: %w", err)
	}
	if _, err := server.Write(encode(message)); err != nil {
		return nil, errors.Join(fmt.Errorf("starting session: %w", err), server.Close())
	}
	startup, ok := message.(*pgproto3.StartupMessage)
	if !ok {
		_, err := io.Copy(io.Discard, server) // the server closes once it has cancelled
		return nil, errors.Join(err, server.Close())
	}
	s := newSession(p, client, server, requests, startup.Parameters["application_name"])
	if !p.remember(s) {
		return nil, errors.Join(errors.New("proxy is closed"), server.Close())
	}
	return s, nil
}

// remember makes Cut and Close reach the session.
func (p *Proxy) remember(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.last++
	s.id = p.last
	p.sessions[s] = struct{}{}
	return true
}
