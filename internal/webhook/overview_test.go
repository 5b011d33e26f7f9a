package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/webhook"
)

// TestOverview: GET / describes the port without naming an app.
func TestOverview(t *testing.T) {
	t.Parallel()
	h := webhook.NewHandler(nil, webhook.Options{Apps: func(string) (webhook.App, bool) {
		t.Error("an app is looked up")
		return webhook.App{}, false
	}})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if text := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(text, "/webhooks/whatsapp/{app}") || !strings.Contains(text, "/openapi.json") {
		t.Errorf("%d %s", w.Code, text)
	}
}
