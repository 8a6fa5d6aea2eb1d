// Package conformance is the idempotency contract as tests, which run against any
// address.
//
//	go test ./test/conformance -v -url=http://127.0.0.1:8080 -api-key=sk_...
//
// speaks nothing but HTTP to the service at that address. It makes its own accounts,
// under names that nobody else has, and charges under keys of its own, so it can be run
// against a living service, any number of times. What it leaves behind is those
// accounts and their payments. Rate limits must be off or high: some rows send a
// hundred requests at once.
//
//	-url            the service; without it, see below
//	-other-url      a second instance on the same database, for the retries
//	-api-key        of a merchant, else CONFORMANCE_API_KEY; a service may need none
//	-other-api-key  of another merchant, else CONFORMANCE_OTHER_API_KEY, for row 11
//	-rows           the rows to run, for example 1,2,4-7,9a; by default, every row
//
// The table in contract_test.go reads as the contract does, row by row; -v lists the
// rows that were run, why others were not, and which tests of this repository show
// those that no client can show (a lost COMMIT, an answer that expires). A service that
// has a part of the contract passes with the rows of that part: examples/onefile does.
//
// Without -url, as in `make test`, the suite runs two instances of the service on one
// database in its own process, and then two of examples/onefile in processes. It also
// holds locks in their databases, and for one row it kills a process. Add -count=1
// after a change of examples/onefile: go test does not see that the suite builds it,
// and would repeat an old result.
package conformance
