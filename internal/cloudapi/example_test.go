package cloudapi_test

import (
	"fmt"
	"net/http"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// Meta returns the marker of an attempt in its statuses. Parse refuses a marker of another environment or another key.
func ExampleMarks() {
	prod := cloudapi.NewMarks("prod", []byte("a marker key"))
	marker := prod.Make(message.NewID("106540352242922", "order-1001"), 1, 1763820424512)
	fmt.Println(marker)

	_, attempt, accepted, ok := prod.Parse(marker)
	fmt.Println(attempt, accepted, ok)

	_, _, _, ok = cloudapi.NewMarks("staging", []byte("a marker key")).Parse(marker)
	fmt.Println(ok)
	// Output:
	// sl1.prod.106540352242922-fagli4xooqooclbs4brqj5m2hl.1-miad51s0.4f981660
	// 1 1763820424512 true
	// false
}

// Meta's error code decides the outcome of an attempt. An answer that is not from Meta proves nothing.
func ExampleClassify() {
	answers := []struct {
		status int
		body   string
	}{
		{200, `{"messages":[{"id":"wamid.HBgL"}]}`},
		{400, `{"error":{"code":131026,"message":"Message undeliverable"}}`},
		{429, `{"error":{"code":130429,"message":"Rate limit hit"}}`},
		{401, `{"error":{"code":190,"message":"Access token has expired"}}`},
		{502, "<html>bad gateway</html>"},
	}
	for _, a := range answers {
		o := cloudapi.Classify(a.status, http.Header{}, []byte(a.body))
		fmt.Println(a.status, o.Code, o.Kind, o.Kind.InDoubt())
	}
	// Output:
	// 200 0 accepted false
	// 400 131026 rejected false
	// 429 130429 throttled false
	// 401 190 held false
	// 502 0 server_error true
}

// Meta signs the raw bytes of a webhook with the app secret.
func ExampleVerify() {
	body := []byte(`{"object":"whatsapp_business_account","entry":[]}`)
	header := cloudapi.Sign("the app secret", body)
	which, ok := cloudapi.Verify(header, body, "a new app secret", "the app secret")
	fmt.Println(which, ok)
	_, ok = cloudapi.Verify(header, append(body, ' '), "the app secret")
	fmt.Println(ok)
	// Output:
	// 1 true
	// false
}

// A webhook body becomes one event for each message, status and other change. Verify its signature first.
func ExampleEvents() {
	body := []byte(`{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"field":"messages","value":{
		"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},
		"statuses":[{"id":"wamid.HBgL","status":"failed","timestamp":"1763820425","recipient_id":"16505551234",
			"errors":[{"code":131026,"title":"Message undeliverable"}]}]}}]}]}`)
	events, err := cloudapi.Events(body, time.UnixMilli(1763820426031))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range events {
		fmt.Println(e.Type, e.Number, e.Report.Status, e.Report.Code, e.Report.At.Format(time.RFC3339))
	}
	// Output:
	// status 106540352242922 failed 131026 2025-11-22T14:07:05Z
}

// The catalogue says what a code means, what an operator does, and which messages it concerns.
func ExampleLookup() {
	e, known := cloudapi.Lookup(131042)
	fmt.Println(e.Name(), e.Title, known)
	fmt.Println(e.Kind, "for every message of the", e.Scope)
	fmt.Println(e.Advice)
	// Output:
	// 131042 Business eligibility payment issue true
	// held for every message of the number
	// Correct the account's billing. Sluice then sends the waiting messages by itself.
}
