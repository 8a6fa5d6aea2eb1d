package simulator_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// A simulator in a process of its own is this program with the books in the environment.
const (
	childBooks   = "SIMULATOR_TEST_BOOKS"
	childWebhook = "SIMULATOR_TEST_WEBHOOK"
)

func TestMain(m *testing.M) {
	if books := os.Getenv(childBooks); books != "" {
		os.Exit(child(books))
	}
	goleak.VerifyTestMain(m)
}

// child serves until it is told to stop, and prints its address.
func child(books string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := simulator.Start(ctx, simulator.Options{
		BooksFile: books, WebhookURL: os.Getenv(childWebhook),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, s.URL())
	<-ctx.Done()
	if err := s.Close(); err != nil {
		return 1
	}
	return 0
}
