package intake

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"sluice/internal/httpapi"
	"sluice/internal/jsondoc"
)

// tokenParameter is the parameter in which Meta accepts an access token, in the query and in bodies.
const tokenParameter = "access_token"

// withToken returns r with the token of the caller in the header Authorization, wherever Meta accepts it: with the
// scheme OAuth, in the query, or in a body that is JSON or a form. The token is removed from the query and from the body.
// The header decides if there are several.
func withToken(w http.ResponseWriter, r *http.Request) (*http.Request, refusal) {
	given := r.Header.Values("Authorization")
	query := strings.Contains(r.URL.RawQuery, tokenParameter)
	scheme, rest, _ := strings.Cut(strings.Join(given, ","), " ")
	oauth := len(given) == 1 && strings.EqualFold(scheme, "OAuth")
	if len(given) == 1 && !query && !oauth { // almost always
		_, refused := takeFromBody(w, r, "")
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
	token, refused := takeFromBody(w, r, token)
	if len(given) == 0 && token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r, refused
}

// takeFromBody removes the token from a body in which Meta accepts it. Without one it returns the given token.
func takeFromBody(w http.ResponseWriter, r *http.Request, token string) (string, refusal) {
	boundary := multipartBoundary(r.Header)
	switch {
	case r.ContentLength == 0:
		return token, nil
	case isForm(r.Header):
		return takeFromForm(w, r, token)
	case boundary != "":
		return takeFromMultipart(r, boundary, token)
	case httpapi.CheckMedia(r.Header, "application/json") == nil:
		return takeFromJSON(w, r, token)
	}
	return token, nil
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

// formStart is how much of a multipart form is read to find the token. The media is not read: in a form that has the token
// after a file, the token is not found.
const formStart = 64 << 10

// multipartBoundary returns the boundary of a multipart form; empty: the body is not declared as one.
func multipartBoundary(h http.Header) string {
	kind, parameters, _ := mime.ParseMediaType(h.Get("Content-Type")) // after an error kind is empty
	if kind != multipartMedia {
		return ""
	}
	return parameters["boundary"]
}

// takeFromMultipart removes the token from the start of a multipart form. Everything else of the body stays as it is.
// Without one it returns the given token.
func takeFromMultipart(r *http.Request, boundary, token string) (string, refusal) {
	start, err := io.ReadAll(io.LimitReader(r.Body, formStart))
	if err != nil {
		return "", httpapi.Unread(err)
	}
	delimiter := "\r\n--" + boundary
	// The first part begins without a line before it, and the last one may be incomplete.
	parts := strings.Split("\r\n"+string(start), delimiter)
	kept := parts[:0]
	for i, part := range parts {
		if i > 0 && i < len(parts)-1 {
			if found := tokenPart(delimiter[2:]+part+delimiter+"--", boundary); found != "" {
				if token == "" {
					token = found
				}
				if r.ContentLength > 0 {
					r.ContentLength -= int64(len(delimiter) + len(part))
				}
				continue
			}
		}
		kept = append(kept, part)
	}
	rest := strings.TrimPrefix(strings.Join(kept, delimiter), "\r\n")
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(rest), r.Body), r.Body}
	return token, nil
}

// tokenPart returns the token in a form with one part; empty: the part has another name.
func tokenPart(form, boundary string) string {
	part, err := multipart.NewReader(strings.NewReader(form), boundary).NextPart()
	if err != nil || part.FormName() != tokenParameter || part.FileName() != "" {
		return ""
	}
	token, err := io.ReadAll(part)
	if err != nil {
		return ""
	}
	return string(token)
}

func setBody(r *http.Request, text []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}
