package app

import (
	"cmp"
	"context"
	"slices"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/doctor"
	"sluice/internal/holds"
	"sluice/internal/onboarding"
	"sluice/internal/templates"
)

// onboarding returns what connects numbers after an Embedded Signup.
func (p *Program) onboarding(c config.Graph, accounts *holds.Accounts, stored *templates.Store) *onboarding.Onboarding {
	return onboarding.New(onboarding.Options{
		Graph: func(token string) onboarding.Graph {
			return cloudapi.NewClient(cloudapi.Options{BaseURL: c.BaseURL, Version: c.Version, Token: func(string) (string, error) { return token, nil }})
		},
		App: func(name string) (string, bool) {
			a, ok := p.directory.App(name)
			return string(a.Secret), ok
		},
		Token: func(ctx context.Context, number string) (string, error) {
			if err := p.directory.Load(ctx); err != nil { // another producer may have stored it a moment ago
				return "", err
			}
			return p.directory.Token(number)
		},
		Save: p.saveNumber,
		Note: accounts.Note,
		Want: func(ctx context.Context, account string) error { return stored.Want(ctx, account) },
		Examine: func(g cloudapi.Grant, n cloudapi.Number, rate int) (found []onboarding.Finding) {
			for _, f := range doctor.OfNumber(g, n, rate) {
				if f.Verdict != doctor.OK {
					found = append(found, onboarding.Finding{Verdict: string(f.Verdict), Check: f.Check, Says: f.Says, Fix: f.Fix})
				}
			}
			return found
		},
		Registration: directory.NewRegistrations(p.DB).Count,
	})
}

// saveNumber stores a number with its access token, unless that is empty. What is stored of the number already stays.
func (p *Program) saveNumber(ctx context.Context, q onboarding.Request, token string) error {
	all, err := p.entries.List(ctx)
	if err != nil {
		return err
	}
	n, secrets := directory.Number{PhoneNumberID: q.Number}, directory.Secrets{}
	if token != "" {
		secrets[directory.SecretAccessToken] = config.Secret(token)
	}
	if i := slices.IndexFunc(all.Numbers, func(n directory.Number) bool { return n.PhoneNumberID == q.Number }); i >= 0 {
		n = all.Numbers[i]
	}
	if token == "" && n.Client == cmp.Or(q.Client, n.Client) && n.RateLimit == cmp.Or(q.RateLimit, n.RateLimit) {
		return nil
	}
	if q.Client != "" {
		n.Client = q.Client
	}
	if q.RateLimit > 0 {
		n.RateLimit = q.RateLimit
	}
	q.Change.Revision = n.Revision
	_, err = p.entries.Put(ctx, n, secrets, q.Change)
	return err
}
