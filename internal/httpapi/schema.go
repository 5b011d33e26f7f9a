package httpapi

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"sluice/internal/message"
)

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", m.name)
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// schemas makes JSON Schemas of Go types, for the JSON that encoding/json writes. Each struct becomes a
// definition. Descriptions come from the tag doc. Members with omitempty or omitzero are optional.
type schemas struct {
	prefix string // of references to definitions
	open   bool   // further values of enums are allowed
	types  map[string]reflect.Type
	order  []string
}

func newSchemas(prefix string) *schemas {
	return &schemas{prefix: prefix, types: map[string]reflect.Type{}}
}

// JSONSchema returns a JSON Schema (2020-12) of the JSON of a struct, for consumers: it allows members and values
// that later versions may add. A tag like when:"type=status,inbound" makes a member required when another member
// has one of these values.
func JSONSchema(id, title string, of any) []byte {
	s := newSchemas("#/$defs/")
	s.open = true
	o := append(object{{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"$id", id}, {"title", title}}, s.structure(reflect.TypeOf(of))...)
	return indent(append(o, member{"$defs", s.definitions()}))
}

// enums has the values of types with a closed set of values.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[message.State](): texts(message.States()),
	reflect.TypeFor[message.Class](): texts(message.Classes()),
}

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// of returns the schema of a type.
func (s *schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{{"type", "string"}, {"format", "date-time"}}
	case reflect.TypeFor[json.RawMessage]():
		return object{} // any JSON
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return object{{"type", "string"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		if values := enums[t]; values != nil && !s.open {
			return object{{"type", "string"}, {"enum", values}}
		}
		return object{{"type", "string"}}
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{{"type", "integer"}}
	case reflect.Float64:
		return object{{"type", "number"}}
	case reflect.Slice:
		return object{{"type", "array"}, {"items", s.of(t.Elem())}}
	case reflect.Interface:
		return object{}
	case reflect.Map:
		return object{{"type", "object"}, {"additionalProperties", s.of(t.Elem())}}
	case reflect.Struct:
		return object{{"$ref", s.prefix + s.define(t)}}
	}
	panic(fmt.Sprintf("httpapi: no schema for %s", t))
}

// define adds a struct to the definitions and returns its name. It panics when two structs have the same name.
func (s *schemas) define(t reflect.Type) string {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	switch known := s.types[name]; known {
	case nil:
		s.types[name] = t
		s.order = append(s.order, name)
	case t:
	default:
		panic(fmt.Sprintf("httpapi: %s and %s have the same name. Rename one of them", known, t))
	}
	return name
}

// definitions returns all definitions, with those that they refer to.
func (s *schemas) definitions() (all object) {
	for i := 0; i < len(s.order); i++ {
		all = append(all, member{s.order[i], s.structure(s.types[s.order[i]])})
	}
	return all
}

func (s *schemas) structure(t reflect.Type) object {
	required := []string{}
	properties := object{}
	var conditions []object
	for _, f := range fields(t) {
		schema := s.of(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			schema = append(schema, member{"description", doc})
		}
		if !f.optional {
			required = append(required, f.name)
		}
		properties = append(properties, member{f.name, schema})
		if other, values, has := strings.Cut(f.Tag.Get("when"), "="); has {
			conditions = append(conditions, object{
				{"if", object{{"properties", object{{other, object{{"enum", strings.Split(values, ",")}}}}}}},
				{"then", object{{"required", []string{f.name}}}},
			})
		}
	}
	out := object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		out = append(out, member{"required", required})
	}
	if len(conditions) > 0 {
		out = append(out, member{"allOf", conditions})
	}
	return out
}

// field is a member of the JSON of a struct.
type field struct {
	reflect.StructField
	name     string
	optional bool
	index    []int // for reflect.Value.FieldByIndex of the outermost struct
}

// fields returns the members that encoding/json writes for a struct. The members of embedded structs are in the
// place of the struct.
func fields(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, has := f.Tag.Lookup("json")
		if f.Anonymous && !has {
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			part := fields(embedded)
			for j := range part {
				part[j].optional = part[j].optional || f.Type.Kind() == reflect.Pointer
				part[j].index = append([]int{i}, part[j].index...)
			}
			all = append(all, part...)
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		all = append(all, field{f, name, strings.Contains(options, "omit"), []int{i}})
	}
	return all
}
