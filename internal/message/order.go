package message

import "encoding/json"

// Order is a request to send that did not come over HTTP.
type Order struct {
	Body []byte // as in POST /v1/messages
	Key  string // the idempotency key of a body that names none; empty: it has none
}

// OrderResult is the result of an Order.
type OrderResult struct {
	ID        string // of the accepted message; empty: the order was not accepted
	Duplicate bool   // an earlier request with the same idempotency key was accepted

	Code    string          // the code of the first problem; empty: the order was accepted
	Problem json.RawMessage // as in the answer to a line of a batch; nil: the order was accepted
	Retry   bool            // storage was unavailable: the message may or may not be stored
}
