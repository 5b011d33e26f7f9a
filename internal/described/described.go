// Package described holds the answers of a running server against the OpenAPI description that
// it gives of itself, for a test.
package described

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// API is a description, and what was seen of it.
type API struct {
	t        testing.TB
	compiler *jsonschema.Compiler
	paths    map[string]map[string]operation // by path and method
	open     map[string]bool                 // "sendMessage 202": what no answer was seen of
}

type operation struct {
	OperationID string
	Responses   map[string]struct {
		Content map[string]struct{ Schema any }
	}
}

// Read reads a description. The members of free, schemas by name, may be any; with all others a
// member that is not described is a fault here, though callers must bear it.
func Read(t testing.TB, document string, free ...string) *API {
	t.Helper()
	var d struct {
		Paths map[string]map[string]operation
	}
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		t.Fatal(err)
	}
	a := &API{t: t, compiler: jsonschema.NewCompiler(), paths: d.Paths, open: map[string]bool{}}
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	for name, schema := range whole.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any) {
		if !slices.Contains(free, name) {
			schema.(map[string]any)["additionalProperties"] = false
		}
	}
	a.compiler.AssertFormat()
	if err := a.compiler.AddResource("api.json", whole); err != nil {
		t.Fatal(err)
	}
	for _, operations := range a.paths {
		for _, o := range operations {
			for status := range o.Responses {
				a.open[o.OperationID+" "+status] = true
			}
		}
	}
	return a
}

// Find returns the path and the method of an operation.
func (a *API) Find(name string) (path, method string) {
	a.t.Helper()
	for path, operations := range a.paths {
		for method, o := range operations {
			if o.OperationID == name {
				return path, strings.ToUpper(method)
			}
		}
	}
	a.t.Fatalf("there is no operation %s", name)
	return "", ""
}

// Check holds an answer against what is described of the operation. Its body may be several
// JSON values.
func (a *API) Check(name string, status int, header http.Header, body string) {
	a.t.Helper()
	path, method := a.Find(name)
	method = strings.ToLower(method)
	response, known := a.paths[path][method].Responses[fmt.Sprint(status)]
	if !known {
		a.t.Errorf("%s answers %d, which is not described: %s", name, status, body)
		return
	}
	delete(a.open, fmt.Sprint(name, " ", status))
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	content, known := response.Content[media]
	if _, any := response.Content["*/*"]; any {
		known = true
	}
	if !known && len(response.Content) > 0 {
		a.t.Errorf("%s answers %d as %s", name, status, media)
	}
	if content.Schema == nil {
		return
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
	schema, err := a.compiler.Compile(fmt.Sprintf("api.json#/paths/%s/%s/responses/%d/content/%s/schema", escape(path), method, status, escape(media)))
	if err != nil {
		a.t.Fatal(err)
	}
	values := json.NewDecoder(strings.NewReader(body))
	values.UseNumber()
	for values.More() {
		var value any
		err := values.Decode(&value)
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			a.t.Fatalf("%s %d: %v in %s", name, status, err, body)
		}
	}
}

// Done fails the test when something is described that was never answered in it.
func (a *API) Done() {
	a.t.Helper()
	if len(a.open) > 0 {
		a.t.Errorf("described, and never answered in this test: %s", strings.Join(slices.Sorted(maps.Keys(a.open)), ", "))
	}
}
