package cloudapi_test

import (
	"fmt"
	"net/http"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// Meta returns the marker of an attempt in its statuses. A marker with another environment or another key is not ours.
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

// Meta's error code decides what an answer means. An answer that is not from Meta proves nothing.
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
