package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"
)

// NewLogger returns a logger that writes JSON lines to w, from level on. It masks every string and
// error by Mask, and replaces the values of attributes that are named like a secret.
// It does not mask integers: log what may be a phone number as a Phone.
// It writes a failure that repeats once a second, see repeats.
func NewLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(onceASecond(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: replace})))
}

// replace masks one attribute. Our own ids and Meta's are no secrets, and are long numbers.
func replace(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case "message_id", "wamid", "phone_number_id", "trace_id", slog.TimeKey, slog.LevelKey:
		return a
	case "token", "access_token", "secret", "password", "authorization", "signature":
		return slog.String(a.Key, redacted)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Mask(a.Value.String()))
	case slog.KindAny:
		a.Value = maskAny(a.Value.Any())
	}
	return a
}

// maskAny masks a value that is no plain string. A value with nothing to mask stays as it is.
func maskAny(v any) slog.Value {
	if err, ok := v.(error); ok {
		return slog.StringValue(Mask(err.Error()))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return slog.StringValue(Mask(fmt.Sprint(v)))
	}
	if masked := Mask(string(text)); masked != string(text) {
		return slog.StringValue(masked)
	}
	return slog.AnyValue(v)
}

// RouteRedis sends the log lines of go-redis itself to log. It applies to the whole process, because
// go-redis has one logger for all its clients.
func RouteRedis(log *slog.Logger) { redis.SetLogger(redisLog{log}) }

type redisLog struct{ log *slog.Logger }

// Printf is what go-redis calls. Most of its lines report a lost connection. A failure to connect is logged for details
// only: each command that needed the connection fails with the same error, and its caller logs it.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	level := slog.LevelWarn
	if strings.Contains(format, "failed to dial") {
		level = slog.LevelDebug
	}
	l.log.Log(ctx, level, "redis client error", "err", fmt.Sprintf(format, v...))
}

// lines writes each line of an http.Server as a warning.
type lines struct {
	log *slog.Logger // nil: nothing is logged
}

func (l lines) Write(p []byte) (int, error) {
	if l.log != nil {
		l.log.Warn("http server error", "err", strings.TrimSpace(string(p)))
	}
	return len(p), nil
}
