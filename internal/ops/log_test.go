package ops_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ops"
)

func TestMask(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "dial tcp 10.0.0.1:6379: connection refused", "dial tcp 10.0.0.1:6379: connection refused"},
		{"token in a query", "GET /v25.0/me?access_token=EAAx1&fields=id", "GET /v25.0/me?access_token=[redacted]&fields=id"},
		{"token in JSON", `{"access_token": "abc", "a": 1}`, `{"access_token": "[redacted]", "a": 1}`},
		{"bearer", "Authorization: Bearer abcdef123.x-y", "Authorization: Bearer [redacted]"},
		{"Meta's token alone", "sent EAAGm0PX4ZCpsBAKZC8ZBZA off", "sent [redacted] off"},
		{"password in a URL", "redis://user:hunter2@h:6379/0", "redis://user:[redacted]@h:6379/0"},
		{"URL without a password", "http://h:8080/a b@c", "http://h:8080/a b@c"},
		{"verify token", "hub.verify_token=abc&hub.mode=x", "hub.verify_token=[redacted]&hub.mode=x"},
		{"signature", "sha256=0123456789abcdef0123 bad", "sha256=[redacted] bad"},
		{"E.164", "to +4915112345678.", "to +49***78."},
		{"E.164 with spaces", "to +49 151 1234 5678, now", "to +49***78, now"},
		{"digits alone", "to 4915112345678", "to 491***78"},
		{"two", "+4915112345678,+16505076520", "+49***78,+16***20"},
		{"shortest", "+1234567, 1234567, 12345678", "+12***67, 1234567, 123***78"},
		{"two next to each other", "+4915112345678 4915187654321", "+49***78 491***21"},
		{"too long for a phone", "at 1763821860123456789", "at 1763821860123456789"},
		{"inside a word", "commit a12345678b", "commit a12345678b"},
		{"our id", "begin 106540352242922-abcdefghijklmnopqrstuvwxyz", "begin 106540352242922-abcdefghijklmnopqrstuvwxyz"},
		{"Graph path", `Post "https://h/v25.0/106540352242922/messages": EOF`, `Post "https://h/v25.0/106540352242922/messages": EOF`},
		{"wamid", "wamid.HBgLMTY1MDUwNzY1MjA0=", "wamid.HBgLMTY1MDUwNzY1MjA0="},
		{"time zone", "2026-11-22T14:31:00+0100", "2026-11-22T14:31:00+0100"},
	} {
		if got := ops.Mask(c.in); got != c.want {
			t.Errorf("%s: %q became %q, want %q", c.name, c.in, got, c.want)
		}
	}
}

func TestLoggerMasks(t *testing.T) {
	var out strings.Builder
	log := ops.NewLogger(&out, slog.LevelInfo)
	log.Debug("not shown")
	log.Info("attempt",
		"message_id", "106540352242922-abcdefghijklmnopqrstuvwxyz",
		"phone_number_id", "106540352242922",
		"to", ops.Phone("+4915112345678"),
		"err", fmt.Errorf("post: %w", errors.New("?access_token=hunter2 to 4915112345678")),
		"token", "hunter2",
		"attempt", 3,
		slog.Group("request", "url", "redis://:hunter2@h"),
		"any", struct{ To, Note string }{"+4915112345678", "x"},
		"tags", []string{"a", "b"},
		"func", func() {},
	)
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("not one line of JSON: %v: %s", err, out.String())
	}
	for key, want := range map[string]string{
		"msg":             "attempt",
		"message_id":      "106540352242922-abcdefghijklmnopqrstuvwxyz",
		"phone_number_id": "106540352242922",
		"to":              "+49***78",
		"err":             "post: ?access_token=[redacted] to 491***78",
		"token":           "[redacted]",
		"attempt":         "3",
		"request":         "map[url:redis://:[redacted]@h]",
		"any":             `{"To":"+49***78","Note":"x"}`,
		"tags":            "[a b]",
	} {
		if got := fmt.Sprint(line[key]); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if text := out.String(); strings.Contains(text, "hunter2") || strings.Contains(text, "15112345") {
		t.Errorf("a secret shows: %s", text)
	}
}

func TestPhone(t *testing.T) {
	for in, want := range map[ops.Phone]string{"": "", "1234567": "***", "12345678": "123***78"} {
		j, _ := json.Marshal(map[string]ops.Phone{"p": in})
		if got := fmt.Sprint(in); got != want || string(j) != `{"p":"`+want+`"}` {
			t.Errorf("%d characters: %q, %s", len(in), got, j)
		}
	}
}

func TestRouteRedis(t *testing.T) {
	var out strings.Builder
	ops.RouteRedis(ops.NewLogger(&out, slog.LevelInfo))
	t.Cleanup(func() { ops.RouteRedis(slog.New(slog.DiscardHandler)) })
	// A client of Sentinel reports every sentinel that does not answer.
	c := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}, MaxRetries: -1, DialerRetries: 1,
	})
	defer c.Close()
	c.Ping(t.Context())
	if got := out.String(); !strings.Contains(got, `"msg":"redis client error"`) || !strings.Contains(got, "127.0.0.1:1") {
		t.Errorf("go-redis's words are not in the log: %q", got)
	}
}

// BenchmarkAttemptLine is the line of an attempt, which a worker writes for each request to Meta.
func BenchmarkAttemptLine(b *testing.B) {
	log := ops.NewLogger(io.Discard, slog.LevelInfo)
	for b.Loop() {
		log.Info("attempt", "message_id", "106540352242922-abcdefghijklmnopqrstuvwxyz", "phone_number_id", "106540352242922", "class", "utility",
			"attempt", 1, "outcome", "accepted", "code", 0, "reason", "", "wamid", "wamid.HBgLNDkxNTExMjM0NTY3FQIAERgSQjQ", "seconds", 0.21,
			"state", "submitted", "next_in", 0.0, "cause", nil)
	}
}
