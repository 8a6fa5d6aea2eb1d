//go:build race

package service

// raceDetector tells whether this test was built with -race; its children then are,
// too.
const raceDetector = true
