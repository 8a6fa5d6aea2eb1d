package simulator

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// hugeSize is the size of the body of pm_sim_10mb.
const hugeSize = 10 << 20

// before acts out a fault that comes before the execution. It returns false if the
// request ends with it.
func (s *Server) before(c *call) bool {
	switch c.plan.before {
	case fault429:
		s.refuse(c, errTooMany)
	case fault409:
		s.refuse(c, errKeyInUse)
	case faultResetBefore:
		c.release()
		reset(c.w)
	case faultHang:
		hang := c.plan.hang
		if hang == 0 {
			hang = s.options.Delays.Hang
		}
		// A request that has arrived is executed, even if its client has gone.
		if !s.pause(hang) {
			abort()
		}
		return true
	default:
		return true
	}
	return false
}

// send sends the answer, or what the fault makes of it.
func (s *Server) send(c *call, a answer) {
	switch c.plan.after {
	case faultHold:
		s.hold(c)
	case faultResetAfter:
		reset(c.w)
		return
	case faultSlow:
		if !s.pause(s.options.Delays.Slow) {
			abort()
		}
	case faultDrip:
		s.drip(c, a)
		return
	case faultGarbage:
		a = answer{status: http.StatusOK, body: []byte("<html>Welcome to the proxy</html>")}
	case faultHuge:
		padding := bytes.Repeat([]byte("a"), hugeSize)
		a = answer{status: http.StatusOK, body: fmt.Appendf(nil, `{"padding":"%s"}`, padding)}
	default:
	}
	write(c.w, a)
}

// hold waits until the client has gone, or for long.
func (s *Server) hold(c *call) {
	select {
	case <-c.r.Context().Done():
	case <-time.After(s.options.Delays.Hold):
	case <-s.ctx.Done():
		abort()
	}
}

// drip sends the body one byte at a time.
func (s *Server) drip(c *call, a answer) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	c.w.WriteHeader(a.status)
	for i := range a.body {
		if _, err := c.w.Write(a.body[i : i+1]); err != nil {
			return
		}
		if err := http.NewResponseController(c.w).Flush(); err != nil {
			return
		}
		select {
		case <-c.r.Context().Done():
			return
		case <-s.ctx.Done():
			abort()
		case <-time.After(s.options.Delays.Drip):
		}
	}
}

// reset ends the connection with a TCP reset.
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		abort()
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // so that Close sends a reset
	}
	_ = connection.Close()
}

// abort closes the connection without an answer.
func abort() { panic(http.ErrAbortHandler) }

// pause waits. It returns false if the simulator ends.
func (s *Server) pause(d time.Duration) bool { return s.events.pause(d) }
