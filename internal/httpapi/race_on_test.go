//go:build race

package httpapi_test

// withRaceDetector tells whether the tests run with the race detector, in which
// everything takes several times as long.
const withRaceDetector = true
