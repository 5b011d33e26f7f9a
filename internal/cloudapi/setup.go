package cloudapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// ExchangeCode exchanges the code of an Embedded Signup for the access token of the business, once. A code is valid for 30 s. The
// app secret and the code are in the query of the call, because the Graph API needs them there. No error has them.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/embedded-signup/onboarding-customers-as-a-solution-partner
func (c *Client) ExchangeCode(ctx context.Context, appID, appSecret, code string) (token string, expires time.Time, err error) {
	query := url.Values{"client_id": {appID}, "client_secret": {appSecret}, "code": {code}}
	var a struct {
		Token string `json:"access_token"`
		In    int64  `json:"expires_in"` // seconds; absent: never
	}
	if err := c.get(ctx, "", "oauth/access_token?"+query.Encode(), &a); err != nil {
		return "", time.Time{}, fmt.Errorf("exchange the code: %w", err)
	}
	if a.Token == "" {
		return "", time.Time{}, errors.New("exchange the code: the answer has no access token")
	}
	if a.In > 0 {
		expires = time.Now().Add(time.Duration(a.In) * time.Second)
	}
	return a.Token, expires, nil
}

// NumbersOf returns the ids of the phone numbers of an account.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/phone_numbers/
func (c *Client) NumbersOf(ctx context.Context, number, account string) (ids []string, err error) {
	token, err := c.tokenOf(number)
	after := ""
	for err == nil {
		var a struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
			Paging struct {
				Next    string `json:"next"`
				Cursors struct {
					After string `json:"after"`
				} `json:"cursors"`
			} `json:"paging"`
		}
		err = c.get(ctx, token, account+"/phone_numbers?fields=id&limit=100&after="+url.QueryEscape(after), &a)
		for _, one := range a.Data {
			ids = append(ids, one.ID)
		}
		if a.Paging.Next == "" || a.Paging.Cursors.After == after {
			break
		}
		after = a.Paging.Cursors.After
	}
	return ids, err
}

// Callback is a URL to which Meta sends webhooks in place of the app's, with the verify token for its handshake. The zero value
// is the app's own URL.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/override
type Callback struct {
	URL         string `json:"override_callback_uri"`
	VerifyToken string `json:"verify_token,omitempty"`
}

// Subscribe subscribes the app of the number's access token to the webhooks of an account. Meta makes the handshake with a
// callback before it answers. Without one an earlier override of the account ends.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/subscribed_apps
func (c *Client) Subscribe(ctx context.Context, number, account string, to Callback) error {
	if to.URL == "" {
		return c.set(ctx, number, account+"/subscribed_apps", nil)
	}
	return c.set(ctx, number, account+"/subscribed_apps", to)
}

// SetCallback sets the callback of a number, or removes it.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/override
func (c *Client) SetCallback(ctx context.Context, number string, to Callback) error {
	return c.set(ctx, number, number, map[string]any{"webhook_configuration": to})
}

// Register registers a number for the Cloud API with its two-step verification PIN, or sets the PIN if it has none. Meta accepts ten
// calls in 72 hours.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-phone-number/register-api
func (c *Client) Register(ctx context.Context, number, pin string) error {
	return c.set(ctx, number, number+"/register", map[string]string{"messaging_product": "whatsapp", "pin": pin})
}

// Deregister ends the registration of a number. It counts for the limit of Register.
func (c *Client) Deregister(ctx context.Context, number string) error {
	return c.set(ctx, number, number+"/deregister", map[string]string{"messaging_product": "whatsapp"})
}

// RequestCode lets Meta send a verification code to the number, by "SMS" or "VOICE", in a language like "en_US".
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status/request_code/
func (c *Client) RequestCode(ctx context.Context, number, method, language string) error {
	return c.set(ctx, number, number+"/request_code", map[string]string{"code_method": method, "language": language})
}

// VerifyCode verifies a number by the code that it received.
func (c *Client) VerifyCode(ctx context.Context, number, code string) error {
	return c.set(ctx, number, number+"/verify_code", map[string]string{"code": code})
}

// SetPIN sets the two-step verification PIN of a number: six digits.
func (c *Client) SetPIN(ctx context.Context, number, pin string) error {
	return c.set(ctx, number, number, map[string]string{"pin": pin})
}

// set makes a POST with the access token of a number, and reads whether it succeeded. Its error is a Refusal if there was an
// answer.
func (c *Client) set(ctx context.Context, number, path string, body any) error {
	token, err := c.tokenOf(number)
	if err != nil {
		return err
	}
	return c.change(ctx, token, path, body)
}

// change makes a POST with a JSON body, which may be nil, and reads whether it succeeded.
func (c *Client) change(ctx context.Context, token, path string, body any) (err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	var a struct {
		Success bool `json:"success"`
	}
	if _, err = c.exchange(ctx, http.MethodPost, token, path, "", bytes.NewReader(text), &a); err == nil && !a.Success {
		err = errors.New("graph: the answer does not say that it succeeded")
	}
	return err
}
