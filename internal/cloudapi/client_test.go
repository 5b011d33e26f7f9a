package cloudapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/version"
)

func TestSendIsMetasRequest(t *testing.T) {
	t.Parallel()
	var got http.Request
	var sent string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, sent = *r, string(b)
		io.WriteString(w, `{"messages":[{"id":"wamid.HBgL"}]}`)
	}))
	defer srv.Close()
	asked := ""
	c := cloudapi.NewClient(cloudapi.Options{BaseURL: srv.URL + "/", Version: "v26.0", Token: func(n string) (string, error) {
		asked = n
		return token, nil
	}})
	defer c.Close()

	out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
	if out != (message.Outcome{Kind: message.Accepted, WAMID: "wamid.HBgL"}) {
		t.Fatalf("outcome %+v", out)
	}
	if got.Method != "POST" || got.RequestURI != "/v26.0/"+number+"/messages" || sent != body || asked != number {
		t.Errorf("%s %s, %q, token of %s", got.Method, got.RequestURI, sent, asked)
	}
	marketing := `{"messaging_product":"whatsapp","product_policy":"STRICT","to":"+1"}`
	if c.Send(t.Context(), message.Request{Number: number, Version: "v27.0", Marketing: true, Body: []byte(marketing)}, nil); got.RequestURI != "/v27.0/"+number+"/marketing_messages" || sent != marketing {
		t.Errorf("%s, %q", got.RequestURI, sent)
	}
	if got.Header.Get("Authorization") != "Bearer "+token || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("User-Agent") != version.UserAgent || !strings.HasPrefix(version.UserAgent, "sluice/") {
		t.Errorf("headers %v", got.Header)
	}
	for name := range got.Header {
		if strings.Contains(name, "Idempotency") {
			t.Errorf("header %s makes net/http retry a POST by itself", name)
		}
	}
}

// TestServedVersion: attempts are counted by version and route, up to a number of versions. An answer of another version than the one of the
// request is counted, and reported once.
func TestServedVersion(t *testing.T) {
	t.Parallel()
	served := "v25.0"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Facebook-Api-Version", served)
		io.WriteString(w, `{"messages":[{"id":"wamid.HBgL"}]}`)
	}))
	defer srv.Close()
	reg, reported := prometheus.NewRegistry(), []string{}
	c := cloudapi.NewClient(cloudapi.Options{
		BaseURL: srv.URL, Version: "v25.0", Token: func(string) (string, error) { return token, nil }, Registerer: reg,
		Served: func(asked, served string) { reported = append(reported, asked+" "+served) },
	})
	defer c.Close()
	send := func(version string, marketing bool) {
		c.Send(t.Context(), message.Request{Number: number, Version: version, Marketing: marketing, Body: []byte(body)}, nil)
	}
	send("", false)
	send("v21.0", true)
	send("v21.0", true)
	served = "not a version"
	send("v25.0", false)
	for i := range 40 {
		send(fmt.Sprintf("v%d.0", 30+i), false)
	}
	if !slices.Equal(reported, []string{"v21.0 v25.0"}) {
		t.Errorf("reported %q", reported)
	}
	counts := counted(t, reg)
	for name, want := range map[string]float64{
		"sluice_graph_requests_total v25.0 accepted messages":           2,
		"sluice_graph_requests_total v21.0 accepted marketing_messages": 2,
		"sluice_graph_requests_total other accepted messages":           22,
		"sluice_graph_version_mismatches_total v21.0 v25.0":             2,
	} {
		if counts[name] != want {
			t.Errorf("%s: %v, want %v", name, counts[name], want)
		}
	}
}

// counted returns the values of counters, by name and labels.
func counted(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			counts[name] = m.GetCounter().GetValue()
		}
	}
	return counts
}

