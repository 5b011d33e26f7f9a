package httpapi_test

import (
	"fmt"
	"net/http/httptest"

	"sluice/internal/httpapi"
)

// A refusal lists every problem: its place, its code, what is wrong, and what to do. The first problem decides
// the status.
func ExampleRefusal() {
	refusal := append(httpapi.RefuseAt("class", "class_unknown"), httpapi.Problem("send_at", "time_invalid"))
	w := httptest.NewRecorder()
	refusal.Write(w)
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	for _, p := range refusal {
		fmt.Println(p.Path, p.Code)
	}
	// Output:
	// 422 application/problem+json
	// class class_unknown
	// send_at time_invalid
}
