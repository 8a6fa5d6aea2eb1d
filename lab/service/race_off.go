//go:build !race

package service

// RaceDetector tells whether this test was built with -race; its children then are,
// too.
const RaceDetector = false
