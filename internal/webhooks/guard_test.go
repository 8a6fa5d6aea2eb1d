package webhooks

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"
)

func TestOnlyPublicAddressesPass(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.167.1.1",
		"223.255.255.254", "2606:4700::1111", "2001:4860::8888", "2a00::1", "64:ff9b::808:808",
		"::ffff:8.8.8.8",
	} {
		if !public(netip.MustParseAddr(address)) {
			t.Errorf("%s is refused", address)
		}
	}
	for _, address := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.0", "100.127.255.255",
		"127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
		"255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
		"::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
		"64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1",
		"3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1",
		"ff02::1", "2606:4700::1111%eth0",
	} {
		if public(netip.MustParseAddr(address)) {
			t.Errorf("%s passes", address)
		}
	}
	for _, address := range []string{"", "localhost:80", "127.0.0.1"} {
		if refusePrivate("tcp", address, nil) == nil {
			t.Errorf("%q passes", address)
		}
	}
}

// A proxy of the environment would make the connection in place of the guard.
func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", "http://user:canary@"+proxy.Addr().String())
	client := newClient(time.Second, true)
	transport, ok := client.Transport.(*http.Transport)
	if !ok || transport.Proxy != nil {
		t.Error("the client asks for a proxy")
	}
	if client.Jar != nil {
		t.Error("the client keeps cookies")
	}
}

func TestBackoffDoublesAndIsCapped(t *testing.T) {
	t.Parallel()
	s := DefaultSchedule
	for number, ceiling := range map[int64]time.Duration{
		1: s.First, 2: 2 * s.First, 5: 16 * s.First, 13: 4096 * s.First, 14: s.Longest,
		1 << 60: s.Longest,
	} {
		var longest time.Duration
		for range 1000 {
			longest = max(longest, s.backoff(number))
		}
		if longest > ceiling || longest < ceiling*9/10 {
			t.Errorf("after try %d it waits up to %v, want %v", number, longest, ceiling)
		}
	}
}

func TestRetryAfterIsSecondsOrATime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "soon": 0, "99999999999999": 1 << 30 * time.Second,
		"Sun, 01 Nov 2026 10:00:30 GMT": 30 * time.Second, "Sun, 01 Nov 2026 09:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// An error's text may show where a name led, or the path of the URL.
func TestErrorsTellNothingAboutTheNetwork(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&url.Error{Op: "Post", URL: "http://x/secret", Err: &net.OpError{
			Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 80},
			Err: net.UnknownNetworkError("canary"),
		}},
		&url.Error{Op: "Post", URL: "http://x/secret", Err: &net.DNSError{
			Err: "canary", Name: "x", Server: "10.0.0.2:53",
		}},
		net.UnknownNetworkError("canary"),
	} {
		switch text := explain(err); text {
		case "the receiver cannot be reached", "the host name was not found",
			"the connection failed before an answer":
		default:
			t.Errorf("it says %q", text)
		}
	}
}
