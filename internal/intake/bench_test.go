package intake_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/message"
)

// answerTo is a minimal http.ResponseWriter.
type answerTo struct {
	header http.Header
	status int
	bytes  int
}

func (a *answerTo) Header() http.Header         { return a.header }
func (a *answerTo) WriteHeader(status int)      { a.status = status }
func (a *answerTo) Flush()                      {}
func (a *answerTo) Write(b []byte) (int, error) { a.bytes += len(b); return len(b), nil }

// templateMessage is the message that most bulk senders send.
const templateMessage = `{"recipient_type":"individual","to":"+4930123456700","type":"template","template":{"name":"order_shipped","language":{"code":"en_US"},"components":[` +
	`{"type":"header","parameters":[{"type":"image","image":{"link":"https://shop.example/media/parcel-of-the-day.png"}}]},` +
	`{"type":"body","parameters":[{"type":"text","text":"Maria"},{"type":"text","text":"#20261122-000123"},{"type":"text","text":"between 10 and 12 o'clock"}]},` +
	`{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"20261122000123"}]}]}}`

// benchmarkHandler runs one request repeatedly. least is the minimum length of its answer.
func benchmarkHandler(b *testing.B, path, media, body string, status, least int) {
	token := httpapi.NewToken()
	in := intake.New(intake.Options{
		Acceptor: nothing{}, Reader: nothing{},
		Keys:    httpapi.FixedKeys(httpapi.Key{Hash: httpapi.HashToken(token), Scopes: httpapi.Scopes(), Numbers: []string{httpapi.AllNumbers}}),
		Numbers: func(string) bool { return true },
		ETA:     func(context.Context, string, message.Class, message.Flow) (time.Duration, error) { return 0, nil },
	})
	h := in.Handler()
	r, err := http.NewRequest(http.MethodPost, path, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", media)
	text := strings.NewReader(body)
	r.Body, r.ContentLength = io.NopCloser(text), int64(len(body))
	b.ReportAllocs()
	for b.Loop() {
		text.Reset(body)
		w := answerTo{header: http.Header{}}
		h.ServeHTTP(&w, r.WithContext(b.Context()))
		if w.status != status || w.bytes < least {
			b.Fatal(w.status, w.bytes)
		}
	}
}

// BenchmarkPost measures POST /v1/messages, from the handler to the acceptor and back.
func BenchmarkPost(b *testing.B) {
	const more = `,"class":"utility","ref":"order-1001"}`
	for _, c := range []struct{ name, body string }{
		{"text", `{"from":"` + ours + `","message":` + hello + more},
		{"template", `{"from":"` + ours + `","message":` + templateMessage + more},
		{"template with key", `{"from":"` + ours + `","key":"order-1001-shipped","message":` + templateMessage + more},
	} {
		b.Run(c.name, func(b *testing.B) {
			benchmarkHandler(b, "/v1/messages", "application/json", c.body, http.StatusAccepted, 100)
		})
	}
}

// BenchmarkGraphPost measures one message on Meta's own path.
func BenchmarkGraphPost(b *testing.B) {
	benchmarkHandler(b, metas, "application/json", `{"messaging_product":"whatsapp",`+templateMessage[1:], http.StatusOK, 100)
}

// BenchmarkBatch measures a batch of 1,000 lines. For one line: ns/line, and the allocations divided by 1,000.
func BenchmarkBatch(b *testing.B) {
	const lines = 1000
	line := `{"from":"` + ours + `","message":` + templateMessage + `,"class":"utility","ref":"order-1001"}` + "\n"
	benchmarkHandler(b, "/v1/messages/batch", "application/x-ndjson", strings.Repeat(line, lines), http.StatusOK, 100*lines)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
}
