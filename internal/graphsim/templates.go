package graphsim

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// templateDefaults are the fields of a template in Meta's answer to a call that names none.
var templateDefaults = []string{"id", "name", "language", "category", "status", "parameter_format", "components"}

func (t Template) fields() map[string]any {
	components := t.Components
	return map[string]any{
		"id": t.ID, "name": t.Name, "language": t.Language, "category": t.Category, "status": t.Status,
		"parameter_format": t.Format, "components": components, "quality_score": map[string]string{"score": t.Quality},
		"rejected_reason": "NONE",
	}
}

// listTemplates answers GET /{version}/{account}/message_templates, filtered by name,
// language, category and status:
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates
func (s *Sim) listTemplates(w http.ResponseWriter, r *http.Request) {
	st, ok := s.manages(w, r)
	if !ok {
		return
	}
	data := []any{}
	for _, t := range st.Templates {
		all := t.fields()
		if !asked(r, all, "name", "language", "category", "status") {
			continue
		}
		chosen, unknown := choose(r, all, templateDefaults)
		if unknown != "" {
			s.deny(w, nonexisting(unknown, "WhatsAppMessageTemplate"))
			return
		}
		data = append(data, chosen)
	}
	s.succeed(w, page(data))
}

// asked reports whether the filters of a call select something.
func asked(r *http.Request, all map[string]any, names ...string) bool {
	for _, name := range names {
		if want := r.URL.Query().Get(name); want != "" && !strings.EqualFold(want, all[name].(string)) {
			return false
		}
	}
	return true
}

// createTemplate answers POST /{version}/{account}/message_templates. The template is
// approved at once. From the first one on, no others exist.
func (s *Sim) createTemplate(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.manages(w, r); !ok {
		return
	}
	var t Template
	if err := readBody(w, r, &t); err != nil || t.Name == "" || t.Language == "" || t.Category == "" {
		s.refuse(w, 100, "A template needs a name, a language, a category and components.")
		return
	}
	t.ID, t.Status, t.Quality = "", "", ""
	err := s.change(func(a *Account) error {
		if slices.ContainsFunc(a.Templates, func(o Template) bool { return o.key() == t.key() }) {
			return errors.New("content in this language already exists")
		}
		a.Templates = append(a.Templates, t)
		return nil
	})
	if err != nil {
		s.refuse(w, 100, err.Error())
		return
	}
	made := s.standing.Load().templates[t.key()]
	s.succeed(w, map[string]string{"id": made.ID, "status": made.Status, "category": made.Category})
}

// deleteTemplate answers DELETE /{version}/{account}/message_templates: a name, in all its
// languages.
func (s *Sim) deleteTemplate(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.manages(w, r); !ok {
		return
	}
	name := r.URL.Query().Get("name")
	err := s.change(func(a *Account) error {
		before := len(a.Templates)
		if a.Templates = slices.DeleteFunc(a.Templates, func(t Template) bool { return t.Name == name }); len(a.Templates) == before {
			return errors.New("there is no message template of that name")
		}
		return nil
	})
	if err != nil {
		s.refuse(w, 100, err.Error())
		return
	}
	s.succeed(w, map[string]bool{"success": true})
}
