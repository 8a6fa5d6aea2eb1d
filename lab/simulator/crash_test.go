package simulator_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/lab/await"
	"github.com/paymentsvc/paymentsvc/lab/process"
	"github.com/paymentsvc/paymentsvc/lab/simulator"
)

// run starts a simulator in a process of its own, and returns its address.
func run(t *testing.T, books, webhook string) (*process.Process, string) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childBooks+"="+books, childWebhook+"="+webhook)
	command.Stderr = os.Stderr
	command.SysProcAttr = process.Attributes(nil, syscall.SIGKILL)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() //nolint:errcheck // it was only read
	command.Stdout = in
	p, err := process.Start(command, func(*process.Process) {})
	_ = in.Close() // the child has a copy
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(t.Context(), syscall.SIGKILL) })
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return p, strings.TrimSpace(url)
}

// Clients retry under their keys while the process is killed again and again. Afterwards
// every key has one intent whose money was taken once, and one event; and an answer that
// came is the answer that is replayed.
func TestKillsLeaveBooksConsistent(t *testing.T) {
	t.Parallel()
	const kills, clients = 5, 4
	file := filepath.Join(t.TempDir(), "books")
	r := receive(t, 0)
	var mu sync.Mutex
	answers := map[string]string{} // by key; "" if none has come
	for kill := range kills {
		p, url := run(t, file, r.URL)
		var work sync.WaitGroup
		var answered sync.Once
		enough := make(chan struct{})
		for client := range clients {
			work.Go(func() {
				for i := range 1000 {
					key := fmt.Sprintf("%d-%d", client, i)
					mu.Lock()
					first := answers[key]
					answers[key] = first
					mu.Unlock()
					got, err := send(t.Context(), url, intents, key,
						form("pm_card_visa", "confirm", "true"))
					if err != nil {
						return // it is killed
					}
					if first != "" && first != got.body {
						t.Errorf("key %s: first %s, then %s", key, first, got.body)
					}
					mu.Lock()
					answers[key] = got.body
					mu.Unlock()
					if i == 5*(kill+1) {
						answered.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		if err := p.Stop(t.Context(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		work.Wait()
	}
	s := start(t, simulator.Options{BooksFile: file, WebhookURL: r.URL})
	for key, first := range answers {
		got := post(t, s.URL(), intents, key, form("pm_card_visa", "confirm", "true"))
		if got.status != http.StatusOK || first != "" && got.body != first {
			t.Errorf("key %s: first %s, then %s", key, first, got.body)
		}
	}
	await.Until(t, 20*time.Second, "an empty outbox", func() bool {
		return books(t, s).EventsWaiting == 0
	})
	told := map[string]bool{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		told[e.GetObjectValue("id")] = true
	}
	all := books(t, s).Intents
	if len(all) != len(answers) {
		t.Errorf("%d keys made %d intents", len(answers), len(all))
	}
	for _, i := range all {
		if i.TimesTaken != 1 || len(i.Charges) != 1 || !told[i.ID] {
			t.Errorf("event %v: %+v", told[i.ID], i)
		}
	}
}

// A restart goes on with what was unfinished.
func TestRestartGoesOn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "books")
	slow := short
	slow.Processing = time.Hour
	s, err := simulator.Start(t.Context(), simulator.Options{BooksFile: file, Delays: slow})
	if err != nil {
		t.Fatal(err)
	}
	path := create(t, s, "pm_sim_processing")
	first := post(t, s.URL(), path+"/confirm", "k", "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := receive(t, 0)
	s = start(t, simulator.Options{BooksFile: file, WebhookURL: r.URL})
	r.has(t, "payment_intent.processing", "payment_intent.succeeded")
	if again := post(t, s.URL(), path+"/confirm", "k", ""); again.body != first.body {
		t.Errorf("replayed %s, want %s", again.body, first.body)
	}
	if i := only(t, s); i.TimesTaken != 1 || i.Status != "succeeded" {
		t.Errorf("the books: %+v", i)
	}
}

// Close does not wait for requests that hang on purpose.
func TestCloseDropsHangingRequests(t *testing.T) {
	t.Parallel()
	s, err := simulator.Start(t.Context(), simulator.Options{
		BooksFile: filepath.Join(t.TempDir(), "books"),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := create(t, s, "pm_sim_hang")
	// One of two requests under one key hangs, and the other one sees that it does.
	statuses := make(chan int)
	for range 2 {
		go func() {
			r, _ := send(t.Context(), s.URL(), path+"/confirm", "k", "")
			statuses <- r.status // 0 without an answer
		}()
	}
	if status := <-statuses; status != http.StatusConflict {
		t.Errorf("the second request: %d", status)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if status := <-statuses; status != 0 {
		t.Errorf("the hanging request: %d", status)
	}
}
