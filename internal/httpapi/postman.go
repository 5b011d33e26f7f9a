package httpapi

import (
	"cmp"
	"regexp"
	"strings"
)

// The variables of the collection. They have the names of Meta's own collection, so its environments work here
// too. User-Access-Token is an API key of Sluice.
// https://www.postman.com/meta/whatsapp-business-platform
var postmanVariables = []object{
	{{"key", "Base-URL"}, {"value", "http://127.0.0.1:8080"}},
	{{"key", "User-Access-Token"}, {"value", ""}, {"description", "An API key of Sluice."}},
	{{"key", "Version"}, {"value", "v25.0"}},
	{{"key", "Phone-Number-ID"}, {"value", "106540352242922"}},
	{{"key", "Recipient-Phone-Number"}, {"value", "+15551234567"}},
	{{"key", "Media-ID"}, {"value", ""}},
	{{"key", "Message-ID"}, {"value", ""}},
}

// postmanExamples replaces values of the examples by variables.
var postmanExamples = strings.NewReplacer("106540352242922", "{{Phone-Number-ID}}", "+15551234567", "{{Recipient-Phone-Number}}")

// Postman returns the routes as a collection for Postman, in the format v2.1.
func (d Document) Postman() []byte {
	var folders []object
	for _, group := range d.groups() {
		var items []object
		for _, r := range d.Routes {
			if r.Group == group {
				items = append(items, object{{"name", r.Summary}, {"request", postmanRequest(r)}})
			}
		}
		folders = append(folders, object{{"name", group}, {"item", items}})
	}
	return indent(object{
		{"info", object{
			{"name", d.Title},
			{"description", d.Doc},
			{"schema", "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"},
		}},
		{"auth", object{{"type", "bearer"}, {"bearer", []object{{{"key", "token"}, {"value", "{{User-Access-Token}}"}, {"type", "string"}}}}}},
		{"variable", postmanVariables},
		{"item", folders},
	})
}

var pathPart = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

func postmanRequest(r Route) object {
	path := pathPart.ReplaceAllStringFunc(strings.TrimSuffix(r.Path, "{$}"), func(part string) string {
		for _, p := range r.Params {
			if p.In == "path" && "{"+p.Name+"}" == part {
				return "{{" + cmp.Or(p.Postman, p.Name) + "}}"
			}
		}
		return part
	})
	headers, query := []object{}, []object{}
	for _, p := range r.Params {
		one := object{{"key", p.Name}, {"value", postmanExamples.Replace(p.Example)}, {"description", p.Doc}, {"disabled", !p.Needed}}
		switch p.In {
		case "header":
			headers = append(headers, one)
		case "query":
			query = append(query, one)
		}
	}
	o := object{{"method", r.Method}}
	if r.Body != nil {
		headers = append(headers, object{{"key", "Content-Type"}, {"value", cmp.Or(r.Body.Media, "application/json")}})
		o = append(o, member{"body", object{{"mode", "raw"}, {"raw", postmanExamples.Replace(r.Body.Example)}}})
	}
	if r.Scope == "" {
		o = append(o, member{"auth", object{{"type", "noauth"}}})
	}
	return append(
		o,
		member{"header", headers},
		member{"url", object{
			{"raw", "{{Base-URL}}" + path},
			{"host", []string{"{{Base-URL}}"}},
			{"path", strings.Split(strings.TrimPrefix(path, "/"), "/")},
			{"query", query},
		}},
		member{"description", scoped(r)},
	)
}
