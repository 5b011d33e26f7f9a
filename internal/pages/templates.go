package pages

import (
	"fmt"
	"time"
)

// templateAccount is a WhatsApp Business Account with its templates, as the console API lists it.
type templateAccount struct {
	ID        string    `json:"waba_id"`
	Numbers   []string  `json:"phone_number_ids"`
	ReadAt    time.Time `json:"read_at"`
	Fresh     bool
	Error     string
	Count     int
	Held      int `json:"held_messages"`
	Templates []struct {
		Name, Language, Status, Category, Quality string
		Sendable                                  bool
		Held                                      int    `json:"held_messages"`
		Because                                   string `json:"held_because"`
	}
}

// templatesData is the data of the page.
type templatesData struct {
	Accounts   []templateAccount
	Incomplete bool
}

func templatesPage() page {
	return page{
		name: "templates", path: "templates", title: "Templates", nav: true,
		read: func(v *view) (d any, failed *problem) {
			var list templatesData
			failed = v.console("GET", withQuery("/v1/templates", "waba_id", v.query("waba_id"), "name", v.query("name"), "status", v.query("status")), nil, &list)
			return list, failed
		},
		acts: map[string]func(*view) (done, *problem){"sync": syncTemplates},
	}
}

// syncTemplates lets workers read the templates of an account.
func syncTemplates(v *view) (done, *problem) {
	account := v.field("waba_id")
	var result struct{ Ordered bool }
	if failed := v.console("POST", "/v1/templates/sync", v.order(map[string]any{"waba_id": account}), &result); failed != nil {
		return done{}, failed
	}
	return done{text: fmt.Sprintf("Workers read the templates of account %s from Meta, within seconds.", account), to: address("templates", "waba_id", account)}, nil
}
