package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sluice/internal/jsondoc"
)

// Route is one operation: how it is served, and what is written of it. The mux, the OpenAPI
// description, the page and the collection for Postman are all made from the same routes, so
// that none can tell of what another has not.
type Route struct {
	Method  string   // "GET", which answers HEAD too, "POST", ...
	Path    string   // as http.ServeMux has it: "/v1/messages/{id}"
	Name    string   // for generated clients: "getMessage"
	Group   string   // the heading it stands under: "Messages"
	Summary string   // half a line
	Doc     string   // Markdown; may be empty
	Scope   string   // what the caller's API key must allow; empty: no key is asked for
	Params  []Param  // beside those that all routes have; of a query no others are taken, unless Foreign
	Body    *Body    // nil: it takes none
	Answers []Answer // all but problems
	Codes   []string // of the problems that it may answer, beside those of every route with a key
	Foreign bool     // its errors have not our shape: Answers has them too
	Handler http.HandlerFunc
}

// Param is a part of a request beside its body.
type Param struct {
	In      string // "path", "query" or "header"
	Name    string
	Doc     string
	Example string
	Type    any    // a value of its Go type; nil: a string
	Needed  bool   // as parameters in the path always are
	Postman string // the variable of Meta's Postman collections that it is; empty: none
}

// Body is what a request carries.
type Body struct {
	Media   string // empty: application/json
	Type    any    // a value of the Go type it is read into, or that each line is; nil: bytes
	Example string // written out
}

// Answer is one that a route may give.
type Answer struct {
	Status int
	Doc    string // half a line
	Media  string // empty: application/json
	Type   any    // a value of the Go type it is written from, or that each line is; nil: bytes, or none
}

// queryCodes are the problems of every route's query, keyCodes those of every route that asks for
// a key.
var (
	queryCodes = []string{"query_unknown", "query_invalid"}
	keyCodes   = []string{"unauthenticated", "api_key_revoked", "api_key_expired", "scope_missing", "header_duplicate"}
)

// codes returns all codes of the route's problems.
func (r Route) codes() []string {
	switch {
	case r.Foreign:
		return r.Codes
	case r.Scope == "":
		return append(slices.Clone(queryCodes), r.Codes...)
	}
	return append(append(slices.Clone(queryCodes), keyCodes...), r.Codes...)
}

// checkQuery refuses a query that says something the route does not take: to ignore a filter or
// a limit would answer another question than the one that was asked.
func (r Route) checkQuery(raw string) Refusal {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return Refuse("query_invalid")
	}
	var refused Refusal
	for _, name := range slices.Sorted(maps.Keys(values)) {
		known := slices.ContainsFunc(r.Params, func(p Param) bool { return p.In == "query" && p.Name == name })
		switch {
		case !known:
			refused = append(refused, Problem(jsondoc.PathName(name), "query_unknown"))
		case len(values[name]) > 1 || values.Get(name) == "":
			refused = append(refused, Problem(name, "query_invalid"))
		}
	}
	return refused[:min(len(refused), maxProblems)]
}

// handler serves the route, after a look at the query.
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

// Mux serves routes and nothing else: of a path that is one of them it refuses the methods that
// it does not take with the code method_not_allowed, all other paths with not_found. It panics
// when two routes contradict each other, as http.ServeMux does.
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
