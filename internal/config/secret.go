package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that must not be seen: it prints as [redacted] by fmt, in JSON, in YAML
// and in logs. string(s) is its value.
type Secret string

const redacted = "[redacted]"

// String returns "[redacted]", or nothing for no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format hides the secret from every verb of fmt, %x and %#v too.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// MarshalText hides the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
