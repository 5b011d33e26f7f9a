package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tracing says where the spans of traces go. It comes from the standard variables of OpenTelemetry, see docs/tracing.md.
type Tracing struct {
	Endpoint string            // URL to which spans are POSTed; empty: there are no traces
	Headers  map[string]Secret // of each POST
	Timeout  time.Duration     // of the export of one batch
}

// traceSamplers are the values of OTEL_TRACES_SAMPLER.
var traceSamplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

// tracing reads and checks the variables. The SDK of OpenTelemetry reads the sampler again: it ignores mistakes.
func (l *loader) tracing() Tracing {
	t := Tracing{Timeout: 10 * time.Second}
	endpoint, name := l.otlp("ENDPOINT")
	if endpoint == "" || strings.EqualFold(l.getenv("OTEL_SDK_DISABLED"), "true") || l.getenv("OTEL_TRACES_EXPORTER") == "none" {
		return Tracing{}
	}
	wrong := func(name string, format string, args ...any) {
		l.fail(name+" (environment)", fmt.Errorf(format, args...))
	}
	if u, err := url.Parse(endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		wrong(name, "is not a URL like http://collector:4318 without a user and a query")
	}
	if t.Endpoint = endpoint; name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
		t.Endpoint = strings.TrimRight(endpoint, "/") + "/v1/traces"
	}
	if exporter := l.getenv("OTEL_TRACES_EXPORTER"); exporter != "" && exporter != "otlp" {
		wrong("OTEL_TRACES_EXPORTER", "%q is none of otlp, none", exporter)
	}
	if protocol, name := l.otlp("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		wrong(name, "%q is not supported: set it to http/protobuf, and the endpoint to the collector's port for HTTP, usually 4318", protocol)
	}
	if timeout, name := l.otlp("TIMEOUT"); timeout != "" {
		if ms, err := strconv.Atoi(timeout); err != nil || ms < 1 || ms > 60_000 {
			wrong(name, "%q is not a number of milliseconds from 1 to 60000", timeout)
		} else {
			t.Timeout = time.Duration(ms) * time.Millisecond
		}
	}
	headers, name := l.otlp("HEADERS")
	var err error
	if t.Headers, err = traceHeaders(headers); err != nil {
		wrong(name, "%w", err)
	}
	sampler := cmp.Or(l.getenv("OTEL_TRACES_SAMPLER"), traceSamplers[0])
	if !slices.Contains(traceSamplers, sampler) {
		wrong("OTEL_TRACES_SAMPLER", "%q is none of %s", sampler, strings.Join(traceSamplers, ", "))
	}
	if ratio := l.getenv("OTEL_TRACES_SAMPLER_ARG"); ratio != "" && strings.HasSuffix(sampler, "traceidratio") {
		if r, err := strconv.ParseFloat(ratio, 64); err != nil || !(r >= 0 && r <= 1) {
			wrong("OTEL_TRACES_SAMPLER_ARG", "%q is not a number from 0 to 1", ratio)
		}
	}
	return t
}

// otlp returns the value and the name of a variable of the exporter: the one for traces, else the one for all signals.
func (l *loader) otlp(what string) (value, name string) {
	name = "OTEL_EXPORTER_OTLP_TRACES_" + what
	if value = l.getenv(name); value == "" {
		name = "OTEL_EXPORTER_OTLP_" + what
		value = l.getenv(name)
	}
	return value, name
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// traceHeaders reads headers like "authorization=Bearer%20token,x-team=shop". Its error quotes none.
func traceHeaders(s string) (map[string]Secret, error) {
	all := map[string]Secret{}
	for pair := range strings.SplitSeq(s, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		text, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !found || err != nil || !headerName.MatchString(name) || strings.ContainsAny(text, "\r\n") {
			return nil, errors.New("is not a list like name=value,name=value with percent-encoded values")
		}
		all[name] = Secret(text)
	}
	return all, nil
}
