package cloudapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
)

// answering returns a client of a server that answers one request. The request must have the value authorization
// in its header.
func answering(t *testing.T, uri, auth string, status int, answer string) *cloudapi.Client {
	t.Helper()
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.RequestURI() != uri || r.Header.Get("Authorization") != auth {
			t.Errorf("asked %s %s %v, want %s", r.Method, r.URL, r.Header, uri)
		}
		w.WriteHeader(status)
		io.WriteString(w, answer)
	})
	return c
}

// questions are the queries of a Client, each with an answer and the expected result.
var questions = map[string]struct {
	ask    func(ctx context.Context, c *cloudapi.Client) (any, error)
	uri    string
	auth   string
	answer string
	want   string // in %+v
	none   string // the result of an empty answer
}{
	"number": {
		func(ctx context.Context, c *cloudapi.Client) (any, error) { return c.Number(ctx, "100") },
		"/v25.0/100?fields=status,quality_rating,name_status,platform_type,account_mode,is_on_biz_app,throughput,whatsapp_business_manager_messaging_limit,webhook_configuration,health_status", "Bearer " + token,
		`{"id":"100","status":"CONNECTED","quality_rating":"GREEN","name_status":"APPROVED","platform_type":"CLOUD_API","account_mode":"LIVE","is_on_biz_app":true,
		"throughput":{"level":"HIGH"},"health_status":{"can_send_message":"BLOCKED","entities":[{"entity_type":"WABA","id":"1","can_send_message":"BLOCKED",
		"errors":[{"error_code":141006,"error_description":"no card","possible_solution":"add one"}]}]}}`,
		"{Status:CONNECTED Quality:GREEN NameStatus:APPROVED Platform:CLOUD_API Mode:LIVE OnBizApp:true Throughput:{Level:HIGH} Limit: Callbacks:{App: Account: Number:} " +
			"Health:{CanSend:BLOCKED Entities:[{Type:WABA ID:1 Errors:[{Code:141006 What:no card Solution:add one}]}]}}",
		"{Status: Quality: NameStatus: Platform: Mode: OnBizApp:false Throughput:{Level:} Limit: Callbacks:{App: Account: Number:} Health:{CanSend: Entities:[]}}",
	},
	"profile": {
		func(ctx context.Context, c *cloudapi.Client) (any, error) { return c.Profile(ctx, "100") },
		"/v25.0/100?fields=throughput,is_on_biz_app,quality_rating,verified_name,whatsapp_business_manager_messaging_limit,health_status", "Bearer " + token, `{"throughput":{"level":"HIGH"},"is_on_biz_app":false,"quality_rating":"GREEN","verified_name":"Shop","whatsapp_business_manager_messaging_limit":"TIER_10K",
		"health_status":{"can_send_message":"AVAILABLE","entities":[{"entity_type":"PHONE_NUMBER","id":"100"},{"entity_type":"WABA","id":"1"},{"entity_type":"BUSINESS","id":"2"}]},"id":"100"}`,
		"{Rate:1000 Quality:GREEN Name:Shop Limit:TIER_10K OnBizApp:false Account:1 Portfolio:2}", "{Rate:0 Quality: Name: Limit: OnBizApp:false Account: Portfolio:}",
	},
	"profile of a number that people also use in the app": {
		func(ctx context.Context, c *cloudapi.Client) (any, error) { return c.Profile(ctx, "100") },
		"/v25.0/100?fields=throughput,is_on_biz_app,quality_rating,verified_name,whatsapp_business_manager_messaging_limit,health_status", "Bearer " + token, `{"throughput":{"level":"STANDARD"},"is_on_biz_app":true,"id":"100"}`, "{Rate:20 Quality: Name: Limit: OnBizApp:true Account: Portfolio:}", "{Rate:0 Quality: Name: Limit: OnBizApp:false Account: Portfolio:}",
	},
	"apps of an account": {
		func(ctx context.Context, c *cloudapi.Client) (any, error) { return c.Subscribed(ctx, "100", "200") },
		"/v25.0/200/subscribed_apps", "Bearer " + token,
		`{"data":[{"whatsapp_business_api_data":{"id":"7","name":"ours","link":"x"}},{"whatsapp_business_api_data":{"id":"8"},"override_callback_uri":"https://example.com"}]}`,
		"[7 8]", "[]",
	},
	"subscription": {
		func(ctx context.Context, c *cloudapi.Client) (any, error) { return c.Subscription(ctx, "7", "s3cret") },
		"/v25.0/7/subscriptions", "Bearer 7|s3cret",
		`{"data":[{"object":"page","callback_url":"https://example.com/page","active":true,"fields":[{"name":"feed"}]},
		{"object":"whatsapp_business_account","callback_url":"https://example.com/wa","active":true,"fields":[{"name":"messages","version":"v25.0"},{"name":"account_update"}]}]}`,
		"{Callback:https://example.com/wa Fields:[messages account_update]}", "{Callback: Fields:[]}",
	},
}

