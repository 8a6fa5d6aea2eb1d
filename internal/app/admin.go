package app

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"
)

// adminIdleTimeout is for scrapers, which come back every few seconds.
const adminIdleTimeout = 2 * time.Minute

// newAdminServer serves health, metrics and profiles to the operator. It has its own
// listener: callers must not reach it, and it must answer when callers hold every
// connection. Answers have no time limit, because the request sets a profile's length.
func (in *Instance) newAdminServer() *http.Server {
	mux := http.NewServeMux() // not the default one, to which net/http/pprof adds itself
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", in.adminReadyz)
	mux.Handle("GET /metrics", in.metrics.Handler())
	// Not pprof.Cmdline: the command line may hold the database's password.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, IdleTimeout: adminIdleTimeout,
	}
}

// adminReadyz is the public /readyz with the reason for a no.
func (in *Instance) adminReadyz(w http.ResponseWriter, _ *http.Request) {
	if err := in.readyToCharge(); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
