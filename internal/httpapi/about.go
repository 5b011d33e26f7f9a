package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// About returns the routes under which an API describes itself: /, /docs and /openapi.json.
func About(d func() Document) []Route {
	route := func(path, name, summary, media string, of any, write func(Document) []byte) Route {
		text := sync.OnceValue(func() []byte { return write(d()) })
		return Route{
			Method: http.MethodGet, Path: path, Name: name, Group: "Description", Summary: summary,
			Answers: []Answer{{Status: 200, Doc: "The text.", Media: media, Type: of}},
			Handler: func(w http.ResponseWriter, _ *http.Request) {
				header := media
				if strings.HasPrefix(media, "text/") {
					header += "; charset=utf-8"
				}
				WriteBytes(w, header, http.StatusOK, text())
			},
		}
	}
	return []Route{
		route("/{$}", "getOverview", "List what this port serves, with links to the descriptions.", "text/plain", nil, Document.Overview),
		route("/docs", "getDocumentation", "Read this description as a page.", "text/markdown", nil, Document.Markdown),
		route("/openapi.json", "getDescription", "Read this description as an OpenAPI 3.1 document.", "application/json", map[string]any{}, Document.OpenAPI),
	}
}

// Overview returns a plain text with the purpose of the API, links to its descriptions, and all of its paths.
func (d Document) Overview() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n%s\n\nDocs: /docs (Markdown), /openapi.json (OpenAPI 3.1)\n", d.Title, d.Doc)
	for _, group := range d.groups() {
		fmt.Fprintf(&b, "\n%s\n", group)
		for _, r := range d.Routes {
			if r.Group == group {
				fmt.Fprintf(&b, "  %-6s %-44s %s\n", r.Method, openPath(r.Path), r.Summary)
			}
		}
	}
	return b.Bytes()
}
