package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Token is the validity of an access token.
type Token struct {
	Valid   bool
	Expires time.Time // zero: never
}

// Grant is a Token with its type and permissions. For an invalid token Meta may return the validity only.
type Grant struct {
	Token
	Expired bool     // it is invalid because it expired
	Type    string   // "SYSTEM_USER", "USER"
	App     string   // the id of its app
	Scopes  []string // its permissions
}

// Permissions are the permissions that an access token of Sluice needs.
// https://developers.facebook.com/docs/whatsapp/business-management-api/get-started
var Permissions = []string{"whatsapp_business_messaging", "whatsapp_business_management"}

// tokenExpired is the subcode of 190 for an expired token:
// https://developers.facebook.com/docs/graph-api/guides/error-handling
const tokenExpired = 463

// DebugToken returns the validity of the access token of a number, as Meta says.
func (c *Client) DebugToken(ctx context.Context, number string) (Token, error) {
	g, err := c.Grant(ctx, number)
	return g.Token, err
}

// Grant returns Meta's description of the access token of a number. The token is in the query of the call, because the
// Graph API needs it there. No error of Grant has the token.
// https://developers.facebook.com/docs/graph-api/reference/debug_token/
func (c *Client) Grant(ctx context.Context, number string) (Grant, error) {
	token, err := c.tokenOf(number)
	if err != nil {
		return Grant{}, err
	}
	var a struct {
		Data *struct {
			Valid   bool     `json:"is_valid"`
			Expires int64    `json:"expires_at"`
			Access  int64    `json:"data_access_expires_at"`
			Type    string   `json:"type"`
			App     string   `json:"app_id"`
			Scopes  []string `json:"scopes"`
			Error   struct {
				Subcode int `json:"subcode"`
			} `json:"error"`
		} `json:"data"`
	}
	err = c.get(ctx, token, "debug_token?input_token="+url.QueryEscape(token), &a)
	if r, ok := errors.AsType[*Refusal](err); ok && r.Code == 190 {
		return Grant{Expired: r.Subcode == tokenExpired}, nil // the call itself uses the token
	}
	switch {
	case err != nil:
		return Grant{}, fmt.Errorf("read access token from Meta: %w", err)
	case a.Data == nil:
		return Grant{}, errors.New("read access token from Meta: the answer has no data")
	}
	g := Grant{
		Token: Token{Valid: a.Data.Valid}, Expired: a.Data.Error.Subcode == tokenExpired,
		Type: a.Data.Type, App: a.Data.App, Scopes: a.Data.Scopes,
	}
	for _, at := range []int64{a.Data.Expires, a.Data.Access} {
		if at > 0 && (g.Expires.IsZero() || time.Unix(at, 0).Before(g.Expires)) {
			g.Expires = time.Unix(at, 0)
		}
	}
	return g, nil
}
