package cloudapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/internal/version"
)

// Refusal is an error answer of the Graph API.
type Refusal struct {
	Status  int // of HTTP
	Code    int // NoCode: there is none, or it cannot be read
	Subcode int
}

// Error returns status and code.
func (r *Refusal) Error() string {
	if r.Code == NoCode {
		return fmt.Sprintf("HTTP %d", r.Status)
	}
	return fmt.Sprintf("HTTP %d, code %d", r.Status, r.Code)
}

// get reads the answer to a GET of a path into a value. Its error is a Refusal if there was an answer.
func (c *Client) get(ctx context.Context, token, path string, into any) error {
	_, err := c.fetch(ctx, token, path, "", into)
	return err
}

// fetched describes an answer.
type fetched struct {
	at        time.Time // its date; zero: it has none
	etag      string    // empty: it has none
	unchanged bool      // it has no content: the ETag of the request is still that of the content
	size      int       // bytes
}

// fetch is get, and also describes the answer. With an ETag the answer may be without content.
func (c *Client) fetch(ctx context.Context, token, path, etag string, into any) (a fetched, err error) {
	return c.exchange(ctx, http.MethodGet, token, path, etag, nil, into)
}

// exchange makes a call with a JSON body, which may be nil, and reads its answer as fetch does.
func (c *Client) exchange(ctx context.Context, method, token, path, etag string, sent io.Reader, into any) (a fetched, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, sent)
	if err != nil {
		return a, errors.New("graph base URL cannot be used")
	}
	if sent != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	req.Header.Set("User-Agent", version.UserAgent)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return a, scrub(err)
	}
	defer resp.Body.Close()
	a.at, _ = http.ParseTime(resp.Header.Get("Date"))
	a.etag = resp.Header.Get("ETag")
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList))
	a.size = len(body)
	if err != nil {
		return a, scrub(err)
	}
	if etag != "" && resp.StatusCode == http.StatusNotModified {
		a.unchanged = true
		return a, nil
	}
	if e := readAnswer(body).err; e != nil && e.coded {
		return a, &Refusal{resp.StatusCode, e.code, e.subcode}
	}
	if !success(resp.StatusCode) || json.Unmarshal(body, into) != nil {
		return a, &Refusal{Status: resp.StatusCode, Code: NoCode}
	}
	return a, nil
}

// Clock returns Meta's time, to the second. An error means that Meta does not answer.
func (c *Client) Clock(ctx context.Context) (time.Time, error) {
	var nothing json.RawMessage
	a, err := c.fetch(ctx, "", "", "", &nothing)
	if _, answered := errors.AsType[*Refusal](err); answered {
		err = nil // without a token every answer is an error
	}
	if err == nil && a.at.IsZero() {
		err = errors.New("graph: the answer has no date")
	}
	return a.at, err
}

// Number is Meta's description of a phone number. The values are Meta's, and Meta may add new ones.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status
type Number struct {
	Status     string `json:"status"`         // "CONNECTED"
	Quality    string `json:"quality_rating"` // "GREEN"
	NameStatus string `json:"name_status"`    // "APPROVED"
	Platform   string `json:"platform_type"`  // "CLOUD_API"
	Mode       string `json:"account_mode"`   // "LIVE", "SANDBOX"
	OnBizApp   bool   `json:"is_on_biz_app"`  // people also use it in the WhatsApp Business app
	Throughput struct {
		Level string `json:"level"` // "STANDARD", "HIGH"
	} `json:"throughput"`
	Limit     string   `json:"whatsapp_business_manager_messaging_limit"` // of its portfolio: "TIER_10K"
	Callbacks struct { // where Meta sends its webhooks
		App     string `json:"application"`
		Account string `json:"whatsapp_business_account"` // empty: there is no override
		Number  string `json:"phone_number"`              // the same
	} `json:"webhook_configuration"`
	Health struct {
		CanSend  string `json:"can_send_message"` // "AVAILABLE", "LIMITED", "BLOCKED"
		Entities []struct {
			Type   string `json:"entity_type"` // "PHONE_NUMBER", "WABA", "BUSINESS", "APP"
			ID     string `json:"id"`
			Errors []struct {
				Code     int    `json:"error_code"`
				What     string `json:"error_description"`
				Solution string `json:"possible_solution"`
			} `json:"errors"`
		} `json:"entities"`
	} `json:"health_status"`
}

// Registered reports whether the number is registered for the Cloud API and in a state in which it sends. Meta may flag a number
// that still sends.
func (n Number) Registered() bool {
	return n.Platform == "CLOUD_API" && (n.Status == "CONNECTED" || n.Status == "FLAGGED")
}

