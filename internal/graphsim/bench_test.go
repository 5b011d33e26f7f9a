package graphsim_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/graphsim"
)

// The simulator is the far side of load runs, so the cost of a message must not grow.
func BenchmarkMessages(b *testing.B) {
	for name, members := range map[string]string{
		"text":     text("+16505551234", "sl1.demo.1-abcdefghijklmnopqrstuvwxyz.1.00000000"),
		"buttons":  `"to":"+16505551234",` + buttons("Good", "Bad", "Neither"),
		"template": `"to":"+16505551234","type":"template","template":{"name":"order_shipped","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"1001"},{"type":"text","text":"tomorrow"}]}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			handler := graphsim.New(graphsim.Options{Token: "token"}).Handler()
			body := `{"messaging_product":"whatsapp",` + members + `}`
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/v25.0/"+number+"/messages", strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer token")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}
