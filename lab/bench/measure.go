package bench

import (
	"context"
	"time"
)

// Measurement is one contender's result in one round.
type Measurement struct {
	RatePerSecond float64 `json:"rate_per_second"`
	P50Millis     float64 `json:"p50_ms"`
	P99Millis     float64 `json:"p99_ms"`
	// CPU time a charge, in microseconds. Absent where it is not known, and where there
	// is no such process.
	PostgresMicros *float64 `json:"postgres_cpu_us,omitzero"`
	ServiceMicros  *float64 `json:"service_cpu_us,omitzero"`
	ClientMicros   *float64 `json:"client_cpu_us,omitzero"`
	Charges        int      `json:"charges"` // that the rate counts
	Made           int      `json:"made"`    // with those of the warm-up
}

// subject is something that can charge.
type subject interface {
	measure(ctx context.Context, m *meter, load Load) (Measurement, error)
}

// meter reads the CPU time of everybody who takes part.
type meter struct {
	postgres, service, client int // process ids; 0: there is none
}

// reading is CPU time so far; nil is unknown.
type reading struct{ postgres, service, client *time.Duration }

func (m *meter) read() (r reading) {
	known := func(pid int, read func(int) (time.Duration, error)) *time.Duration {
		if pid == 0 {
			return nil
		}
		used, err := read(pid)
		if err != nil {
			return nil
		}
		return &used
	}
	return reading{
		postgres: known(m.postgres, cpuTimeWithChildren),
		service:  known(m.service, cpuTime),
		client:   known(m.client, cpuTime),
	}
}

// window is what passed between two moments.
type window struct {
	begin, end   time.Time
	before, then reading
}

// over waits for the warm-up and then the duration, and reads at both ends of the
// latter.
func (m *meter) over(ctx context.Context, warmUp, duration time.Duration) (w window, err error) {
	if err := sleep(ctx, warmUp); err != nil {
		return w, err
	}
	w.begin, w.before = time.Now(), m.read()
	if err := sleep(ctx, duration); err != nil {
		return w, err
	}
	w.end, w.then = time.Now(), m.read()
	return w, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// measurement divides by the charges.
func (w window) measurement(o outcome) Measurement {
	each := func(before, then *time.Duration) *float64 {
		if before == nil || then == nil || o.Charges == 0 {
			return nil
		}
		micros := float64((*then - *before).Microseconds()) / float64(o.Charges)
		return &micros
	}
	return Measurement{
		RatePerSecond:  float64(o.Charges) / o.WindowSeconds,
		P50Millis:      o.P50Millis,
		P99Millis:      o.P99Millis,
		PostgresMicros: each(w.before.postgres, w.then.postgres),
		ServiceMicros:  each(w.before.service, w.then.service),
		ClientMicros:   each(w.before.client, w.then.client),
		Charges:        o.Charges,
		Made:           o.Made,
	}
}