// CanSend reports whether Meta sends messages of the number.
func (n Number) CanSend() bool { return n.Registered() && n.Health.CanSend != "BLOCKED" }

// Account returns the id of the WhatsApp Business Account of the number, from the health status. It is empty if it
// is unknown.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/health-status
func (n Number) Account() string { return n.entity("WABA") }

// Portfolio returns the id of the business portfolio that owns the account, from the health status. It is empty if it is
// unknown.
func (n Number) Portfolio() string { return n.entity("BUSINESS") }

func (n Number) entity(kind string) string {
	for _, e := range n.Health.Entities {
		if e.Type == kind {
			return e.ID
		}
	}
	return ""
}

// Number returns Meta's description of a phone number.
func (c *Client) Number(ctx context.Context, number string) (Number, error) {
	var n Number
	token, err := c.tokenOf(number)
	if err == nil {
		err = c.get(ctx, token, number+"?fields=status,quality_rating,name_status,platform_type,account_mode,is_on_biz_app,throughput,whatsapp_business_manager_messaging_limit,webhook_configuration,health_status", &n)
	}
	return n, err
}

// Owner returns the WhatsApp Business Account of a number, and the business portfolio that owns it; empty: Meta does not say.
func (c *Client) Owner(ctx context.Context, number string) (account, portfolio string, err error) {
	var n Number
	token, err := c.tokenOf(number)
	if err == nil {
		err = c.get(ctx, token, number+"?fields=health_status", &n)
	}
	return n.Account(), n.Portfolio(), err
}

// Subscribed returns the ids of the apps that are subscribed to an account. It uses the token of a number.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/subscribed_apps
func (c *Client) Subscribed(ctx context.Context, number, account string) (apps []string, err error) {
	token, err := c.tokenOf(number)
	if err != nil {
		return nil, err
	}
	var a struct {
		Data []struct {
			App struct {
				ID string `json:"id"`
			} `json:"whatsapp_business_api_data"`
		} `json:"data"`
	}
	err = c.get(ctx, token, account+"/subscribed_apps", &a)
	for _, one := range a.Data {
		apps = append(apps, one.App.ID)
	}
	return apps, err
}

// Subscription is the webhook subscription of an app to WhatsApp.
type Subscription struct {
	Callback string // the URL; empty: there is no subscription
	Fields   []string
}

// Subscription returns the webhook subscription of an app. It uses the app secret. A Refusal means that the secret is
// wrong. https://developers.facebook.com/docs/graph-api/reference/app/subscriptions
func (c *Client) Subscription(ctx context.Context, app, secret string) (Subscription, error) {
	var a struct {
		Data []struct {
			Object   string `json:"object"`
			Callback string `json:"callback_url"`
			Active   bool   `json:"active"`
			Fields   []struct {
				Name string `json:"name"`
			} `json:"fields"`
		} `json:"data"`
	}
	err := c.get(ctx, app+"|"+secret, app+"/subscriptions", &a)
	var s Subscription
	for _, one := range a.Data {
		if one.Object == whatsappObject && one.Active {
			s.Callback = one.Callback
			for _, f := range one.Fields {
				s.Fields = append(s.Fields, f.Name)
			}
		}
	}
	return s, err
}

// Handshake calls a webhook URL as Meta does before it sends webhooks. It reports whether the verify token was
// accepted, and the HTTP status.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/create-webhook-endpoint
func (c *Client) Handshake(ctx context.Context, to, verifyToken, challenge string) (accepted bool, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return false, 0, errors.New("webhook URL cannot be used")
	}
	q := req.URL.Query()
	q.Set("hub.mode", "subscribe")
	q.Set("hub.verify_token", verifyToken)
	q.Set("hub.challenge", challenge)
	req.URL.RawQuery = q.Encode()
	echo, status, err := c.call(req)
	return status == http.StatusOK && echo == challenge, status, err
}

// Notify sends a webhook as Meta does, and returns the HTTP status of the answer.
func (c *Client) Notify(ctx context.Context, to, signature string, body string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return 0, errors.New("webhook URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(SignatureHeader, signature)
	_, status, err = c.call(req)
	return status, err
}

// call makes a call to a webhook. It does not follow redirects, like Meta.
func (c *Client) call(req *http.Request) (answer string, status int, err error) {
	ctx, cancel := context.WithTimeout(req.Context(), c.timeout)
	defer cancel()
	resp, err := c.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return "", 0, plain(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxObject))
	if err != nil {
		return "", 0, plain(err)
	}
	return string(b), resp.StatusCode, nil
}
