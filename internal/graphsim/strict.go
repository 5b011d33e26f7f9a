package graphsim

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"sluice/internal/jsondoc"
)

// readControl reads the body of a control call. If the body is wrong, it answers 400 itself and returns false.
func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = strictly(text, into)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// readBody reads the JSON of a call of the Graph API, which ignores unknown members. A missing body counts as an empty
// one.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || len(text) == 0 {
		return err
	}
	return decode(text, into, false)
}

// strictly reads JSON into an existing value. An unknown member is an error, so that a misspelling is found.
func strictly(text []byte, into any) error { return decode(text, into, true) }

// decode reads one JSON text, without doubled members. encoding/json would ignore the case of names, so decode compares
// them first. all: unknown members are errors.
func decode(text []byte, into any, all bool) error {
	var d jsondoc.Doc
	if err := d.Read(string(text)); err != nil {
		return err
	}
	if err := checkNames(d.Root(), reflect.TypeOf(into), all); err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// checkNames compares the names of all members with those of a type.
func checkNames(v jsondoc.Value, t reflect.Type, all bool) error {
	for t.Kind() == reflect.Pointer && !readsItself(t) {
		t = t.Elem()
	}
	if readsItself(t) || readsItself(reflect.PointerTo(t)) {
		return nil
	}
	for name, value := range v.Members() {
		member := t
		switch t.Kind() {
		case reflect.Map:
			member = t.Elem()
		case reflect.Struct:
			f, ok := memberOf(t, name)
			switch {
			case ok && nameOf(f) == name:
				member = f.Type
			case ok:
				return fmt.Errorf("the member %s is spelled %s", jsondoc.PathName(name), nameOf(f))
			case all:
				return fmt.Errorf("the member %s is unknown", jsondoc.PathName(name))
			default:
				continue
			}
		default:
			continue // json.Unmarshal reports the wrong type
		}
		if err := checkNames(value, member, all); err != nil {
			return err
		}
	}
	for _, value := range v.Elements() {
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			break
		}
		if err := checkNames(value, t.Elem(), all); err != nil {
			return err
		}
	}
	return nil
}

// readsItself reports whether a type has its own way to read JSON.
func readsItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Unmarshaler]()) || t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// memberOf returns the field that encoding/json would choose for a name.
func memberOf(t reflect.Type, name string) (reflect.StructField, bool) {
	fields := slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return !f.IsExported() || nameOf(f) == "-" })
	i := slices.IndexFunc(fields, func(f reflect.StructField) bool { return nameOf(f) == name })
	if i < 0 {
		i = slices.IndexFunc(fields, func(f reflect.StructField) bool { return strings.EqualFold(nameOf(f), name) })
	}
	if i < 0 {
		return reflect.StructField{}, false
	}
	return fields[i], true
}

// nameOf returns the name of a field in JSON.
func nameOf(f reflect.StructField) string {
	if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
		return name
	}
	return f.Name
}
