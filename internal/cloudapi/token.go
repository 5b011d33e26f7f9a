package cloudapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Token is what Meta says of an access token.
type Token struct {
	Valid   bool
	Expires time.Time // zero: never
}

// DebugToken asks Meta about the access token of a number. The token rides in the query, for
// the Graph API has no other place for it; it is in no error of ours.
// https://developers.facebook.com/docs/graph-api/reference/debug_token/
func (c *Client) DebugToken(ctx context.Context, number string) (Token, error) {
	token, err := c.tokenOf(number)
	if err != nil {
		return Token{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"debug_token?input_token="+url.QueryEscape(token), nil)
	if err != nil {
		return Token{}, errors.New("graph base URL cannot be used")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", "sluice")
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return Token{}, fmt.Errorf("ask about access token: %w", scrub(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Token{}, fmt.Errorf("ask about access token: %w", scrub(err))
	}
	var a struct {
		Data *struct {
			Valid   bool  `json:"is_valid"`
			Expires int64 `json:"expires_at"`
			Access  int64 `json:"data_access_expires_at"`
		} `json:"data"`
		Error *graphError `json:"error"`
	}
	switch err := json.Unmarshal(body, &a); {
	case err == nil && a.Error != nil && a.Error.Code != nil && *a.Error.Code == 190:
		return Token{}, nil // it asked with the token itself
	case err != nil || a.Data == nil:
		return Token{}, fmt.Errorf("ask about access token: HTTP %d", resp.StatusCode)
	}
	t := Token{Valid: a.Data.Valid}
	for _, at := range []int64{a.Data.Expires, a.Data.Access} {
		if at > 0 && (t.Expires.IsZero() || time.Unix(at, 0).Before(t.Expires)) {
			t.Expires = time.Unix(at, 0)
		}
	}
	return t, nil
}
