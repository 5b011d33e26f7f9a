package console_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// fakeCatalogue has the templates of two accounts.
type fakeCatalogue []message.TemplateAccount

func (f fakeCatalogue) Accounts() []message.TemplateAccount { return f }

func catalogue() fakeCatalogue {
	sale := message.Template{
		ID: "7", Name: "sale", Language: "en_US", Status: "PAUSED", Category: "MARKETING", Quality: "RED", Named: true,
		Parts: &message.TemplateParts{Header: "IMAGE", Body: []string{"name"}, Buttons: []message.TemplateButton{{Type: "URL"}}, Cards: []message.TemplateParts{{}}},
	}
	fresh := message.TemplateSync{Synced: 1_700_000_000_000, Fresh: time.Now().Add(time.Hour).UnixMilli()}
	return fakeCatalogue{
		{ID: "11", Numbers: []string{ours}, Sync: fresh, Templates: []message.Template{{Name: "order", Language: "en_US", Status: "APPROVED"}, sale}},
		{ID: "22", Numbers: []string{theirs}, Sync: message.TemplateSync{Error: "HTTP 400, code 190"}, Templates: []message.Template{sale}},
	}
}

// TestTemplates: an API key sees the accounts of its numbers, with the states of their templates and what is held because of them.
func TestTemplates(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.store.held = []message.Hold{
		{Number: ours, Reason: "another hold"}, {Number: ours, Template: "sale/en_US", Reason: "Meta announced for the template: PAUSED"}, {Number: theirs, Template: "sale/en_US", Reason: "x"},
	}
	get := func(key, query string) (accounts []map[string]any) {
		t.Helper()
		status, answer := d.ask(t, key, "GET", "/v1/templates"+query, "")
		if status != 200 {
			t.Fatalf("%d %v", status, answer)
		}
		for _, a := range answer["accounts"].([]any) {
			accounts = append(accounts, a.(map[string]any))
		}
		return accounts
	}
	names := func(account map[string]any) (all []string) {
		for _, one := range account["templates"].([]any) {
			all = append(all, one.(map[string]any)["name"].(string))
		}
		return all
	}
	all := get("wide", "")
	if len(all) != 2 || all[0]["fresh"] != true || all[1]["fresh"] != false || all[1]["error"] != "HTTP 400, code 190" || all[0]["count"] != 2.0 || !slices.Equal(names(all[0]), []string{"order", "sale"}) {
		t.Errorf("%v", all)
	}
	sale := fmt.Sprint(all[0]["templates"].([]any)[1])
	for _, want := range []string{"status:PAUSED", "sendable:false", "quality:RED", "held_messages:1", "held_because:Meta announced for the template: PAUSED", "header:IMAGE", "body:[name]", "buttons:[URL]", "cards:1", "named:true"} {
		if !strings.Contains(sale, want) {
			t.Errorf("no %s in %s", want, sale)
		}
	}
	if own := get("admin", ""); len(own) != 1 || own[0]["waba_id"] != "11" {
		t.Errorf("a key for one number sees %v", own)
	}
	if some := get("wide", "?status=paused&waba_id=11"); len(some) != 1 || !slices.Equal(names(some[0]), []string{"sale"}) {
		t.Errorf("%v", some)
	}
	if status, answer := d.ask(t, "admin", "POST", "/v1/templates/sync", `{"waba_id":"22",`+signed+`}`); status != 404 || answer["code"] != "account_not_found" {
		t.Errorf("a sync of another client's account: %d %v", status, answer)
	}
	if status, answer := d.ask(t, "admin", "POST", "/v1/templates/sync", `{"waba_id":"11",`+signed+`}`); status != 200 || !slices.Equal(d.synced, []string{"11"}) {
		t.Errorf("%d %v, synced %v", status, answer, d.synced)
	}
	if n := len(d.store.noted); n != 1 || d.store.noted[0].Verb != message.VerbTemplates {
		t.Errorf("%+v", d.store.noted)
	}
}
