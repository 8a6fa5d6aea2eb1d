package transcript

import "testing"

func TestMaskTellsOneIdFromTwo(t *testing.T) {
	t.Parallel()
	const a, b = "pay_01a20ad267df7b68adb4d622d79eec28", "pay_01a20ad267df7b68adb4d622d79eec29"
	const morning, evening = "2026-11-23T08:00:00.031040Z", "2026-11-23T20:00:00.555555Z"
	if Mask(a+" at "+morning+"\r\n") != Mask(b+" at "+evening+"\n") {
		t.Error("another id or time makes a difference")
	}
	if Mask(a+" "+a) == Mask(a+" "+b) {
		t.Error("two payments look like one")
	}
}
