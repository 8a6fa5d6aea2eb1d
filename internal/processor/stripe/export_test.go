package stripe

// NewHTTPClient lets a test send a request in a form that the SDK does not use today.
var NewHTTPClient = newHTTPClient
