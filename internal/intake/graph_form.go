package intake

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/httpapi"
)

// Meta accepts a message as a form too: each member is a field, and an object is a field with JSON text, or several
// fields like text[body].

const (
	formMedia      = "application/x-www-form-urlencoded"
	multipartMedia = "multipart/form-data"
	maxFormDepth   = 16
)

// readMessage reads the body of a request to send: JSON or a form.
func (e *envelope) readMessage(w http.ResponseWriter, r *http.Request) refusal {
	kind, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var values url.Values
	switch kind {
	case formMedia:
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			return httpapi.Unread(err)
		}
		if values, err = url.ParseQuery(string(text)); err != nil {
			return graphRefusal("form_invalid")
		}
	case multipartMedia:
		var refused refusal
		if values, refused = readFields(http.MaxBytesReader(w, r.Body, maxBody), parameters["boundary"]); refused != nil {
			return refused
		}
	default:
		return e.readBody(w, r)
	}
	object, ok := formObject(values)
	if !ok {
		return graphRefusal("form_invalid")
	}
	text, err := json.Marshal(object)
	if err != nil {
		return graphRefusal("form_invalid")
	}
	return e.read(text)
}

// readFields reads the fields of a multipart form without files.
func readFields(body io.Reader, boundary string) (url.Values, refusal) {
	values := url.Values{}
	parts := multipart.NewReader(body, boundary)
	for {
		p, err := parts.NextPart()
		if err == io.EOF {
			return values, nil
		}
		if err != nil || p.FileName() != "" {
			return nil, graphRefusal("form_invalid")
		}
		text, err := io.ReadAll(p)
		if err != nil {
			return nil, graphRefusal("form_invalid")
		}
		values.Add(p.FormName(), string(text))
	}
}

// formObject returns the object of a form. It is false if the form has a field twice, or fields that contradict each
// other.
func formObject(values url.Values) (map[string]any, bool) {
	object := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		path, ok := formPath(name)
		if !ok {
			return nil, false
		}
		all := values[name]
		if path[len(path)-1] == "" { // "tags[]": an array
			path = path[:len(path)-1]
			for i, v := range all {
				if !put(object, append(slices.Clip(path), strconv.Itoa(i)), v) {
					return nil, false
				}
			}
			continue
		}
		if len(all) > 1 || !put(object, path, all[0]) {
			return nil, false
		}
	}
	arrays(object)
	return object, true
}

// formPath returns the steps of a field: "text[body]" has text and body.
func formPath(name string) ([]string, bool) {
	first, rest, nested := strings.Cut(name, "[")
	path := []string{first}
	if nested {
		inner, ok := strings.CutSuffix(rest, "]")
		if !ok {
			return nil, false
		}
		path = append(path, strings.Split(inner, "][")...)
	}
	for i, step := range path {
		if strings.ContainsAny(step, "[]") || step == "" && (i == 0 || i < len(path)-1) {
			return nil, false
		}
	}
	return path, len(path) <= maxFormDepth
}

// put sets a value in an object, and makes the objects on its path.
func put(object map[string]any, path []string, value string) bool {
	name := path[0]
	if len(path) == 1 {
		_, twice := object[name]
		object[name] = formValue(name, value)
		return !twice
	}
	if object[name] == nil {
		object[name] = map[string]any{}
	}
	inner, ok := object[name].(map[string]any)
	return ok && put(inner, path[1:], value)
}

// formValue returns the value of a field. Forms have no other types than texts, so the members that are true or false
// are known by their names. Numbers can be texts in a message.
func formValue(name, value string) any {
	switch name {
	case "preview_url", "voice", "message_activity_sharing":
		switch strings.ToLower(value) {
		case "true", "1":
			return true
		case "false", "0":
			return false
		}
	}
	return value
}

// arrays replaces the objects in an object whose members are 0, 1, 2 and so on by arrays.
func arrays(object map[string]any) {
	for name, value := range object {
		inner, ok := value.(map[string]any)
		if !ok {
			continue
		}
		arrays(inner)
		list := make([]any, len(inner))
		for i := range list {
			element, ok := inner[strconv.Itoa(i)]
			if !ok {
				list = nil
				break
			}
			list[i] = element
		}
		if len(list) > 0 {
			object[name] = list
		}
	}
}
