package graphsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// flow is a WhatsApp Flow: https://developers.facebook.com/documentation/business-messaging/whatsapp/flows/reference
type flow struct {
	id, name, status, endpoint, json string
	categories                       []any
	updated                          time.Time
}

// flowDefaults are the fields of a flow in Meta's answer to a call that names none.
var flowDefaults = []string{"id", "name", "status", "categories", "validation_errors"}

func (f *flow) fields(st *standing, host string) map[string]any {
	return map[string]any{
		"id": f.id, "name": f.name, "status": f.status, "categories": f.categories, "validation_errors": []any{},
		"json_version": "7.2", "data_api_version": "3.0", "endpoint_uri": f.endpoint, "updated_at": f.updated.UTC().Format("2006-01-02T15:04:05-0700"),
		"preview": map[string]any{
			"preview_url": "http://" + host + "/wa/manage/flows/" + f.id + "/preview", "expires_at": f.updated.Add(30 * day).UTC().Format("2006-01-02T15:04:05-0700"),
		},
		"whatsapp_business_account": map[string]string{"id": st.ID, "name": st.Name},
		"application":               map[string]string{"id": st.App.ID, "name": st.App.Name, "link": appLink(st.App.ID)},
		"health_status":             st.health("FLOW", f.id, 0),
	}
}

func (a *assets) flow(id string) *flow {
	for _, f := range a.flows {
		if f.id == id {
			return f
		}
	}
	return nil
}

func (a *assets) hasFlow(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flow(id) != nil
}

// listFlows answers GET /{version}/{account}/flows.
func (s *Sim) listFlows(w http.ResponseWriter, r *http.Request) {
	st, ok := s.manages(w, r)
	if !ok {
		return
	}
	s.assets.mu.Lock()
	defer s.assets.mu.Unlock()
	data := []any{}
	for _, f := range s.assets.flows {
		chosen, unknown := choose(r, f.fields(st, r.Host), flowDefaults)
		if unknown != "" {
			s.deny(w, nonexisting(unknown, "Flow"))
			return
		}
		data = append(data, chosen)
	}
	s.succeed(w, page(r, data))
}

// createFlow answers POST /{version}/{account}/flows.
func (s *Sim) createFlow(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.manages(w, r); !ok {
		return
	}
	p, ok := s.params(w, r)
	if !ok {
		return
	}
	f := &flow{name: p.text("name"), status: "DRAFT", updated: time.Now(), endpoint: p.text("endpoint_uri")}
	if f.name == "" {
		s.deny(w, required("name"))
		return
	}
	if f.categories, ok = p["categories"].([]any); !ok || len(f.categories) == 0 {
		s.deny(w, required("categories"))
		return
	}
	if !f.setJSON(p["flow_json"]) {
		s.deny(w, invalid("Param flow_json must be a valid JSON"))
		return
	}
	if p["publish"] == true {
		f.status = "PUBLISHED"
	}
	s.assets.mu.Lock()
	defer s.assets.mu.Unlock()
	if slices.ContainsFunc(s.assets.flows, func(other *flow) bool { return other.name == f.name }) {
		s.deny(w, &denial{status: http.StatusBadRequest, code: 100, subcode: 4016019, message: "Invalid parameter"})
		return
	}
	f.id = numberOf(fmt.Sprint("flow", f.name, s.assets.next()))
	s.assets.flows = append(s.assets.flows, f)
	s.succeed(w, map[string]any{"id": f.id, "success": true, "validation_errors": []any{}})
}

// setJSON sets the JSON of a flow, which calls give as text. Without a value it changes nothing.
func (f *flow) setJSON(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		if !json.Valid([]byte(v)) {
			return false
		}
		f.json = v
	default: // the text was JSON in a form
		b, err := json.Marshal(v)
		if err != nil {
			return false
		}
		f.json = string(b)
	}
	return true
}

