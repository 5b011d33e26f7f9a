package intake

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"sluice/internal/httpapi"
	"sluice/internal/jsondoc"
)

// tokenParameter is the parameter in which Meta accepts an access token, in the query and in bodies.
const tokenParameter = "access_token"

// withToken returns r with the token of the caller in the header Authorization, wherever Meta accepts it: with the
// scheme OAuth, in the query, or in a body that is JSON or an urlencoded form. The token is removed from the query and
// from the body. The header decides if there are several.
func withToken(w http.ResponseWriter, r *http.Request) (*http.Request, refusal) {
	given := r.Header.Values("Authorization")
	query := strings.Contains(r.URL.RawQuery, tokenParameter)
	form := isForm(r.Header)
	scheme, rest, _ := strings.Cut(strings.Join(given, ","), " ")
	oauth := len(given) == 1 && strings.EqualFold(scheme, "OAuth")
	object := r.ContentLength != 0 && httpapi.CheckMedia(r.Header, "application/json") == nil
	if len(given) == 1 && !query && !form && !oauth { // almost always
		if !object {
			return r, nil
		}
		_, refused := takeFromJSON(w, r, "")
		return r, refused
	}
	r = r.Clone(r.Context())
	var token string
	if oauth {
		r.Header.Set("Authorization", "Bearer "+rest)
	}
	if values := r.URL.Query(); query && values.Has(tokenParameter) {
		token = values.Get(tokenParameter)
		values.Del(tokenParameter)
		r.URL.RawQuery = values.Encode()
	}
	var refused refusal
	if form {
		token, refused = takeFromForm(w, r, token)
	} else if object {
		token, refused = takeFromJSON(w, r, token)
	}
	if len(given) == 0 && token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r, refused
}

// isForm reports whether a body is declared as an urlencoded form.
func isForm(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // after an error kind is empty
	return kind == formMedia
}

// takeFromForm removes the token from an urlencoded form. Without one it returns the given token.
func takeFromForm(w http.ResponseWriter, r *http.Request, token string) (string, refusal) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", httpapi.Unread(err)
	}
	values, err := url.ParseQuery(string(text))
	if err != nil {
		return "", graphRefusal("form_invalid")
	}
	if values.Has(tokenParameter) {
		if token == "" {
			token = values.Get(tokenParameter)
		}
		values.Del(tokenParameter)
		text = []byte(values.Encode())
	}
	setBody(r, text)
	return token, nil
}

// takeFromJSON removes the token from a JSON object. Without one it returns the given token. A body that is not an object stays
// as it is: the handler refuses it.
func takeFromJSON(w http.ResponseWriter, r *http.Request, token string) (string, refusal) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", httpapi.Unread(err)
	}
	var d jsondoc.Doc
	if bytes.Contains(text, []byte(tokenParameter)) && d.Read(string(text)) == nil && d.Root().Kind() == jsondoc.Object {
		if token == "" {
			token, _ = d.Root().Get(tokenParameter).Text()
		}
		text = d.Root().AppendWithout(nil, tokenParameter)
	}
	setBody(r, text)
	return token, nil
}

func setBody(r *http.Request, text []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}
