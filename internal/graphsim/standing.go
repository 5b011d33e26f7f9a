package graphsim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// standing is an Account that is prepared for calls. It never changes: a new account is a new
// standing, so calls need no lock.
type standing struct {
	Account
	given     Account   // as it was set, without defaults
	expires   time.Time // of the token; zero: never
	numbers   map[string]Number
	templates map[string]*sheet    // by "name/language"
	added     map[string]time.Time // when templates were added to the account later, by "name/language"
}

// newStanding checks an account and sets its defaults.
func newStanding(given Account, o Options, now time.Time) (*standing, error) {
	a := clone(given)
	a.ID = cmp.Or(a.ID, o.Webhook.WABA, defaultAccount)
	a.Name = cmp.Or(a.Name, defaultName)
	a.Business = cmp.Or(a.Business, defaultOwner)
	a.Review = cmp.Or(a.Review, "APPROVED")
	a.Tier = cmp.Or(a.Tier, "TIER_UNLIMITED")
	a.App.ID = cmp.Or(a.App.ID, defaultApp)
	a.App.Name = cmp.Or(a.App.Name, "Simulated App")
	a.Token.Value = cmp.Or(a.Token.Value, o.Token)
	a.Token.Type = cmp.Or(a.Token.Type, "SYSTEM_USER")
	if a.Token.Scopes == nil {
		a.Token.Scopes = []string{scopeManagement, scopeMessaging}
	}
	if a.Token.Targets == nil {
		a.Token.Targets = []string{a.ID}
	}
	st := &standing{given: clone(given), numbers: map[string]Number{}, templates: map[string]*sheet{}}
	if a.Token.ExpiresIn != 0 {
		st.expires = now.Add(time.Duration(a.Token.ExpiresIn))
	}
	if _, ok := tiers[a.Tier]; !ok {
		return nil, fmt.Errorf("messaging_limit %q is none of Meta's tiers", a.Tier)
	}
	if err := errors.Join(checkCode("refuse", a.Refuse), checkCode("fail", a.Fail)); err != nil {
		return nil, err
	}
	for i, n := range a.Numbers {
		if !numberForm.MatchString(n.ID) {
			return nil, fmt.Errorf("numbers[%d].id is not a phone number id", i)
		}
		if err := errors.Join(checkCode(fmt.Sprintf("numbers[%d].refuse", i), n.Refuse), checkCode(fmt.Sprintf("numbers[%d].fail", i), n.Fail)); err != nil {
			return nil, err
		}
		a.Numbers[i] = n.filled(o.Rate)
		st.numbers[n.ID] = a.Numbers[i]
	}
	for i := range a.Templates {
		t, err := newSheet(&a.Templates[i])
		if err != nil {
			return nil, fmt.Errorf("templates[%d]: %w", i, err)
		}
		st.templates[t.key()] = t
	}
	st.Account = a
	return st, nil
}

// tiers are the limits of the portfolio: with how many recipients it may open a conversation in 24 hours.
// https://developers.facebook.com/docs/whatsapp/messaging-limits
var tiers = map[string]int{
	"TIER_250": 250, "TIER_2K": 2000, "TIER_10K": 10_000, "TIER_100K": 100_000, "TIER_UNLIMITED": 0,
}

// number returns a phone number by its id; false: there is none.
func (st *standing) number(id string, rate int) (Number, bool) {
	if st.Numbers == nil {
		return Number{ID: id}.filled(rate), numberForm.MatchString(id) && id != st.ID && id != st.App.ID
	}
	n, ok := st.numbers[id]
	return n, ok
}

// digits returns the phone number of an id, as webhooks write it.
func (st *standing) digits(id string) string {
	n, ok := st.numbers[id]
	if !ok {
		n.ID = id
	}
	return n.digits()
}

// number returns the phone number of an account by its id. It adds the number if there is none.
func (a *Account) number(id string) *Number {
	i := slices.IndexFunc(a.Numbers, func(n Number) bool { return n.ID == id })
	if i < 0 {
		i = len(a.Numbers)
		a.Numbers = append(a.Numbers, Number{ID: id})
	}
	return &a.Numbers[i]
}

// template returns the template of an account. It adds the template if there is none.
func (a *Account) template(name, language string) *Template {
	i := slices.IndexFunc(a.Templates, func(t Template) bool { return t.Name == name && cmp.Or(t.Language, defaultLanguage) == language })
	if i < 0 {
		i = len(a.Templates)
		a.Templates = append(a.Templates, Template{Name: name, Language: language})
	}
	return &a.Templates[i]
}

func (n Number) filled(rate int) Number {
	n.Name = cmp.Or(n.Name, defaultName)
	n.Status = cmp.Or(n.Status, "CONNECTED")
	n.Quality = cmp.Or(n.Quality, "GREEN")
	n.CodeVerification = cmp.Or(n.CodeVerification, "VERIFIED")
	n.NameStatus = cmp.Or(n.NameStatus, "APPROVED")
	n.Platform = cmp.Or(n.Platform, "CLOUD_API")
	n.Mode = cmp.Or(n.Mode, "LIVE")
	if n.Rate = cmp.Or(n.Rate, rate); n.OnBizApp {
		n.Rate = 20
	}
	if n.Throughput == "" {
		n.Throughput = "STANDARD"
		if n.Rate > 80 {
			n.Throughput = "HIGH"
		}
	}
	return n
}

// refusalOf returns the Graph error code with which every message of a number is refused, or 0. Meta
// documents the states and the codes, but not which state has which code:
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status
func (st *standing) refusalOf(n Number) int {
	switch {
	case st.Refuse != 0:
		return st.Refuse
	case n.Refuse != 0:
		return n.Refuse
	case n.Platform != "CLOUD_API":
		return 133010
	}
	switch n.Status {
	case "CONNECTED", "FLAGGED":
		return 0
	case "BANNED", "RESTRICTED":
		return 131031
	case "RATE_LIMITED":
		return 131048
	}
	return 133010
}

// addedTo returns when the templates of a later standing were added.
func (st *standing) addedTo(after *standing) map[string]time.Time {
	added := map[string]time.Time{}
	for key := range after.templates {
		if at, later := st.added[key]; later {
			added[key] = at
		} else if st.templates[key] == nil {
			added[key] = time.Now()
		}
	}
	return added
}

// met adds a phone number that a call named, so that the account lists it.
func (s *Sim) met(number string) { s.limit.met(number) }

// SetAccount replaces the set-up at Meta from the next call on. The error says what is wrong
// with it. In this case nothing changes.
func (s *Sim) SetAccount(a Account) error {
	return s.change(func(now *Account) error { *now = clone(a); return nil })
}

// change changes the account in one step. The expiry of the token stays unless the token changes.
func (s *Sim) change(alter func(*Account) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.standing.Load()
	a := clone(before.given)
	if err := alter(&a); err != nil {
		return err
	}
	after, err := newStanding(a, s.options, time.Now())
	if err != nil {
		return err
	}
	if t := before.given.Token; t.Value == a.Token.Value && t.ExpiresIn == a.Token.ExpiresIn {
		after.expires = before.expires
	}
	after.added = before.addedTo(after)
	s.standing.Store(after)
	s.hooks.announce(before, after)
	s.assess()
	return nil
}
