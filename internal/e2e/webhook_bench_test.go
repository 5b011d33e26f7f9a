package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
	"sluice/internal/webhook"
)

// BenchmarkWebhook posts signed webhooks to the handler of the webhook program, with a real Redis.
func BenchmarkWebhook(b *testing.B) {
	db, err := store.New(b.Context(), redistest.Client(b))
	if err != nil {
		b.Fatal(err)
	}
	h := webhook.NewHandler(events.New(db, message.DefaultShards, events.Options{}), webhook.Options{
		Apps: func(string) (webhook.App, bool) { return webhook.App{Secrets: []string{appSecret}}, true },
	})
	for _, n := range []int{1, 25, 1000} {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"id":"wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI4RUZG%010d","status":"delivered","timestamp":"1763821860","recipient_id":"49%09d00",`+
				`"biz_opaque_callback_data":"sl1.bench.106540352242922-abcdefghijklmnopqrstuvwxyz.1.0123456789abcdef",`+
				`"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"marketing"}}`, i, i))
		}
		body := []byte(`{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{"messaging_product":"whatsapp",` +
			`"metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},"statuses":[` + strings.Join(all, ",") + `]},"field":"messages"}]}]}`)
		signature := cloudapi.Sign(appSecret, body)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(1, 64/n))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/webhooks/whatsapp/main", bytes.NewReader(body))
					r.Header.Set(cloudapi.SignatureHeader, signature)
					w := httptest.NewRecorder()
					if h.ServeHTTP(w, r); w.Code != http.StatusOK {
						b.Fatal(w.Code)
					}
				}
			})
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
