package client_test

import (
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	"github.com/paymentsvc/paymentsvc/client"
)

func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }

func TestUnsafeOptionsAreRefused(t *testing.T) {
	t.Parallel()
	const key = "sk_secret"
	for name, options := range map[string]client.Options{
		"no URL":            {APIKey: key},
		"no scheme":         {APIKey: key, URL: "payments.example"},
		"another scheme":    {APIKey: key, URL: "ftp://payments.example"},
		"a user":            {APIKey: key, URL: "https://u:pw@payments.example"},
		"a query":           {APIKey: key, URL: "https://payments.example?x=1"},
		"plain text":        {APIKey: key, URL: "http://localhost.payments.example"},
		"no API key":        {URL: "https://payments.example"},
		"a line break":      {APIKey: key + "\n", URL: "https://payments.example"},
		"negative attempts": {APIKey: key, URL: "https://payments.example", AttemptsMax: -1},
		"unreadable":        {APIKey: key, URL: "https://u:pw@pay ments"},
	} {
		_, err := client.New(options)
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
	for _, options := range []client.Options{
		{APIKey: key, URL: "https://payments.example/base/"},
		{APIKey: key, URL: "http://127.0.0.1:8080"},
		{APIKey: key, URL: "http://localhost:8080"},
		{APIKey: key, URL: "http://payments.internal", AllowPlaintext: true},
	} {
		c, err := client.New(options)
		if err != nil {
			t.Errorf("%s: %v", options.URL, err)
			continue
		}
		if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, key) {
			t.Errorf("the client prints its API key: %s", text)
		}
	}
}
