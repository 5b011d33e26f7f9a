package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/jsondoc"
)

// Route is one operation of an API: its handler and its description. The mux, the OpenAPI description, the page
// and the Postman collection are made from the same routes, so they cannot contradict each other.
type Route struct {
	Method  string   // "GET" (which serves HEAD too), "POST", ...
	Path    string   // a pattern of http.ServeMux: "/v1/messages/{id}"
	Name    string   // for generated clients: "getMessage"
	Group   string   // the heading of the description: "Messages"
	Summary string   // one short sentence
	Doc     string   // Markdown; may be empty
	Scope   string   // the scope that the API key must have; empty: no key is needed
	Console bool     // the scope ScopeConsole is enough too
	Params  []Param  // all parameters, without the header Authorization; other query parameters are refused, unless Foreign
	Body    *Body    // nil: no body
	Answers []Answer // all answers without problem documents
	Codes   []string // the problem codes of this route, without those that every route has
	Foreign bool     // its errors are not problem documents: Answers has them
	Handler http.HandlerFunc
}

// Param is a parameter of a request.
type Param struct {
	In      string // "path", "query" or "header"
	Name    string
	Doc     string
	Example string
	Type    any    // a value of its Go type; nil: a string; a slice: the parameter may come several times
	Needed  bool   // it is required; parameters in the path always are
	Postman string // the variable of Meta's Postman collection that it is; empty: none
}

// several reports whether the parameter may come several times.
func (p Param) several() bool { return p.Type != nil && reflect.TypeOf(p.Type).Kind() == reflect.Slice }

// Body describes the body of a request.
type Body struct {
	Media   string // empty: application/json
	Type    any    // a value of the Go type of the body, or of each line; nil: bytes
	Example string // a complete body
}

// Answer describes an answer of a route.
type Answer struct {
	Status int
	Doc    string // one short sentence
	Media  string // empty: application/json
	Type   any    // a value of the Go type of the body, or of each line; nil: bytes, or no body
}

// queryCodes are the problem codes of the query of every route, keyCodes those of every route that needs a key.
var (
	queryCodes = []string{"query_unknown", "query_invalid"}
	keyCodes   = []string{"unauthenticated", "api_key_revoked", "api_key_expired", "scope_missing", "header_duplicate"}
)

// codes returns all problem codes of the route.
func (r Route) codes() []string {
	switch {
	case r.Foreign:
		return r.Codes
	case r.Scope == "":
		return append(slices.Clone(queryCodes), r.Codes...)
	}
	return append(append(slices.Clone(queryCodes), keyCodes...), r.Codes...)
}

// checkQuery refuses parameters that the route does not have, and empty and repeated ones. If a misspelled
// filter or limit were ignored, the answer would have other data than requested.
func (r Route) checkQuery(raw string) Refusal {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return Refuse("query_invalid")
	}
	var refused Refusal
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(r.Params, func(p Param) bool { return p.In == "query" && p.Name == name })
		switch {
		case i < 0:
			refused = append(refused, Problem(jsondoc.PathName(name), "query_unknown"))
		case len(values[name]) > 1 && !r.Params[i].several() || slices.Contains(values[name], ""):
			refused = append(refused, Problem(name, "query_invalid"))
		}
	}
	return refused[:min(len(refused), maxProblems)]
}

// handler returns a handler that checks the query and then serves the route.
func (r Route) handler() http.HandlerFunc {
	if r.Foreign {
		return r.Handler
	}
	return func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery != "" {
			if refused := r.checkQuery(req.URL.RawQuery); len(refused) > 0 {
				refused.Write(w)
				return
			}
		}
		r.Handler(w, req)
	}
}

// Mux serves routes. It refuses other methods of their paths with the code method_not_allowed, and other paths
// with not_found. It panics when two routes conflict, as http.ServeMux does.
func Mux(routes []Route, refuse func(w http.ResponseWriter, code string)) *http.ServeMux {
	mux := http.NewServeMux()
	methods := map[string]bool{}
	for _, r := range routes {
		mux.HandleFunc(r.Method+" "+r.Path, r.handler())
		methods[r.Method] = true
		methods[http.MethodHead] = methods[http.MethodHead] || r.Method == http.MethodGet
	}
	all := slices.Sorted(maps.Keys(methods))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range all {
			other := http.Request{Method: method, URL: r.URL, Host: r.Host}
			if _, pattern := mux.Handler(&other); pattern != "/" {
				allow = append(allow, method)
			}
		}
		if allow == nil {
			refuse(w, "not_found")
			return
		}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		refuse(w, "method_not_allowed")
	})
	return mux
}
