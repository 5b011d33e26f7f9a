package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// templates is what is known of the templates of accounts.
type templates interface {
	// Accounts returns all known accounts, by id.
	Accounts() []message.TemplateAccount
}

// maxTemplates is how many templates an answer has at most.
const maxTemplates = 1000

// templateList is the answer of GET /v1/templates.
type templateList struct {
	Accounts   []templateAccount `json:"accounts" doc:"The accounts that have a number of the API key, by id."`
	Incomplete bool              `json:"incomplete,omitempty" doc:"true: more templates match. Name an account, a template or a status."`
}

// templateAccount is a WhatsApp Business Account with its templates.
type templateAccount struct {
	ID        string            `json:"waba_id" doc:"WhatsApp Business Account id."`
	Numbers   []string          `json:"phone_number_ids" doc:"Its numbers that the API key covers."`
	ReadAt    time.Time         `json:"read_at,omitzero" doc:"When the templates were last read from Meta. Absent: they never were."`
	Fresh     bool              `json:"fresh" doc:"Messages are compared with their templates. false: the last read is too old, and messages pass unchecked."`
	Error     string            `json:"error,omitempty" doc:"Why the last read failed."`
	Count     int               `json:"count" doc:"How many templates the account has."`
	Held      int               `json:"held_messages" doc:"How many messages of its templates are held."`
	Templates []accountTemplate `json:"templates" doc:"The templates that match, by name and language."`
}

// accountTemplate is a template of an account.
type accountTemplate struct {
	ID       string              `json:"id,omitempty" doc:"Meta's id of it."`
	Name     string              `json:"name" doc:"Its name."`
	Language string              `json:"language" doc:"Its language, for example en_US."`
	Status   string              `json:"status" doc:"Meta's: APPROVED, PAUSED, DISABLED, REJECTED, PENDING, ARCHIVED and others."`
	Sendable bool                `json:"sendable" doc:"Meta accepts messages of it."`
	Category string              `json:"category,omitempty" doc:"Meta's: MARKETING, UTILITY or AUTHENTICATION."`
	Quality  string              `json:"quality,omitempty" doc:"Meta's: GREEN, YELLOW, RED or UNKNOWN."`
	Held     int                 `json:"held_messages,omitempty" doc:"How many of its messages are held because of it."`
	Because  string              `json:"held_because,omitempty" doc:"The reason of the hold on it."`
	Needs    *templateParameters `json:"parameters,omitempty" doc:"What its messages have parameters for. Absent: not known."`
}

// templateParameters are what the messages of a template have parameters for.
type templateParameters struct {
	Named   bool     `json:"named,omitempty" doc:"The parameters have names; otherwise positions."`
	Header  string   `json:"header,omitempty" doc:"Meta's format of the header: TEXT, IMAGE, VIDEO, DOCUMENT or LOCATION."`
	Body    []string `json:"body,omitempty" doc:"The variables of the body."`
	Buttons []string `json:"buttons,omitempty" doc:"The types of the buttons."`
	Cards   int      `json:"cards,omitempty" doc:"How many cards the carousel has."`
}

// syncRequest is the body of POST /v1/templates/sync.
type syncRequest struct {
	Account string `json:"waba_id" doc:"WhatsApp Business Account id."`
	order
}

// syncResult is its answer.
type syncResult struct {
	Account string `json:"waba_id" doc:"WhatsApp Business Account id."`
	Ordered bool   `json:"ordered" doc:"Workers read the templates of the account from Meta, within seconds."`
}

