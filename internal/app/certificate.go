package app

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheckInterval is how soon a renewed certificate is noticed.
const certificateCheckInterval = time.Second

// Certificate is the API's TLS certificate. A renewal only replaces the files: new
// connections then get the new certificate. Files that do not match, as in the middle of
// a renewal, leave the last good certificate in use.
type Certificate struct {
	certFile, keyFile string

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	stamps  [2]fileStamp // of the files that pair was read from
	checked time.Time
}

// fileStamp changes when a file's content changes.
type fileStamp struct {
	modified time.Time
	size     int64
}

func openCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c, c.refresh()
}

// config is TLS 1.2 or later, with the current certificate.
func (c *Certificate) config(logger *slog.Logger) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if now := time.Now(); now.Sub(c.checked) >= certificateCheckInterval {
				c.checked = now
				if err := c.refresh(); err != nil {
					logger.Error(
						"the certificate has changed and cannot be used; the last good one stays",
						"error", err,
					)
				}
			}
			return c.pair, nil
		},
	}
}

// refresh reads the files if they have changed. The caller holds the lock.
func (c *Certificate) refresh() error {
	var stamps [2]fileStamp
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		stamps[i] = fileStamp{info.ModTime(), info.Size()}
	}
	if c.pair != nil && stamps == c.stamps {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading %s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.stamps = &pair, stamps
	return nil
}
