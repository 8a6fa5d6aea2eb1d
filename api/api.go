// Package api holds the contract: the OpenAPI document of requests and answers.
//
// The document is written by hand, before the code. The service serves it under
// /openapi.yaml. The tests of internal/httpapi compare every request and answer with it,
// and fail for an operation that no test calls. They send its examples and compare the
// answers. They also send valid and invalid requests that are generated from its schemas.
package api

import _ "embed"

// Document is openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte
