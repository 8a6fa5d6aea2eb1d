// Package api holds the contract: the OpenAPI document that says what a caller may
// send, and what comes back.
//
// The document is written by hand and comes first: a reader learns from it, a client is
// generated from it, and the service serves these very bytes under /openapi.yaml. What
// keeps it true are the tests of internal/httpapi: every request and every answer in
// them is compared with it, an operation that no test calls fails them, its examples
// are sent and must be answered as they say, and requests drawn from its schemas, whole
// and broken, must be taken and refused as it says.
package api

import _ "embed"

// Document is openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte
