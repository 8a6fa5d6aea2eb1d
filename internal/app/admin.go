package app

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"
)

// adminIdleTimeout is for scrapers, which come back every few seconds.
const adminIdleTimeout = 2 * time.Minute

// newAdminServer serves those who run the instance: health, metrics and profiles. It
// has a listener of its own, because none of this is for callers, and because it must
// answer when they have taken every connection. There is no limit on how long an answer
// may take: a profile takes as long as it is asked to.
func (in *Instance) newAdminServer() *http.Server {
	mux := http.NewServeMux() // not the default one, to which net/http/pprof adds itself
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", in.adminReadyz)
	mux.Handle("GET /metrics", in.metrics.Handler())
	// Without pprof.Cmdline: a database URL may stand in the command line, with its
	// password.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout,
		IdleTimeout: adminIdleTimeout}
}

// adminReadyz says what the public one does, and also why not.
func (in *Instance) adminReadyz(w http.ResponseWriter, _ *http.Request) {
	if err := in.readyToCharge(); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
