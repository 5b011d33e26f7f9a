package graphsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// defaultVersion is the version of the Graph API that a path without one means: that of the app.
const defaultVersion = "v25.0"

// ownPaths are the first parts of the paths that have no version.
var ownPaths = []string{"", "_sim", "metrics", "whatsapp_business"}

// canonical returns r with its path as the routes have it. Like Meta, the simulator accepts a path without a version, with doubled
// slashes, and with a trailing slash.
func canonical(r *http.Request) *http.Request {
	parts := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })
	first := ""
	if len(parts) > 0 {
		first = parts[0]
	}
	if !versionForm.MatchString(first) && !slices.Contains(ownPaths, first) {
		parts = append([]string{defaultVersion}, parts...)
	}
	path := "/" + strings.Join(parts, "/")
	if path == r.URL.Path {
		return r
	}
	u := *r.URL
	u.Path, u.RawPath = path, ""
	r = r.WithContext(r.Context())
	r.URL = &u
	return r
}

// tokenOf returns the token of a call: from the header, the query, or a body that is JSON or an encoded form.
func tokenOf(w http.ResponseWriter, r *http.Request) string {
	if token := bearer(r); token != "" || r.ContentLength == 0 || r.ContentLength > maxBody {
		return token
	}
	if kind := mediaType(r); kind != "application/json" && kind != "application/x-www-form-urlencoded" {
		return ""
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return ""
	}
	p, _ := readParams(r.Header.Get("Content-Type"), body) // without parameters there is no token
	return p.text("access_token")
}

// bearer returns the token of a call, from the header or the query.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "OAuth") {
		return token
	}
	return r.URL.Query().Get("access_token")
}

func mediaType(r *http.Request) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // "" after an error
	return kind
}

// parameters are those of a call. The Graph API takes them from the query, from JSON or from a form.
type parameters map[string]any

// text returns a parameter as text, and "" for one that is absent or no text.
func (p parameters) text(name string) string {
	s, _ := p[name].(string)
	return s
}

// params reads the parameters of a call. It answers the call itself and returns false if the body cannot be read.
func (s *Sim) params(w http.ResponseWriter, r *http.Request) (parameters, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		s.deny(w, invalid("The request body is too large."))
		return nil, false
	}
	if err != nil {
		s.count(left)
		return nil, false
	}
	p, err := readParams(r.Header.Get("Content-Type"), body)
	if err != nil {
		s.deny(w, invalid("The request body is not valid JSON or a valid form."))
		return nil, false
	}
	for name, values := range r.URL.Query() {
		if _, given := p[name]; !given {
			p[name] = decoded(values[0])
		}
	}
	delete(p, "access_token")
	return p, true
}

// readParams reads the parameters of a body. Without a type the body is JSON, and without a body there are none.
func readParams(contentType string, body []byte) (parameters, error) {
	p := parameters{}
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case len(bytes.TrimSpace(body)) == 0:
	case kind == "application/x-www-form-urlencoded":
		var fields url.Values
		fields, err = url.ParseQuery(string(body))
		for name, values := range fields {
			p[name] = decoded(values[0])
		}
		return p, err
	case kind == "multipart/form-data" && err == nil:
		return p, readFields(bytes.NewReader(body), params["boundary"], func(name string, value []byte) { p[name] = decoded(string(value)) })
	default:
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		return p, d.Decode(&p)
	}
	return p, nil
}

// readFields reads the fields of a multipart form, files included.
func readFields(body io.Reader, boundary string, field func(name string, value []byte)) error {
	parts := multipart.NewReader(body, boundary)
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		value, err := io.ReadAll(p)
		if err != nil {
			return err
		}
		field(p.FormName(), value)
	}
}

// decoded returns the value of a field: objects, arrays and truth values are JSON in forms.
func decoded(text string) any {
	var value any
	if text == "true" || text == "false" || strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(&value) == nil {
			return value
		}
	}
	return text
}