// A query returns what Meta says. A refusal or an unreadable answer is an error with the status and the code only.
func TestLook(t *testing.T) {
	t.Parallel()
	for name, q := range questions {
		for _, a := range []struct {
			name, answer string
			status       int
			want         string
			refusal      cloudapi.Refusal // zero: no error
		}{
			{"answer", q.answer, 200, q.want, cloudapi.Refusal{}},
			{"nothing", `{}`, 200, q.none, cloudapi.Refusal{}},
			{"empty list", `{"data":[]}`, 200, q.none, cloudapi.Refusal{}},
			{"refused", `{"error":{"message":"canary","code":190,"error_subcode":463}}`, 400, "", cloudapi.Refusal{Status: 400, Code: 190, Subcode: 463}},
			{"an error with 200", `{"error":{"message":"canary","code":4}}`, 200, "", cloudapi.Refusal{Status: 200, Code: 4}},
			{"code 0", `{"error":{"code":0}}`, 401, "", cloudapi.Refusal{Status: 401}},
			{"an error without a code", `{"error":{"message":"canary"}}`, 500, "", cloudapi.Refusal{Status: 500, Code: cloudapi.NoCode}},
			{"no JSON", `<html>canary`, 502, "", cloudapi.Refusal{Status: 502, Code: cloudapi.NoCode}},
			{"no JSON with 200", `<html>canary`, 200, "", cloudapi.Refusal{Status: 200, Code: cloudapi.NoCode}},
			{"cut", q.answer[:len(q.answer)-1], 200, "", cloudapi.Refusal{Status: 200, Code: cloudapi.NoCode}},
			{"another type", `"canary"`, 200, "", cloudapi.Refusal{Status: 200, Code: cloudapi.NoCode}},
		} {
			t.Run(name+": "+a.name, func(t *testing.T) {
				t.Parallel()
				got, err := q.ask(t.Context(), answering(t, q.uri, q.auth, a.status, a.answer))
				if a.refusal == (cloudapi.Refusal{}) {
					if err != nil || fmt.Sprintf("%+v", got) != a.want {
						t.Errorf("%+v, %v; want %s", got, err, a.want)
					}
					return
				}
				r, refused := errors.AsType[*cloudapi.Refusal](err)
				if !refused || *r != a.refusal || strings.Contains(err.Error(), "canary") {
					t.Errorf("%+v, %v; want %+v", got, err, a.refusal)
				}
			})
		}
		t.Run(name+": no server", func(t *testing.T) {
			t.Parallel()
			c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "canary\r\n\r\n", false) })
			_, err := q.ask(t.Context(), c)
			if _, refused := errors.AsType[*cloudapi.Refusal](err); err == nil || refused || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAccountOfANumber(t *testing.T) {
	t.Parallel()
	q := questions["number"]
	for entities, want := range map[string]string{
		``: "",
		`{"entity_type":"PHONE_NUMBER","id":"100"},{"entity_type":"WABA","id":"200"},{"entity_type":"BUSINESS","id":"300"},{"entity_type":"APP","id":"7"}`: "200",
	} {
		got, err := q.ask(t.Context(), answering(t, q.uri, q.auth, 200, `{"health_status":{"can_send_message":"AVAILABLE","entities":[`+entities+`]}}`))
		if n, ok := got.(cloudapi.Number); err != nil || !ok || n.Account() != want {
			t.Errorf("%s: %+v, %v, want %q", entities, got, err, want)
		}
	}
}

// An inactive subscription does not count.
func TestSubscriptionSwitchedOff(t *testing.T) {
	t.Parallel()
	q := questions["subscription"]
	got, err := q.ask(t.Context(), answering(t, q.uri, q.auth, 200, strings.ReplaceAll(q.answer, `"active":true`, `"active":false`)))
	if err != nil || !reflect.DeepEqual(got, cloudapi.Subscription{}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Without a token or a valid phone number id, the client makes no call.
func TestLookWithoutToken(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	c, asked := setup(t, func(http.ResponseWriter, *http.Request) {}, func(o *cloudapi.Options) {
		o.Token = func(string) (string, error) { return "", gone }
	})
	for name, ask := range map[string]func(number string) error{
		"number":  func(n string) error { _, err := c.Number(t.Context(), n); return err },
		"profile": func(n string) error { _, err := c.Profile(t.Context(), n); return err },
		"apps":    func(n string) error { _, err := c.Subscribed(t.Context(), n, "200"); return err },
		"token":   func(n string) error { _, err := c.Grant(t.Context(), n); return err },
	} {
		if err := ask("100"); !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
		if err := ask("../100"); err == nil || errors.Is(err, gone) {
			t.Errorf("%s without a number: %v", name, err)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d calls to Meta", n)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		date   []string
		status int
		answer string
		want   time.Time // zero: an error
	}{
		"refused":           {[]string{noon.Format(http.TimeFormat)}, 400, `{"error":{"code":2500}}`, noon},
		"answered":          {[]string{noon.Format(http.TimeFormat)}, 200, `{}`, noon},
		"a proxy's page":    {[]string{noon.Format(http.TimeFormat)}, 502, `<html>`, noon},
		"no date":           {nil, 200, `{}`, time.Time{}},
		"a date of its own": {[]string{"today"}, 200, `{}`, time.Time{}},
	} {
		c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v25.0/" || r.Header.Get("Authorization") != "" {
				t.Errorf("asked %s %v", r.URL, r.Header)
			}
			w.Header()["Date"] = tt.date
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.answer)
		})
		if got, err := c.Clock(t.Context()); !got.Equal(tt.want) || (err != nil) != tt.want.IsZero() {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "", false) })
	if _, err := c.Clock(t.Context()); err == nil {
		t.Error("without a server: no error")
	}
}

