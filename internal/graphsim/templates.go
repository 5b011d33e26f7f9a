package graphsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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
		"rejected_reason": t.Rejected, "previous_category": "", "correct_category": "", "sub_category": "",
	}
}

// deleted is the status of a deleted template. Meta keeps its name for 30 days, and delivers the messages that it took:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-management#delete-templates
const deleted = "PENDING_DELETION"

// listTemplates answers GET /{version}/{account}/message_templates, filtered by name, language, category, status and quality:
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates
func (s *Sim) listTemplates(w http.ResponseWriter, r *http.Request) {
	st, ok := s.manages(w, r)
	if !ok {
		return
	}
	q := r.URL.Query()
	data := []any{}
	for _, t := range st.Templates {
		part := q.Get("name_or_content")
		if t.Status == deleted && !strings.Contains(q.Get("status"), deleted) || part != "" && !strings.Contains(t.Name, part) {
			continue
		}
		all := t.fields()
		if !asked(q, map[string]string{
			"name": t.Name, "language": t.Language, "category": t.Category, "status": t.Status, "quality_score": t.Quality,
		}) {
			continue
		}
		chosen, unknown := choose(r, all, templateDefaults)
		if unknown != "" {
			s.deny(w, nonexisting(unknown, "WhatsAppMessageTemplate"))
			return
		}
		data = append(data, chosen)
	}
	if !r.URL.Query().Has("limit") {
		q.Set("limit", defaultTemplates)
		r.URL.RawQuery = q.Encode()
	}
	s.succeedTagged(w, r, page(r, data))
}

// defaultTemplates is how many templates a page has without a limit.
const defaultTemplates = "25"

// succeedTagged answers with a body and its ETag, or without the body if the call names that ETag, as the Graph API does.
func (s *Sim) succeedTagged(w http.ResponseWriter, r *http.Request, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // cannot happen: it has texts and numbers only
	}
	tag := fmt.Sprintf("%q", numberOf(string(text)))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		s.count(okay)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.succeed(w, body)
}

// asked reports whether the filters of a call select something. A filter has one value, or several as a JSON array or with commas.
func asked(q url.Values, of map[string]string) bool {
	for name, is := range of {
		wanted := strings.FieldsFunc(q.Get(name), func(c rune) bool { return strings.ContainsRune(`[]",`, c) })
		if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(w, is) }) {
			return false
		}
	}
	return true
}

// templateByID returns a template, or nil.
func (st *standing) templateByID(id string) *Template {
	for _, t := range st.templates {
		if t.ID == id && t.Status != deleted {
			return &t.Template
		}
	}
	return nil
}

// library are the templates of Meta's library that the simulator has.
var library = []map[string]any{
	{"id": "7138055039625658", "name": "delivery_failed_2", "language": "en_US", "category": "UTILITY", "topic": "ORDER_MANAGEMENT", "usecase": "DELIVERY_FAILED", "industry": []string{"E_COMMERCE"}, "body": "We were unable to deliver order {{1}} today."},
	{"id": "7138055039625659", "name": "payment_overdue_1", "language": "en_US", "category": "UTILITY", "topic": "PAYMENTS", "usecase": "PAYMENT_OVERDUE", "industry": []string{"FINANCIAL_SERVICES"}, "body": "Your payment {{1}} is overdue."},
}

// templateLibrary answers GET /{version}/message_template_library, which belongs to no account:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-library
func (s *Sim) templateLibrary(w http.ResponseWriter, r *http.Request) {
	data := []any{}
	for _, t := range library {
		text := fmt.Sprint(t["name"], t["body"])
		if strings.Contains(strings.ToLower(text), strings.ToLower(r.URL.Query().Get("search"))) {
			data = append(data, t)
		}
	}
	s.succeed(w, page(r, data))
}

// wrongTemplate is the answer of Meta to a call on a template that cannot be made.
func wrongTemplate(subcode int, title, text string) *denial {
	return &denial{status: http.StatusBadRequest, code: 100, subcode: subcode, message: "Invalid parameter", title: title, text: text}
}

