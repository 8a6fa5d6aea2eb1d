//go:build !race

package httpapi_test

// withRaceDetector tells whether the tests run with the race detector.
const withRaceDetector = false