// A webhook is called as Meta does it: with the verify token and the challenge in the query, or the signature in the
// header. Redirects are not followed, and no error has these values.
func TestPlayMeta(t *testing.T) {
	t.Parallel()
	const elsewhere = "https://example.com/"
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		taken  bool
		status int // 0: an error
	}{
		"taken":      {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Query().Get("hub.challenge")) }, true, 200},
		"not echoed": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }, false, 200},
		"refused":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, false, 403},
		"redirected": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }, false, 302},
		"cut":        {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "9") }, false, 0},
		"not HTTP":   {func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "canary\r\n\r\n", false) }, false, 0},
	} {
		c, url := calling(t, tt.answer)
		taken, status, err := c.Handshake(t.Context(), url+"/hook?a=b", "canary-word", "1158201444")
		if taken != tt.taken || status != tt.status || (err != nil) != (tt.status == 0) || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("handshake, %s: %t %d %v", name, taken, status, err)
		}
		status, err = c.Notify(t.Context(), url+"/hook?a=b", "sha256=canary", `{"object":"x"}`)
		if status != tt.status || (err != nil) != (tt.status == 0) || err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("notification, %s: %d %v", name, status, err)
		}
		if _, _, err := c.Handshake(t.Context(), "://", "", ""); err == nil {
			t.Error("a handshake without a URL: no error")
		}
		if _, err := c.Notify(t.Context(), "://", "", ""); err == nil {
			t.Error("a notification without a URL: no error")
		}
	}
}

// calling returns a client, and the base URL of a webhook that it calls.
func calling(t *testing.T, answer http.HandlerFunc) (*cloudapi.Client, string) {
	t.Helper()
	var url string
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		right := r.URL.Path == "/hook" && q.Get("a") == "b" && r.Header.Get("Authorization") == ""
		if r.Method == "GET" {
			right = right && q.Get("hub.mode") == "subscribe" && q.Get("hub.verify_token") == "canary-word" && q.Get("hub.challenge") == "1158201444"
		} else {
			right = right && r.Header.Get(cloudapi.SignatureHeader) == "sha256=canary" && r.Header.Get("Content-Type") == "application/json" && r.ContentLength == 14
		}
		if !right {
			t.Errorf("asked %s %s %v", r.Method, r.URL, r.Header)
		}
		answer(w, r)
	}, func(o *cloudapi.Options) { url = o.BaseURL })
	return c, url
}
