package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/app"
)

// healthcheckCommand is paymentsvc healthcheck: a container's health check of its own
// instance. The image has no shell and no curl. The command finds the instance by the
// settings that both read.
type healthcheckCommand struct {
	ListenAddr  string        `help:"${probed}" env:"LISTEN_ADDR" default:"127.0.0.1:8080"`
	TLSCertFile string        `help:"${tls}" env:"TLS_CERT_FILE" placeholder:"FILE"`
	URL         string        `help:"Ask this URL, whatever the settings say." placeholder:"URL"`
	Timeout     time.Duration `help:"How long the answer may take." default:"2s"`
}

// Run succeeds if the instance is ready to take charges.
func (c *healthcheckCommand) Run(ctx context.Context, term terminal) error {
	target, err := c.target()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var trust *tls.Config // the system's
	if c.URL == "" {
		// The certificate names the host that callers know, not the loopback address.
		// The request carries no secret, and only this machine can answer it.
		trust = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see above
	}
	if err := askReady(ctx, target, trust); err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	_, err = fmt.Fprintln(term.out, "ready")
	return err
}

// target is the URL to ask.
func (c *healthcheckCommand) target() (string, error) {
	if c.URL != "" {
		if at, err := url.Parse(c.URL); err != nil || at.Hostname() == "" {
			return "", errors.New("--url must be http://HOST/readyz or https://HOST/readyz")
		}
		return c.URL, nil
	}
	host, port, err := app.SplitAddress("LISTEN_ADDR", c.ListenAddr)
	switch {
	case err != nil:
		return "", err
	case port == "0":
		return "", fmt.Errorf(
			"LISTEN_ADDR: %q leaves the port to the instance: say where it listens, by --url",
			c.ListenAddr,
		)
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		host = "127.0.0.1"
	case ip.IsUnspecified() && ip.To4() != nil:
		host = "127.0.0.1"
	case ip.IsUnspecified():
		host = "::1"
	}
	target := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/readyz"}
	if c.TLSCertFile != "" {
		target.Scheme = "https"
	}
	return target.String(), nil
}

// askReady asks once, without a proxy or a redirect: the instance itself must answer.
func askReady(ctx context.Context, target string, trust *tls.Config) error {
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err // it names the URL
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		const enough = 200 // bytes, for a person who inspects the container
		said, _ := io.ReadAll(io.LimitReader(response.Body, enough))
		return fmt.Errorf("%s answered %s: %q", target, response.Status, said)
	}
	return nil
}
