package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"sluice/internal/config"
)

// Export returns the stored entries as YAML in the form of the configuration file, without secrets, and without numbers that are
// being removed.
func (s *Store) Export(ctx context.Context) ([]byte, error) {
	c, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	byList := map[string][]Entry{}
	for _, e := range (File{}).merge(c).list() {
		if n, ok := e.(Number); !ok || n.Leaving == "" {
			byList[lists[e.Kind()]] = append(byList[lists[e.Kind()]], bare(e))
		}
	}
	text, err := json.Marshal(byList)
	if err != nil {
		return nil, err
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil { // JSON is YAML
		return nil, err
	}
	plain(&root)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&root); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// plain removes the braces and quotes of JSON.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}

// Import stores the entries of a YAML text in the form of the configuration file: all, or none if one is invalid. Stored entries
// that are not in the text stay, and so do the secrets of those that are. name is the name of the text, for errors. The Revision
// of c is ignored. Its error is an *InvalidError with all mistakes, or a *ConflictError.
func (s *Store) Import(ctx context.Context, name string, text []byte, c Change) (Imported, error) {
	parsed, mistakes := config.ParseEntries(name, text, s.o.File.Classes)
	in, err := s.load(ctx)
	if err != nil {
		return Imported{}, err
	}
	news, after := indexOf(parsed).list(), s.o.File.merge(in)
	for _, e := range news {
		after.put(e)
	}
	for _, e := range news {
		for _, m := range after.refer(e) {
			m.Place = name + ": " + lists[e.Kind()] + " " + e.ID() + ": " + m.Place
			mistakes = append(mistakes, m)
		}
	}
	if len(mistakes) > 0 {
		return Imported{}, &InvalidError{mistakes}
	}
	var done Imported
	var changes []oneChange
	for _, e := range news {
		one, err := s.put(in, e, nil, time.Time{})
		if err != nil {
			return Imported{}, err
		}
		id := string(e.Kind()) + " " + e.ID()
		old := in.found(e.Kind(), e.ID())
		switch {
		case old == nil:
			done.Added = append(done.Added, id)
		case slices.Equal(old.Entry, one.document.Entry):
			done.Unchanged = append(done.Unchanged, id)
			continue
		default:
			one.expected = old.revision
			done.Changed = append(done.Changed, id)
		}
		changes = append(changes, one)
	}
	if len(changes) > 0 {
		_, err = s.apply(ctx, c, changes...)
	}
	if err != nil {
		return Imported{}, err
	}
	return done, nil
}
