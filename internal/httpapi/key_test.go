package httpapi_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"sluice/internal/httpapi"
)

// TestAs: a request of this process has the rights that the API key has in the configuration now, whatever the context says.
func TestAs(t *testing.T) {
	t.Parallel()
	key := httpapi.Key{Name: "a", Hash: httpapi.HashToken("x"), Scopes: []string{httpapi.ScopeAdmin}, Numbers: []string{"7"}}
	wider := key
	wider.Scopes, wider.Numbers = httpapi.Scopes(), []string{httpapi.AllNumbers}
	revoked, expired, changed := key, key, key
	revoked.Revoked, expired.Expires, changed.Hash = true, time.Now(), httpapi.HashToken("y")
	for name, c := range map[string]struct {
		keys  httpapi.Keys
		as    httpapi.Key
		scope string
		want  string
	}{
		"its scope":                    {httpapi.FixedKeys(key), key, httpapi.ScopeAdmin, ""},
		"the scope that is part of it": {httpapi.FixedKeys(key), key, httpapi.ScopeConsole, ""},
		"another scope":                {httpapi.FixedKeys(key), key, httpapi.ScopeSend, "scope_missing"},
		"a scope it claims":            {httpapi.FixedKeys(key), wider, httpapi.ScopeSend, "scope_missing"},
		"revoked":                      {httpapi.FixedKeys(revoked), key, httpapi.ScopeAdmin, "api_key_revoked"},
		"expired":                      {httpapi.FixedKeys(expired), key, httpapi.ScopeAdmin, "api_key_expired"},
		"another token":                {httpapi.FixedKeys(changed), key, httpapi.ScopeAdmin, "unauthenticated"},
		"not configured":               {nil, key, httpapi.ScopeAdmin, "unauthenticated"},
		"none":                         {httpapi.FixedKeys(key), httpapi.Key{}, httpapi.ScopeAdmin, "unauthenticated"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		got, refused := c.keys.Authorize(r.WithContext(httpapi.As(r.Context(), c.as)), c.scope)
		code := ""
		if refused != nil {
			code = refused[0].Code
		}
		if code != c.want || code == "" && got.Covers("8") {
			t.Errorf("%s: %q %+v, want %q", name, code, got, c.want)
		}
	}
}
