package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Token is what Meta says of an access token.
type Token struct {
	Valid   bool
	Expires time.Time // zero: never
}

// Grant is a Token with what it is and what it may do. Of a token that is not valid Meta may
// tell no more than that.
type Grant struct {
	Token
	Expired bool     // why it is not valid
	Type    string   // "SYSTEM_USER", "USER"
	App     string   // id of the app that it was made for
	Scopes  []string // its permissions
}

// tokenExpired is the subcode of 190 for it:
// https://developers.facebook.com/docs/graph-api/guides/error-handling
const tokenExpired = 463

// DebugToken asks Meta about the access token of a number.
func (c *Client) DebugToken(ctx context.Context, number string) (Token, error) {
	g, err := c.Grant(ctx, number)
	return g.Token, err
}

// Grant asks Meta about the access token of a number. The token is sent in the query, for
// the Graph API has no other place for it; it is in no error of ours.
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
		return Grant{Expired: r.Subcode == tokenExpired}, nil // it asked with the token itself
	}
	switch {
	case err != nil:
		return Grant{}, fmt.Errorf("ask about access token: %w", err)
	case a.Data == nil:
		return Grant{}, errors.New("ask about access token: the answer does not describe it")
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