// withFlow answers a call on a flow. answer has the lock.
func (s *Sim) withFlow(w http.ResponseWriter, r *http.Request, answer func(f *flow, p parameters) (any, *denial)) {
	if d := s.standing.Load().mayTouch(scopeManagement); d != nil {
		s.deny(w, d)
		return
	}
	p, ok := s.params(w, r)
	if !ok {
		return
	}
	s.assets.mu.Lock()
	var body any
	d := missing(r)
	if f := s.assets.flow(r.PathValue("id")); f != nil {
		body, d = answer(f, p)
	}
	s.assets.mu.Unlock()
	if d != nil {
		s.deny(w, d)
		return
	}
	s.succeed(w, body)
}

// editFlow changes the name, the categories or the endpoint of a flow.
func (s *Sim) editFlow(w http.ResponseWriter, r *http.Request) {
	s.withFlow(w, r, func(f *flow, p parameters) (any, *denial) {
		if name := p.text("name"); name != "" {
			f.name = name
		}
		if list, ok := p["categories"].([]any); ok {
			f.categories = list
		}
		if uri := p.text("endpoint_uri"); uri != "" {
			f.endpoint = uri
		}
		f.updated = time.Now()
		return done, nil
	})
}

// getFlow answers GET /{version}/{flow}.
func (s *Sim) getFlow(w http.ResponseWriter, r *http.Request) {
	s.withFlow(w, r, func(f *flow, _ parameters) (any, *denial) {
		chosen, unknown := choose(r, f.fields(s.standing.Load(), r.Host), flowDefaults)
		if unknown != "" {
			return nil, nonexisting(unknown, "Flow")
		}
		return chosen, nil
	})
}

// flowAssets answers GET /{version}/{flow}/assets.
func (s *Sim) flowAssets(w http.ResponseWriter, r *http.Request) {
	s.withFlow(w, r, func(f *flow, _ parameters) (any, *denial) {
		return page(r, []any{map[string]any{
			"name": "flow.json", "asset_type": "FLOW_JSON", "download_url": "http://" + r.Host + "/m1/v/" + f.id,
		}}), nil
	})
}

// putFlowAsset answers POST /{version}/{flow}/assets: a form with the JSON of the flow.
func (s *Sim) putFlowAsset(w http.ResponseWriter, r *http.Request) {
	s.withFlow(w, r, func(f *flow, p parameters) (any, *denial) {
		switch {
		case f.status != "DRAFT":
			return nil, &denial{status: http.StatusBadRequest, code: 139002, subcode: 4016013, message: "(#139002) Publishing Flow in invalid state"}
		case p["file"] == nil:
			return nil, required("file")
		case !f.setJSON(p["file"]):
			return nil, invalid("Param file must be a valid JSON")
		}
		f.updated = time.Now()
		return map[string]any{"success": true, "validation_errors": []any{}}, nil
	})
}

// publishFlow answers POST /{version}/{flow}/publish.
func (s *Sim) publishFlow(w http.ResponseWriter, r *http.Request) {
	s.moveFlow(w, r, "DRAFT", "PUBLISHED")
}

// deprecateFlow answers POST /{version}/{flow}/deprecate.
func (s *Sim) deprecateFlow(w http.ResponseWriter, r *http.Request) {
	s.moveFlow(w, r, "PUBLISHED", "DEPRECATED")
}

func (s *Sim) moveFlow(w http.ResponseWriter, r *http.Request, from, to string) {
	s.withFlow(w, r, func(f *flow, _ parameters) (any, *denial) {
		if f.status != from {
			return nil, &denial{status: http.StatusBadRequest, code: 139002, subcode: 0, message: fmt.Sprintf("(#139002) The Flow is %s, so it cannot become %s.", f.status, to)}
		}
		f.status, f.updated = to, time.Now()
		return done, nil
	})
}

// deleteFlow answers DELETE /{version}/{flow}. A published flow cannot be deleted.
func (s *Sim) deleteFlow(w http.ResponseWriter, r *http.Request) {
	s.withFlow(w, r, func(f *flow, _ parameters) (any, *denial) {
		if f.status != "DRAFT" {
			return nil, &denial{status: http.StatusBadRequest, code: 139004, subcode: 0, message: "(#139004) Deleting Flow in invalid state"}
		}
		s.assets.flows = slices.DeleteFunc(s.assets.flows, func(other *flow) bool { return other == f })
		return done, nil
	})
}
