package intake_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"sluice/internal/httpapi"
	"sluice/internal/intake"
)

func ExampleNew() {
	token := httpapi.NewToken() // the caller keeps the token, the configuration has its hash
	in := intake.New(intake.Options{
		Acceptor: nothing{}, // a real acceptor stores messages
		Reader:   nothing{},
		Keys:     httpapi.FixedKeys(httpapi.Key{Hash: httpapi.HashToken(token), Scopes: []string{httpapi.ScopeSend}, Numbers: []string{httpapi.AllNumbers}}),
		Numbers:  func(number string) bool { return number == "100000000000001" },
	})
	r := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(`{
		"from": "100000000000001", "key": "order-7",
		"message": {"to": "+15551234567", "type": "text", "text": {"body": "It has shipped."}}
	}`))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	in.Handler().ServeHTTP(w, r)
	var a struct{ ID, State, Class string }
	json.Unmarshal(w.Body.Bytes(), &a)
	fmt.Println(w.Code, a.ID, a.State, a.Class)
	// Output:
	// 202 100000000000001-ufeqxlws3bsv46lbkkufh7m55l queued service
}