var (
	templateExists  = wrongTemplate(2388024, "Content in this language already exists", "There is already content in this language for this template. Create a new template and try again.")
	templateGoing   = wrongTemplate(2388023, "Message template language is being deleted", "New content cannot be added while the existing content is being deleted. Try again in 4 weeks, or create a new template.")
	templateUnknown = wrongTemplate(2593002, "Message template not found", "There is no message template of that name.")
	templateStuck   = wrongTemplate(2388094, "Message template cannot be deleted", "A disabled message template cannot be deleted.")
)

// createTemplate answers POST /{version}/{account}/message_templates. The template is
// approved at once. From the first one on, no others exist.
func (s *Sim) createTemplate(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.manages(w, r); !ok {
		return
	}
	p, ok := s.params(w, r)
	if !ok {
		return
	}
	for _, name := range []string{"name", "language", "category"} {
		if p.text(name) == "" {
			s.deny(w, required(name))
			return
		}
	}
	t := Template{Name: p.text("name"), Language: p.text("language"), Category: strings.ToUpper(p.text("category")), Format: strings.ToUpper(p.text("parameter_format"))}
	if !t.setComponents(p["components"]) {
		s.deny(w, noComponents)
		return
	}
	var d *denial
	err := s.change(func(a *Account) error {
		i := slices.IndexFunc(a.Templates, func(o Template) bool { return o.Name == t.Name && cmp.Or(o.Language, defaultLanguage) == t.Language })
		switch {
		case i < 0:
			a.Templates = append(a.Templates, t)
		case a.Templates[i].Status == deleted:
			d = templateGoing
		default:
			d = templateExists
		}
		return nil
	})
	if err != nil {
		d = invalid(err.Error())
	}
	if d != nil {
		s.deny(w, d)
		return
	}
	made := s.standing.Load().templates[t.key()]
	s.succeed(w, map[string]string{"id": made.ID, "status": made.Status, "category": made.Category})
}

// setComponents sets the components of a template from a parameter, and reports whether it is a list.
func (t *Template) setComponents(value any) bool {
	list, ok := value.([]any)
	t.Components = nil
	for _, c := range list {
		b, err := json.Marshal(c)
		if err != nil {
			return false
		}
		t.Components = append(t.Components, b)
	}
	return ok || value == nil
}

var noComponents = invalid("Param components must be an array.")

// editTemplate answers POST /{version}/{template}: it replaces the components or the category. The template stays approved.
func (s *Sim) editTemplate(w http.ResponseWriter, r *http.Request, old *Template) {
	if d := s.standing.Load().mayTouch(scopeManagement); d != nil {
		s.deny(w, d)
		return
	}
	p, ok := s.params(w, r)
	if !ok {
		return
	}
	t := *old
	if category := p.text("category"); category != "" {
		t.Category = strings.ToUpper(category)
	}
	if p["components"] != nil && !t.setComponents(p["components"]) {
		s.deny(w, noComponents)
		return
	}
	err := s.change(func(a *Account) error { *a.template(t.Name, t.Language) = t; return nil })
	if err != nil {
		s.deny(w, invalid(err.Error()))
		return
	}
	s.succeed(w, map[string]any{"success": true, "id": t.ID, "name": t.Name, "category": t.Category})
}

// deleteTemplate answers DELETE /{version}/{account}/message_templates: a name in all its languages, or with hsm_id one of them.
func (s *Sim) deleteTemplate(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.manages(w, r); !ok {
		return
	}
	name, id := r.URL.Query().Get("name"), r.URL.Query().Get("hsm_id")
	if name == "" {
		s.deny(w, required("name"))
		return
	}
	st := s.standing.Load()
	d := templateUnknown
	err := s.change(func(a *Account) error {
		for i := range a.Templates {
			t := &a.Templates[i]
			full := st.templates[t.Name+"/"+cmp.Or(t.Language, defaultLanguage)]
			if t.Name != name || t.Status == deleted || id != "" && (full == nil || full.ID != id) {
				continue
			}
			if t.Status == "DISABLED" {
				d = templateStuck
				return nil
			}
			t.Status, d = deleted, nil
		}
		return nil
	})
	if err != nil {
		d = invalid(err.Error())
	}
	if d != nil {
		s.deny(w, d)
		return
	}
	s.succeed(w, done)
}
