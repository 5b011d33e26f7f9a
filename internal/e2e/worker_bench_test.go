package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/admission"
	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/content"
	"sluice/internal/message"
	"sluice/internal/ops"
	"sluice/internal/poll"
	"sluice/internal/queue"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// BenchmarkWorker measures a worker's whole path of a message, from its fetch to the end of its task: begin, POST,
// outcome and log line included, with a real Redis. The worker sends 20,000 messages of 12 numbers, which wait when it
// starts. The far side is in this process and allocates nothing, so allocs/message and B/message are the worker's.
func BenchmarkWorker(b *testing.B) {
	const messages, numbers = 20_000, 12
	var before, after runtime.MemStats
	var allocs, size uint64
	var took time.Duration
	for range b.N {
		b.StopTimer()
		far := newFarSide(b, messages)
		server := redistest.Start(b)
		client := server.Client()
		db, err := store.New(b.Context(), client)
		if err != nil {
			b.Fatal(err)
		}
		tokens, leases := map[string]string{}, []string{}
		c := config.Common{
			Environment: "bench", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0",
			Redis: config.Redis{URL: config.Secret(server.URL()), Durability: config.Relaxed},
			Graph: config.Graph{BaseURL: far.url, Version: "v25.0"},
		}
		for i := range numbers {
			number := fmt.Sprint(106540352242922 + i)
			c.Numbers = append(c.Numbers, config.Number{ID: number, Rate: 10_000})
			tokens[number] = "bench-token"
			leases = append(leases, queue.LeasesKey(message.DefaultShards.Of(number), number))
		}
		var all []message.Message
		for i := range messages {
			all = append(all, benchMessage(b, c.Numbers[i%numbers].ID, i))
		}
		if err := admission.NewLoader(db, message.DefaultShards).Load(b.Context(), all); err != nil {
			b.Fatal(err)
		}
		worker, err := app.NewWorker(b.Context(), config.Worker{
			Common: c, Roles: []string{config.RoleSend}, MarkerKey: "bench-marker-key-0123456789", Tokens: config.FixedTokens(tokens),
			Retry: config.Retry{Base: time.Second, Max: time.Minute, Attempts: 20},
		}, ops.NewLogger(io.Discard, slog.LevelInfo))
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- worker.Run(ctx) }()

		<-far.first // the start of the worker is no part of a message
		runtime.ReadMemStats(&before)
		b.StartTimer()
		began := time.Now()
		<-far.last
		took += time.Since(began)
		poll.Until(b, "all tasks have ended", func() bool { return client.Exists(b.Context(), leases...).Val() == 0 })
		b.StopTimer()
		runtime.ReadMemStats(&after)
		allocs, size = allocs+after.Mallocs-before.Mallocs, size+after.TotalAlloc-before.TotalAlloc
		stop()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		if n := far.posts.Load(); n != messages {
			b.Fatalf("%d POSTs for %d messages", n, messages)
		}
		server.Kill()
	}
	n := float64(b.N) * messages
	b.ReportMetric(float64(allocs)/n, "allocs/message")
	b.ReportMetric(float64(size)/n, "B/message")
	b.ReportMetric(n/took.Seconds(), "messages/s")
}

// benchMessage is the i-th message, to a recipient of its own, with an object of about 500 bytes.
func benchMessage(b *testing.B, number string, i int) message.Message {
	b.Helper()
	to := fmt.Sprintf("+49%09d00", i)
	object := json.RawMessage(`{"to":"` + to + `","type":"template","template":{"name":"order_shipped","language":{"code":"en_US"},"components":[` +
		`{"type":"header","parameters":[{"type":"image","image":{"link":"https://shop.example/media/parcel-of-the-day.png"}}]},` +
		`{"type":"body","parameters":[{"type":"text","text":"Maria"},{"type":"text","text":"#20261122-000123"},{"type":"text","text":"between 10 and 12 o'clock"}]},` +
		`{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"20261122000123"}]}]}}`)
	c, problems := content.Parse(object)
	payload, err := content.Payload(object, to)
	if err != nil || len(problems) > 0 {
		b.Fatal(err, problems)
	}
	return message.Message{
		ID: message.NewID(number, ""), From: number, Class: message.Marketing, Payload: payload, Content: c, Hash: "bench",
		ExpiresAt: time.Now().Add(time.Hour).Truncate(time.Millisecond),
	}
}

// farSide answers each POST as Meta does. It allocates nothing for a request.
type farSide struct {
	url         string
	messages    int64
	posts       atomic.Int64
	first, last chan struct{} // closed at the first POST, and at the last
}

func newFarSide(b *testing.B, messages int64) *farSide {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	f := &farSide{url: "http://" + l.Addr().String(), messages: messages, first: make(chan struct{}), last: make(chan struct{})}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *farSide) serve(c net.Conn) {
	defer c.Close()
	in, answer := bufio.NewReaderSize(c, 8<<10), make([]byte, 0, 1<<10)
	for {
		post, length := false, 0
		for n := 0; ; n++ {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return
			}
			if n == 0 {
				post = bytes.HasPrefix(line, []byte("POST "))
			}
			if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
			if len(bytes.TrimSpace(line)) == 0 {
				break
			}
		}
		if _, err := in.Discard(length); err != nil {
			return
		}
		answer = append(answer[:0], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "...)
		if !post { // a worker reads the properties of its numbers
			answer = append(answer, "2\r\n\r\n{}"...)
		} else {
			n := f.posts.Add(1)
			if n == 1 {
				close(f.first)
			}
			const before, after = `{"messaging_product":"whatsapp","contacts":[{"input":"1","wa_id":"1"}],"messages":[{"id":"wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI4RUZG`, `"}]}`
			answer = strconv.AppendInt(answer, int64(len(before)+10+len(after)), 10)
			answer = append(append(answer, "\r\n\r\n"...), before...)
			answer = strconv.AppendInt(answer, 1_000_000_000+n, 10) // ten digits
			answer = append(answer, after...)
			if n == f.messages {
				close(f.last)
			}
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}