// Meta quotes a token that it cannot read. The text of an outcome, which callers see, does not have it.
func TestOutcomeHasNoToken(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, `{"error":{"message":"Malformed access token `+token+`","code":190}}`)
		}))
		defer srv.Close()
		c := cloudapi.NewClient(cloudapi.Options{BaseURL: srv.URL, Token: func(string) (string, error) { return token, nil }})
		defer c.Close()
		out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
		if out.Code != 190 || out.Detail.Message != "Malformed access token ACCESS_TOKEN_REMOVED" {
			t.Errorf("HTTP %d: %+v", status, out)
		}
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 2<<20)
	tests := []struct {
		name    string
		handler func(*testing.T, http.ResponseWriter, *http.Request)
		kind    message.Kind
		reason  string
	}{
		{"truncated 200", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"messages\":[{\"id\":\"wamid.AA\"", false)
		}, message.NoAnswer, "cut"},
		{"truncated 200 of Meta's", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nFacebook-Api-Version: v25.0\r\nContent-Length: 500\r\n\r\n{\"messages\":[{\"id\":\"wamid.AA\"", false)
		}, message.NoAnswer, "cut"},
		{"sign-in page", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>canary</html>")
		}, message.ServerError, "http 200"},
		{"204", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
		}, message.ServerError, "http 204"},
		{"another answer of Meta's", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Fb-Trace-Id", "x")
			io.WriteString(w, `{"success":true}`)
		}, message.NoAnswer, "http 200"},
		{"huge 200", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"pad":"`+huge+`","messages":[{"id":"wamid.AA"}]}`)
		}, message.ServerError, "http 200"},
		{"HTML 502", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			io.WriteString(w, "<html>Bad Gateway</html>")
		}, message.ServerError, "http 502"},
		{"huge 502", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			io.WriteString(w, huge)
		}, message.ServerError, "http 502"},
		{"truncated 400", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 400 Bad Request\r\nContent-Length: 500\r\n\r\n{\"error\":", false)
		}, message.NoAnswer, "cut"},
		{"307", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, message.Held, "http 307"},
		{"reset", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "", true)
		}, message.NoAnswer, "reset"},
		{"closed", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "", false)
		}, message.NoAnswer, "cut"},
		{"not HTTP", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "canary "+token+"\r\n\r\n", false)
		}, message.NoAnswer, "cut"},
		{"400 with 130429", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			w.Write(graphError(130429, "canary"))
		}, message.Throttled, "code 130429"},
		{"500 with 131045", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			w.Write(graphError(131045, "canary"))
		}, message.Held, "code 131045"},
		{"500 with 131000", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			w.Write(graphError(131000, "canary"))
		}, message.ServerError, "code 131000"},
		{"400 with 131026", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			w.Write(graphError(131026, "canary"))
		}, message.Refused, "code 131026"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, posts := setup(t, func(w http.ResponseWriter, r *http.Request) { tt.handler(t, w, r) })
			out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
			if out.Kind != tt.kind || out.Reason != tt.reason || out.WAMID != "" {
				t.Errorf("%+v, want %q, %q", out, tt.kind, tt.reason)
			}
			if (out.Err == nil) != (tt.kind == message.Accepted) {
				t.Errorf("error %v", out.Err)
			}
			if n := posts.Load(); n != 1 {
				t.Errorf("posted %d times", n)
			}
			mustNotHave(t, out)
		})
	}
}

func TestNoTokenNothingSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, number, token string
		err                 error
	}{
		{"error", number, "", errors.New("open token file: permission denied")},
		{"empty", number, "", nil},
		{"line break", number, token + "\n", nil},
		{"not a number", "1/../2", token, nil},
	}
	for _, tt := range tests {
		c, posts := setup(t, func(http.ResponseWriter, *http.Request) {}, func(o *cloudapi.Options) {
			o.Token = func(string) (string, error) { return tt.token, tt.err }
		})
		out := c.Send(t.Context(), message.Request{Number: tt.number, Body: []byte(body)}, nil)
		if out.Kind != message.Held || out.Reason != "token" || posts.Load() != 0 {
			t.Errorf("%s: %+v, %d posts", tt.name, out, posts.Load())
		}
		if tt.err != nil && !errors.Is(out.Err, tt.err) {
			t.Errorf("%s: error %v", tt.name, out.Err)
		}
		mustNotHave(t, out)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	answer := graphError(232, "")
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		w.Write(answer)
	}, func(o *cloudapi.Options) { o.Registerer = reg })

	count := func(name string) int {
		t.Helper()
		n, err := testutil.GatherAndCount(reg, name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n, all := count("sluice_send_errors_total"), len(cloudapi.Catalogue())+1; n != all {
		t.Errorf("%d series of errors at the start, want %d", n, all)
	}
	if n := count("sluice_graph_request_duration_seconds"); n != len(message.Kinds()) {
		t.Errorf("%d series of durations at the start", n)
	}

	c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
	answer = graphError(999999, "")
	c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
	answer = []byte(`{"error":{"code":100,"error_subcode":33}}`)
	c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
	for code, want := range map[string]float64{"200-299": 1, "other": 1, "100/33": 1, "100": 0} {
		if got := counter(t, reg, code); got != want {
			t.Errorf("code %q counted %v times, want %v", code, got, want)
		}
	}
	if n := count("sluice_send_errors_total"); n != len(cloudapi.Catalogue())+1 {
		t.Errorf("%d series of errors at the end", n)
	}
}
