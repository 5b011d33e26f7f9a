package httpapi

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

// Markdown returns the description as a page.
func (d Document) Markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n<!-- Made from the table of routes by: make docs -->\n\n%s\n", d.Title, d.Doc)
	s := newSchemas("")
	for _, group := range d.groups() {
		fmt.Fprintf(&b, "\n## %s\n", group)
		for _, r := range d.Routes {
			if r.Group == group {
				pageRoute(&b, s, r)
			}
		}
	}
	s.of(reflect.TypeFor[Failure]())
	b.WriteString("\n## Objects\n\nMembers marked ° may be absent.\n")
	for i := 0; i < len(s.order); i++ {
		pageShape(&b, s, s.order[i])
	}
	pageProblems(&b, d)
	return b.Bytes()
}

func pageRoute(b *bytes.Buffer, s *schemas, r Route) {
	fmt.Fprintf(b, "\n### `%s %s`\n\n%s", r.Method, openPath(r.Path), r.Summary)
	if doc := scoped(r); doc != "" {
		fmt.Fprintf(b, " %s", doc)
	} else {
		b.WriteString(" No API key is needed.")
	}
	b.WriteString("\n")
	if len(r.Params) > 0 {
		b.WriteString("\n| parameter | in | meaning | example |\n| --- | --- | --- | --- |\n")
	}
	for _, p := range r.Params {
		fmt.Fprintf(b, "| `%s` | %s | %s | `%s` |\n", p.Name, p.In, p.Doc, p.Example)
	}
	if r.Body != nil {
		fmt.Fprintf(b, "\nBody: `%s`%s\n", cmp.Or(r.Body.Media, "application/json"), shapeOf(s, r.Body.Type))
		if r.Body.Example != "" {
			fmt.Fprintf(b, "\n```json\n%s\n```\n", strings.TrimSpace(r.Body.Example))
		}
	}
	b.WriteString("\n| status | meaning | body |\n| --- | --- | --- |\n")
	for _, a := range r.answers() {
		fmt.Fprintf(b, "| %d | %s |%s |\n", a.Status, a.Doc, shapeOf(s, a.Type))
	}
}

// shapeOf returns the name of the type of a body, with a link to its description.
func shapeOf(s *schemas, of any) string {
	if of == nil {
		return ""
	}
	t := reflect.TypeOf(of)
	if t.Kind() != reflect.Struct {
		return " JSON"
	}
	name := s.define(t)
	return fmt.Sprintf(" [%s](#%s)", name, strings.ToLower(name))
}

func pageShape(b *bytes.Buffer, s *schemas, name string) {
	fmt.Fprintf(b, "\n### %s\n\n| member | type | meaning |\n| --- | --- | --- |\n", name)
	for _, f := range fields(s.types[name]) {
		mark := ""
		if f.optional {
			mark = "°"
		}
		fmt.Fprintf(b, "| `%s`%s | %s | %s |\n", f.name, mark, typeName(s, f.Type), f.Tag.Get("doc"))
	}
}

// typeName describes the type of a member in words.
func typeName(s *schemas, t reflect.Type) string {
	schema := s.of(t)
	for _, m := range schema {
		switch m.name {
		case "$ref":
			name := m.value.(string)
			return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
		case "format":
			return "time, RFC 3339"
		case "enum":
			return "one of `" + strings.Join(m.value.([]string), "`, `") + "`"
		case "items":
			return "array of " + typeName(s, t.Elem())
		}
	}
	if len(schema) == 0 {
		return "any JSON"
	}
	return fmt.Sprint(schema[0].value)
}

// pageProblems lists the problem codes of all routes.
func pageProblems(b *bytes.Buffer, d Document) {
	codes := map[string]bool{"not_found": true, "method_not_allowed": true}
	for _, r := range d.Routes {
		for _, code := range r.codes() {
			codes[code] = true
		}
	}
	b.WriteString("\n## Codes of failures\n\n")
	if d.More != "" {
		fmt.Fprintf(b, "%s\n\n", d.More)
	}
	b.WriteString("| code | status | meaning | what to do |\n| --- | --- | --- | --- |\n")
	for _, code := range slices.SortedFunc(maps.Keys(codes), func(a, b string) int {
		return cmp.Or(cmp.Compare(Refuse(a).Status(), Refuse(b).Status()), cmp.Compare(a, b))
	}) {
		r := Refuse(code)
		fmt.Fprintf(b, "| `%s` | %d %s | %s | %s |\n", code, r.Status(), http.StatusText(r.Status()), r[0].Detail, r[0].Fix)
	}
}
