// Package service runs the real paymentsvc for tests, as an operator does: a program in
// processes of its own, which can be killed, stopped and told to end.
//
//	a := service.Start(t, db.URL, service.AllowDataLoss)
//	merchant := journal.NewMerchant(t, db.URL)
//	answer := merchant.Charge(ctx, a.URL(), "key-1", charge)
//	a.Kill()
//
// The program is built once a test process, with the race detector if the test has it,
// and no child outlives the test, not even one that is killed itself. A race that a
// child reports fails the test that started it.
package service
