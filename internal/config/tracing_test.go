package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestTracing(t *testing.T) {
	t.Parallel()
	const general, own = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"
	on := map[string]string{general + "ENDPOINT": "http://collector:4318"}
	with := func(pairs ...string) map[string]string {
		all := map[string]string{}
		for name, v := range on {
			all[name] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return all
	}
	usual := Tracing{Endpoint: "http://collector:4318/v1/traces", Headers: map[string]Secret{}, Timeout: 10 * time.Second}
	for _, c := range []struct {
		env  map[string]string
		want Tracing
		err  string // part of the mistake; empty: there is none
	}{
		{env: nil},
		{env: with("OTEL_SDK_DISABLED", "true")},
		{env: with("OTEL_TRACES_EXPORTER", "none")},
		{env: on, want: usual},
		{env: with(general+"PROTOCOL", "http/protobuf", "OTEL_TRACES_EXPORTER", "otlp", "OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG", "0.01"), want: usual},
		{
			env:  with(own+"ENDPOINT", "https://traces:4318/own", own+"TIMEOUT", "500", general+"TIMEOUT", "1000", general+"HEADERS", "authorization=Bearer%20a=b, X-Team=shop,"),
			want: Tracing{Endpoint: "https://traces:4318/own", Timeout: 500 * time.Millisecond, Headers: map[string]Secret{"authorization": "Bearer a=b", "X-Team": "shop"}},
		},
		{env: with(general+"ENDPOINT", "collector:4317"), err: general + "ENDPOINT (environment): is not a URL"},
		{env: with(own+"ENDPOINT", "http://user:canary@traces:4318"), err: own + "ENDPOINT (environment): is not a URL"},
		{env: with(own+"PROTOCOL", "grpc"), err: own + `PROTOCOL (environment): "grpc" is not supported`},
		{env: with("OTEL_TRACES_EXPORTER", "zipkin"), err: "OTEL_TRACES_EXPORTER"},
		{env: with(general+"TIMEOUT", "1s"), err: general + "TIMEOUT"},
		{env: with(general+"HEADERS", "canary"), err: general + "HEADERS"},
		{env: with(general+"HEADERS", "x=canary%0Ainjected: 1"), err: general + "HEADERS"},
		{env: with(general+"HEADERS", "x y=canary"), err: general + "HEADERS"},
		{env: with("OTEL_TRACES_SAMPLER", "all"), err: "OTEL_TRACES_SAMPLER"},
		{env: with("OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", "NaN"), err: "OTEL_TRACES_SAMPLER_ARG"},
	} {
		l := &loader{getenv: func(name string) string { return c.env[name] }}
		got := l.tracing()
		switch err := l.err(); {
		case c.err == "" && (err != nil || !reflect.DeepEqual(got, c.want)):
			t.Errorf("%v: %+v, %v; want %+v", c.env, got, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "canary")):
			t.Errorf("%v: mistake %v; want %s", c.env, err, c.err)
		}
	}
	if shown := fmt.Sprintf("%+v", Tracing{Headers: map[string]Secret{"x": "canary"}}); strings.Contains(shown, "canary") {
		t.Error(shown)
	}
}
