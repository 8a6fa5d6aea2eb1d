package pgtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fakeT is a test within a test: it may fail without failing the one around it.
type fakeT struct {
	testing.TB // the test around it
	complaints []string
	cleanups   []func()
}

// inFake runs a test as go test does: until its end or its Fatal, and its clean-up
// functions after, last in, first out.
func inFake(t *testing.T, test func(testing.TB)) *fakeT {
	t.Helper()
	fake := &fakeT{TB: t}
	fake.untilExit(func() { test(fake) })
	for len(fake.cleanups) > 0 {
		last := len(fake.cleanups) - 1
		cleanup := fake.cleanups[last]
		fake.cleanups = fake.cleanups[:last]
		fake.untilExit(cleanup)
	}
	return fake
}

func (f *fakeT) untilExit(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}

func (f *fakeT) Helper()                           {}
func (f *fakeT) Context() context.Context          { return context.WithoutCancel(f.TB.Context()) }
func (f *fakeT) Logf(string, ...any)               {}
func (f *fakeT) Errorf(format string, args ...any) { f.complain(format, args...) }
func (f *fakeT) Cleanup(do func())                 { f.cleanups = append(f.cleanups, do) }
func (f *fakeT) Skip(...any)                       { panic("a test was skipped") }

func (f *fakeT) Fatal(args ...any) {
	f.complain("%s", fmt.Sprint(args...))
	runtime.Goexit()
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.complain(format, args...)
	runtime.Goexit()
}

func (f *fakeT) Failed() bool { return len(f.complaints) > 0 }
func (f *fakeT) complain(format string, args ...any) {
	f.complaints = append(f.complaints, fmt.Sprintf(format, args...))
}

// wantComplaint expects a complaint with all of these parts.
func (f *fakeT) wantComplaint(t *testing.T, parts ...string) {
	t.Helper()
	says := func(complaint string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool {
			return !strings.Contains(complaint, part)
		})
	}
	if !slices.ContainsFunc(f.complaints, says) {
		t.Errorf("no complaint says %q, only:\n%s", parts, strings.Join(f.complaints, "\n"))
	}
}
