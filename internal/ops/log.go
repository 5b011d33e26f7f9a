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

// NewLogger returns a logger that writes JSON lines to w, from level on. Every string and
// error in them passes Mask; attributes named like a secret lose their value altogether.
// Numbers logged as integers are not looked at: use Phone for what may be a phone number.
func NewLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: replace}))
}

// replace masks one attribute. Our own ids and Meta's are no secrets, and are long numbers.
func replace(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case "message_id", "wamid", "phone_number_id", slog.TimeKey, slog.LevelKey:
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

// maskAny masks a value that is no plain string. What has nothing to hide stays as it is.
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

// RouteRedis sends what go-redis itself has to say into log. It is process-wide, as
// go-redis has one logger for all its clients.
func RouteRedis(log *slog.Logger) { redis.SetLogger(redisLog{log}) }

type redisLog struct{ log *slog.Logger }

// Printf is what go-redis calls. Nearly all it reports is a lost connection.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.WarnContext(ctx, "redis client error", "err", fmt.Sprintf(format, v...))
}

// lines writes each line it gets as a warning.
type lines struct {
	log     *slog.Logger // nil: nobody listens
	message string
}

func (l lines) Write(p []byte) (int, error) {
	if l.log != nil {
		l.log.Warn(l.message, "err", strings.TrimSpace(string(p)))
	}
	return len(p), nil
}
