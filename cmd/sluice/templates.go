package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// templatesCmd has the commands about templates.
type templatesCmd struct {
	List templatesListCmd `cmd:"" help:"List the templates of the accounts: status, category, quality, and how many messages are held because of them."`
	Show templatesShowCmd `cmd:"" help:"Show a template in all accounts and languages, with what its messages have parameters for."`
	Sync templatesSyncCmd `cmd:"" help:"Let the workers read the templates of an account from Meta now."`
}

// templateAccounts is the answer of GET /v1/templates.
type templateAccounts struct {
	Accounts []struct {
		ID        string    `json:"waba_id"`
		ReadAt    time.Time `json:"read_at"`
		Fresh     bool
		Error     string
		Count     int
		Templates []struct {
			ID, Name, Language, Status, Category, Quality string
			Held                                          int    `json:"held_messages"`
			Because                                       string `json:"held_because"`
			Parameters                                    *struct {
				Named         bool
				Header        string
				Body, Buttons []string
				Cards         int
			}
		}
	}
	Incomplete bool
}

// ends says what the list does not show.
func (a templateAccounts) ends(t table) {
	for _, one := range a.Accounts {
		switch {
		case one.Error != "":
			t.row(fmt.Sprintf("Account %s: the last read from Meta failed: %s", one.ID, one.Error))
		case !one.Fresh:
			t.row(fmt.Sprintf("Account %s: last read from Meta: %s. Messages pass unchecked.", one.ID, clock(one.ReadAt, "never")))
		}
	}
	if a.Incomplete {
		t.row("More templates match. Give --account, --name or --status.")
	}
}

type templatesListCmd struct {
	Account *string `help:"Only of this WhatsApp Business Account." placeholder:"WABA-ID"`
	Name    *string `help:"Only templates of this name." placeholder:"NAME"`
	Status  *string `help:"Only templates with this status of Meta's, for example PAUSED." placeholder:"STATUS"`
	consoleFlags
}

// Run lists the templates.
func (l templatesListCmd) Run(ctx context.Context) error {
	return l.ask(ctx, "GET", query("/v1/templates", "waba_id", l.Account, "name", l.Name, "status", l.Status), nil, read(func(t table, a templateAccounts) {
		t.row("ACCOUNT", "TEMPLATE", "STATUS", "CATEGORY", "QUALITY", "HELD MESSAGES")
		for _, account := range a.Accounts {
			for _, one := range account.Templates {
				t.row(account.ID, one.Name+"/"+one.Language, one.Status, orDash(one.Category), orDash(one.Quality), one.Held)
			}
		}
		a.ends(t)
	}))
}

type templatesShowCmd struct {
	Name    string  `arg:"" help:"The name of the template."`
	Account *string `help:"Only of this WhatsApp Business Account." placeholder:"WABA-ID"`
	consoleFlags
}

// Run shows a template.
func (s templatesShowCmd) Run(ctx context.Context) error {
	found := false
	err := s.ask(ctx, "GET", query("/v1/templates", "waba_id", s.Account, "name", &s.Name), nil, read(func(t table, a templateAccounts) {
		for _, account := range a.Accounts {
			for _, one := range account.Templates {
				if found {
					t.row("")
				}
				found = true
				t.row("template", one.Name+"/"+one.Language)
				t.row("account", account.ID)
				t.row("read from Meta", clock(account.ReadAt, "never"))
				t.row("id", orDash(one.ID))
				t.row("status", one.Status)
				t.row("category", orDash(one.Category))
				t.row("quality", orDash(one.Quality))
				t.row("held messages", fmt.Sprint(one.Held, " ", one.Because))
				if p := one.Parameters; p != nil {
					t.row("header", orDash(p.Header))
					t.row("body variables", orDash(strings.Join(p.Body, ", ")))
					t.row("buttons", orDash(strings.Join(p.Buttons, ", ")))
					t.row("cards", p.Cards)
				}
			}
		}
		a.ends(t)
	}))
	if err == nil && !found && !s.JSON {
		err = fmt.Errorf("the catalogue has no template %s. `sluice templates sync` reads the templates now", s.Name)
	}
	return err
}

type templatesSyncCmd struct {
	Account string `required:"" help:"WhatsApp Business Account id." placeholder:"WABA-ID"`
	signature
	consoleFlags
}

// Run orders the sync.
func (s templatesSyncCmd) Run(ctx context.Context) error {
	return s.ask(ctx, "POST", "/v1/templates/sync", s.order(map[string]any{"waba_id": s.Account}), read(func(t table, a struct {
		Account string `json:"waba_id"`
	},
	) {
		t.row("Workers read the templates of account " + a.Account + " from Meta, within seconds.")
	}))
}
