package config

import (
	"bytes"
	"errors"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// Entries are the entries of the lists that can also be stored and changed at run time, see package directory.
type Entries struct {
	Numbers []Number
	Apps    []App // without secrets
	APIKeys []APIKey
	Clients []Client
}

// ParseEntries reads a YAML or JSON text with the lists numbers, apps, api_keys and clients in the form of the configuration file.
// The entries are checked like those of the file, whose classes are given. They are to be stored, so a token_file is an absolute path, and an app
// has no files. name is the name of the text, which begins the place of each mistake with the line; empty: places are members only.
func ParseEntries(name string, text []byte, classes map[string]Class) (Entries, []Mistake) {
	l := &loader{getenv: os.Getenv}
	l.Classes = classes
	d := &document{loader: l, name: name, stored: true}
	var root yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		l.fail(name, errors.New("is empty"))
	case err != nil:
		l.fail(name, err)
	default:
		d.mapping("", root.Content[0], []member{
			{key: "numbers", read: d.list(d.number)},
			{key: "apps", read: d.list(d.app)},
			{key: "api_keys", read: d.list(d.apiKey)},
			{key: "clients", read: d.list(d.client)},
		})
	}
	l.checkWindows()
	e := Entries{APIKeys: l.keys, Clients: l.Clients}
	for _, n := range l.numbers {
		e.Numbers = append(e.Numbers, n.Number)
	}
	for _, a := range l.apps {
		e.Apps = append(e.Apps, a.App)
	}
	var mistakes []Mistake
	for _, err := range l.errs {
		if m, ok := errors.AsType[Mistake](err); ok {
			mistakes = append(mistakes, m)
		}
	}
	return e, mistakes
}

// ParseAutoReply reads a YAML or JSON text with automatic replies, in the form of the member auto_reply of a number, without files. name is the
// name of the text, for errors.
func ParseAutoReply(name string, text []byte) (*AutoReply, error) {
	l := &loader{getenv: os.Getenv}
	d := &document{loader: l, name: name, stored: true}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, Mistake{name, err}
	}
	if len(root.Content) == 0 {
		return nil, Mistake{name, errors.New("is empty")}
	}
	var of number
	d.autoReply(&of)("", root.Content[0])
	return of.AutoReply, l.err()
}

// secretFile reads the name of a file with a secret of an app or a hook. A stored entry has the secrets themselves.
func (d *document) secretFile(dst *string) func(string, *yaml.Node) {
	if d.stored {
		return func(path string, n *yaml.Node) {
			d.wrong(path, n, errors.New("a stored entry has no files: remove the key, and set the secret itself"))
		}
	}
	return d.scalar(d.resolved(text(dst)))
}
