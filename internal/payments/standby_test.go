package payments

import (
	"context"
	"testing"
	"time"

	"github.com/paymentsvc/paymentsvc/internal/pgtest"
	"github.com/paymentsvc/paymentsvc/test/service"
)

// FAULTS 19. Somebody may have cancelled the first COMMIT's wait for a synchronous standby, so that its answer can be read and no
// standby has it. A replay of it is an acknowledgement only after a COMMIT of its own has waited.
func TestAReplayWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Durable(t, nil)
	s := newService(t, cluster.URL())
	merchant := newMerchant(t, s, map[string]int64{"a": 100, "b": 0})
	caller := callerWith(merchant, "k")
	request := Charge{Amount: usd(7), SourceAccount: "a", DestinationAccount: "b"}
	charge(t, s, merchant, "k", request)
	authorized := charge(t, s, merchant, "hold", Charge{Amount: usd(7), SourceAccount: "a", DestinationAccount: "b", AuthorizeOnly: true})
	capture := Capture{PaymentID: authorized.PaymentID}
	if _, err := s.Capture(t.Context(), callerWith(merchant, "capture"), capture); err != nil {
		t.Fatal(err)
	}

	standby := service.NewStandby(t, cluster.AdminURL())
	for what, replay := range map[string]func() (Reply, error){
		"of a charge": func() (Reply, error) { return s.Charge(context.Background(), caller, request) },
		"of a capture": func() (Reply, error) {
			return s.Capture(context.Background(), callerWith(merchant, "capture"), capture)
		},
		"against a rule": func() (Reply, error) {
			return s.replayOrRefuse(context.Background(), newCharge(caller, request), &Refusal{})
		},
	} {
		t.Run(what, func(t *testing.T) {
			comeBack := standby.Leave(t)
			replied := make(chan error, 1)
			go func() {
				_, err := replay()
				replied <- err
			}()
			service.Await(t, 10*time.Second, "the replay waits", func() bool { return standby.AwaitedBy(t) == 2 || len(replied) > 0 })
			if len(replied) > 0 {
				t.Error("the replay does not wait")
			}
			comeBack()
			if err := <-replied; err != nil {
				t.Error(err)
			}
		})
	}
	if b := balanceOf(t, s, merchant, "b"); b != 14 {
		t.Errorf("b got %d of 7 charged and 7 captured", b)
	}
}
