package importfile

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Columns are the columns of a CSV file. Those of IsParameter follow the template.
var Columns = []string{
	"from", "to", "text", "template", "message", "fallback_template", "key", "ref", "class", "tags", "campaign", "send_at", "expires_at",
}

// contents are the columns with the content of a message. A row has one of them.
var contents = []string{"text", "template", "message"}

type headerColumn struct{ column, kind string }

// headers are the columns with the parameter of the header of a template, by Meta's types of the parameter.
var headers = []headerColumn{{"header", "text"}, {"header_image", "image"}, {"header_video", "video"}, {"header_document", "document"}}

// IsParameter reports whether a column has a parameter of a template: body_1 and so on, button_0 to button_9, or one for the header.
func IsParameter(column string) bool {
	return numbered(column, "body_", 1, 100) > 0 || numbered(column, "button_", 0, 9) >= 0 ||
		slices.ContainsFunc(headers, func(h headerColumn) bool { return h.column == column })
}

// numbered returns the number of a column after a prefix; -1: it has none from least to most.
func numbered(column, prefix string, least, most int) int {
	digits, is := strings.CutPrefix(column, prefix)
	if !is {
		return -1
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < least || n > most || digits != strconv.Itoa(n) {
		return -1
	}
	return n
}

// messageOf returns Meta's message object of a row.
func messageOf(cells map[string]string) (map[string]any, error) {
	var object map[string]any
	var kinds []string
	for _, kind := range contents {
		if cells[kind] != "" {
			kinds = append(kinds, kind)
		}
	}
	switch {
	case len(kinds) == 0:
		return nil, mistake("the row has no content: fill one of the cells text, template and message")
	case len(kinds) > 1:
		return nil, mistake("the row has %s: fill one of them", strings.Join(kinds, " and "))
	case kinds[0] != "template" && cells["fallback_template"] == "" && hasParameters(cells):
		return nil, mistake("body_1 and so on are for a row with a template or a fallback template: empty them")
	case kinds[0] == "text":
		object = map[string]any{"type": "text", "text": map[string]string{"body": cells["text"]}}
	case kinds[0] == "template":
		template, err := templateOf("template", cells)
		if err != nil {
			return nil, err
		}
		object = map[string]any{"type": "template", "template": template}
	default:
		numbers := json.NewDecoder(strings.NewReader(cells["message"]))
		numbers.UseNumber()
		if err := numbers.Decode(&object); err != nil || object == nil || numbers.Decode(new(any)) != io.EOF {
			return nil, mistake("message: is not a JSON object")
		}
		if _, has := object["to"]; has && cells["to"] != "" {
			return nil, mistake("to: message has a recipient too: remove one of them")
		}
	}
	if cells["to"] != "" {
		object["to"] = cells["to"]
	}
	return object, nil
}

// templateOf returns the object of the template that a column names, with the parameters of the row.
func templateOf(column string, cells map[string]string) (map[string]any, error) {
	name, language, ok := strings.Cut(cells[column], "/")
	if !ok || name == "" || language == "" {
		return nil, mistake("%s: write it as name/language, such as order_update/en_US", column)
	}
	template := map[string]any{"name": name, "language": map[string]string{"code": language}}
	var components []any
	for _, h := range headers {
		if value := cells[h.column]; value != "" {
			member := "link"
			if strings.HasPrefix(value, "sha256:") { // a file that was uploaded before
				member = "id"
			}
			parameter := map[string]any{"type": h.kind, h.kind: map[string]string{member: value}}
			if h.kind == "text" {
				parameter = textParameter(value)
			}
			components = append(components, map[string]any{"type": "header", "parameters": []any{parameter}})
		}
	}
	if len(components) > 1 {
		return nil, mistake("the row has several headers: fill one of header, header_image, header_video and header_document")
	}
	most := 0
	for column := range cells {
		most = max(most, numbered(column, "body_", 1, 100))
	}
	var all []any
	for n := range most {
		column := "body_" + strconv.Itoa(n+1)
		if cells[column] == "" {
			return nil, mistake("%s: is empty, and body_%d is not", column, most)
		}
		all = append(all, textParameter(cells[column]))
	}
	if most > 0 {
		components = append(components, map[string]any{"type": "body", "parameters": all})
	}
	for n := range 10 {
		index := strconv.Itoa(n)
		if value := cells["button_"+index]; value != "" {
			components = append(components, map[string]any{"type": "button", "sub_type": "url", "index": index, "parameters": []any{textParameter(value)}})
		}
	}
	if len(components) > 0 {
		template["components"] = components
	}
	return template, nil
}

func textParameter(value string) map[string]any { return map[string]any{"type": "text", "text": value} }

// hasParameters reports whether a row has a parameter of a template.
func hasParameters(cells map[string]string) bool {
	for column := range cells {
		if IsParameter(column) {
			return true
		}
	}
	return false
}