func (c *Console) listTemplates(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	q := r.URL.Query()
	account, name, status := q.Get("waba_id"), q.Get("name"), strings.ToUpper(q.Get("status"))
	all, err := c.o.Holds.List(ctx)
	if err != nil {
		return nil, c.unavailable("list holds", err)
	}
	all = slices.DeleteFunc(all, func(h message.Hold) bool { return h.Template == "" })
	held, _, err := c.o.Holds.CountHeld(ctx, all)
	if err != nil {
		return nil, c.unavailable("count held messages", err)
	}
	shown, count := templateList{Accounts: []templateAccount{}}, 0
	for _, a := range c.o.Templates.Accounts() {
		numbers := slices.DeleteFunc(slices.Clone(a.Numbers), func(n string) bool { return !key.Covers(n) })
		if len(numbers) == 0 && !key.CoversAll() || account != "" && a.ID != account {
			continue
		}
		one := templateAccount{
			ID: a.ID, Numbers: append([]string{}, numbers...), Fresh: time.Now().UnixMilli() < a.Sync.Fresh, Error: a.Sync.Error, Count: len(a.Templates), Templates: []accountTemplate{},
		}
		if a.Sync.Synced > 0 {
			one.ReadAt = time.UnixMilli(a.Sync.Synced).UTC()
		}
		for _, t := range a.Templates {
			shownOne := showTemplate(t)
			for i, h := range all {
				if h.Template == t.TemplateID() && slices.Contains(numbers, h.Number) {
					shownOne.Held += held[i]
					shownOne.Because = cmp.Or(shownOne.Because, h.Reason)
				}
			}
			one.Held += shownOne.Held
			switch {
			case name != "" && t.Name != name, status != "" && t.Status != status:
			case count == maxTemplates:
				shown.Incomplete = true
			default:
				count++
				one.Templates = append(one.Templates, shownOne)
			}
		}
		shown.Accounts = append(shown.Accounts, one)
	}
	return shown, nil
}

func showTemplate(t message.Template) accountTemplate {
	shown := accountTemplate{ID: t.ID, Name: t.Name, Language: t.Language, Status: t.Status, Sendable: t.Sendable(), Category: t.Category, Quality: t.Quality}
	if p := t.Parts; p != nil {
		shown.Needs = &templateParameters{Named: t.Named, Header: p.Header, Body: p.Body, Cards: len(p.Cards)}
		for _, b := range p.Buttons {
			shown.Needs.Buttons = append(shown.Needs.Buttons, b.Type)
		}
	}
	return shown
}

func (c *Console) syncTemplates(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask syncRequest
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.signed()
	}
	known := slices.ContainsFunc(c.o.Templates.Accounts(), func(a message.TemplateAccount) bool {
		return a.ID == ask.Account && (key.CoversAll() || slices.ContainsFunc(a.Numbers, key.Covers))
	})
	if refused == nil && !known {
		refused = httpapi.RefuseAt("waba_id", "account_not_found")
	}
	if refused != nil {
		return nil, refused
	}
	if err := c.o.Audit.Add(ctx, ask.entry(message.VerbTemplates, "account "+ask.Account, key)); err != nil {
		return nil, c.unavailable("write audit log", err)
	}
	if err := c.o.SyncTemplates(ctx, ask.Account); err != nil {
		return nil, c.unavailable("ask for a sync of templates", err)
	}
	c.orders.WithLabelValues(message.VerbTemplates).Inc()
	return syncResult{ask.Account, true}, nil
}

// templateRoutes are the routes about templates.
func (c *Console) templateRoutes() []httpapi.Route {
	return []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/v1/templates", Name: "listTemplates", Group: "Templates", Scope: httpapi.ScopeConsole,
			Summary: "List the templates of the WhatsApp Business Accounts, with their states, and what is held because of them.",
			Doc:     "This is what Sluice knows of them, see docs/templates.md. An answer has at most 1,000 templates.",
			Params: []httpapi.Param{
				{In: "query", Name: "waba_id", Doc: "Only of this WhatsApp Business Account.", Example: "102290129340398"},
				{In: "query", Name: "name", Doc: "Only templates of this name.", Example: "order_shipped"},
				{In: "query", Name: "status", Doc: "Only templates with this status of Meta's.", Example: "PAUSED"},
			},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The accounts.", Type: templateList{}}},
			Codes:   []string{"store_unavailable"}, Handler: c.handle(c.listTemplates),
		},
		{
			Method: http.MethodPost, Path: "/v1/templates/sync", Name: "syncTemplates", Group: "Templates", Scope: httpapi.ScopeAdmin,
			Summary: "Read the templates of an account from Meta now.",
			Doc:     "Workers do so by themselves, see docs/templates.md.",
			Body:    &httpapi.Body{Type: syncRequest{}, Example: `{"waba_id":"102290129340398","actor":"anna","reason":"webhooks were off"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "Workers read them within seconds.", Type: syncResult{}}},
			Codes:   orderCodes("account_not_found"), Handler: c.handle(c.syncTemplates),
		},
	}
}
