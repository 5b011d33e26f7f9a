package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Document describes an API.
type Document struct {
	Title  string
	Doc    string // Markdown: the introduction
	Server string // base URL of an example server
	More   string // Markdown: where further problems are described; may be empty
	Routes []Route
}

// OpenAPI returns the description as an OpenAPI 3.1 document, in JSON.
// https://spec.openapis.org/oas/v3.1.1.html
func (d Document) OpenAPI() []byte {
	s := newSchemas("#/components/schemas/")
	paths := d.paths(s)
	var tags []object
	for _, group := range d.groups() {
		tags = append(tags, object{{"name", group}})
	}
	return indent(object{
		{"openapi", "3.1.0"},
		{"info", object{{"title", d.Title}, {"version", "1"}, {"description", d.Doc}}},
		{"servers", []object{{{"url", d.Server}}}},
		{"security", []object{{{"key", []string{}}}}},
		{"tags", tags},
		{"paths", paths},
		{"components", object{
			{"securitySchemes", object{{"key", object{
				{"type", "http"}, {"scheme", "bearer"}, {"description", "An API key. `sluice key` makes one."},
			}}}},
			{"schemas", s.definitions()},
		}},
	})
}

// groups returns the headings in the order of the routes.
func (d Document) groups() (names []string) {
	for _, r := range d.Routes {
		if !slices.Contains(names, r.Group) {
			names = append(names, r.Group)
		}
	}
	return names
}

func (d Document) paths(s *schemas) (paths object) {
	for _, r := range d.Routes {
		operation := member{strings.ToLower(r.Method), operation(s, r)}
		path := openPath(r.Path)
		if i := slices.IndexFunc(paths, func(m member) bool { return m.name == path }); i >= 0 {
			paths[i].value = append(paths[i].value.(object), operation)
			continue
		}
		paths = append(paths, member{path, object{operation}})
	}
	return paths
}

// openPath returns a pattern of http.ServeMux as a path of OpenAPI, which has neither "..." nor "{$}".
func openPath(pattern string) string {
	return strings.ReplaceAll(strings.TrimSuffix(pattern, "{$}"), "...}", "}")
}

var pathName = regexp.MustCompile(`\{(\w+)`)

func operation(s *schemas, r Route) object {
	o := object{{"operationId", r.Name}, {"tags", []string{r.Group}}, {"summary", r.Summary}}
	if doc := scoped(r); doc != "" {
		o = append(o, member{"description", doc})
	}
	if r.Scope == "" {
		o = append(o, member{"security", []object{}})
	}
	if params := parameters(s, r); params != nil {
		o = append(o, member{"parameters", params})
	}
	if r.Body != nil {
		o = append(o, member{"requestBody", object{{"required", true}, {"content", r.Body.content(s)}}})
	}
	return append(o, member{"responses", responses(s, r)})
}

// scoped returns the text about a route, with the scope that it needs.
func scoped(r Route) string {
	if r.Scope == "" {
		return r.Doc
	}
	scope := "`" + r.Scope + "`"
	if r.Console {
		scope += " or `" + ScopeConsole + "`"
	}
	if r.Console || r.Scope == ScopeConsole {
		scope += " or `" + ScopeAdmin + "`"
	}
	return strings.TrimSpace(r.Doc + "\n\nThe API key needs the scope " + scope + ".")
}

func parameters(s *schemas, r Route) (all []object) {
	for _, p := range r.Params {
		schema := object{{"type", "string"}}
		if p.Type != nil {
			schema = s.of(reflect.TypeOf(p.Type))
		}
		o := object{
			{"name", p.Name},
			{"in", p.In},
			{"required", p.Needed || p.In == "path"},
			{"description", p.Doc},
			{"schema", schema},
		}
		if p.Example != "" {
			o = append(o, member{"example", p.Example})
		}
		all = append(all, o)
	}
	for _, m := range pathName.FindAllStringSubmatch(r.Path, -1) {
		if !slices.ContainsFunc(r.Params, func(p Param) bool { return p.In == "path" && p.Name == m[1] }) {
			panic("httpapi: " + r.Path + ": Params lacks the path parameter " + m[1])
		}
	}
	return all
}

func (b Body) content(s *schemas) object {
	c := content(s, b.Type)
	if b.Example != "" && json.Valid([]byte(b.Example)) {
		c = append(c, member{"example", json.RawMessage(b.Example)})
	} else if b.Example != "" {
		c = append(c, member{"example", b.Example})
	}
	return object{{cmp.Or(b.Media, "application/json"), c}}
}

func content(s *schemas, of any) object {
	if of == nil {
		return object{}
	}
	return object{{"schema", s.of(reflect.TypeOf(of))}}
}

func responses(s *schemas, r Route) (all object) {
	answers := r.answers()
	for i := 0; i < len(answers); i++ {
		status, docs := answers[i].Status, []string{answers[i].Doc}
		var media object
		for ; ; i++ { // one status can have several media types
			if a := answers[i]; a.Type != nil || a.Media != "" {
				media = append(media, member{cmp.Or(a.Media, "application/json"), content(s, a.Type)})
			}
			if i+1 == len(answers) || answers[i+1].Status != status {
				break
			}
			docs = append(docs, answers[i+1].Doc)
		}
		o := object{{"description", strings.Join(docs, " ")}}
		if media != nil {
			o = append(o, member{"content", media})
		}
		all = append(all, member{strconv.Itoa(status), o})
	}
	return all
}

// answers returns all answers of a route with its problems, in the order of the statuses.
func (r Route) answers() []Answer {
	all := slices.Clone(r.Answers)
	for _, p := range problems(r) {
		doc := "`" + strings.Join(p.codes, "`, `") + "`"
		all = append(all, Answer{Status: p.status, Doc: doc, Media: problemMedia, Type: Failure{}})
	}
	slices.SortStableFunc(all, func(a, b Answer) int { return cmp.Compare(a.Status, b.Status) })
	return all
}

// problemSet is the problems of a route with the same status.
type problemSet struct {
	status int
	codes  []string
}

func problems(r Route) (sets []problemSet) {
	for _, code := range r.codes() {
		if _, known := answers[code]; !known {
			panic(fmt.Sprintf("httpapi: %s %s: Codes has the unknown code %q", r.Method, r.Path, code))
		}
		status := Refuse(code).Status()
		i := slices.IndexFunc(sets, func(p problemSet) bool { return p.status == status })
		if i < 0 {
			i = len(sets)
			sets = append(sets, problemSet{status: status})
		}
		sets[i].codes = append(sets[i].codes, code)
	}
	slices.SortFunc(sets, func(a, b problemSet) int { return cmp.Compare(a.status, b.status) })
	return sets
}

// indent returns v as indented JSON. It does not escape HTML, so that links stay readable.
func indent(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // cannot happen: v has only types of this package
	}
	return b.Bytes()
}
