package graphsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sluice/internal/cloudapi"
)

// Account is a business's set-up at Meta: what the read endpoints tell of it, and what
// refuses its messages. The zero value is in good standing: every phone number id is a
// number of it, and every template exists.
type Account struct {
	ID        string     `json:"id"`                    // of the WhatsApp Business Account; empty: "102290129340398"
	Name      string     `json:"name"`                  // empty: "Simulated Business"
	Review    string     `json:"account_review_status"` // empty: "APPROVED"
	Refuse    int        `json:"refuse"`                // the Graph error code that every message meets, 131031 (locked) say; 0: none
	Tier      string     `json:"messaging_limit"`       // see tiers; empty: "TIER_UNLIMITED". It is of the portfolio, so of all numbers together
	Token     Token      `json:"token"`
	App       App        `json:"app"`
	Numbers   []Number   `json:"numbers"`   // the phone numbers there are; null: any
	Templates []Template `json:"templates"` // the templates there are; null: any, with any parameters
}

// Token is the access token of the account's system user.
type Token struct {
	Value     string   `json:"value"`      // what calls must carry; empty: any, but there must be one
	Type      string   `json:"type"`       // empty: "SYSTEM_USER"; "USER" for a person's
	ExpiresIn Duration `json:"expires_in"` // from when it is set; 0: never; below 0: it has expired
	Revoked   bool     `json:"revoked"`
	Scopes    []string `json:"scopes"`  // its permissions; null: both of WhatsApp's
	Targets   []string `json:"targets"` // the accounts it may touch; null: this one
}

// App is the Meta app that the token belongs to and that webhooks go to.
type App struct {
	ID           string   `json:"id"`           // empty: "670843887433847"
	Name         string   `json:"name"`         // empty: "Simulated App"
	Unsubscribed bool     `json:"unsubscribed"` // the account reports nothing to it
	Fields       []string `json:"fields"`       // the webhook fields it asked for; null: all
	Callback     string   `json:"callback"`     // an override of the account's callback URL; empty: none
}

// Number is one phone number. What is empty is as for a number in good standing.
type Number struct {
	ID               string `json:"id"`
	Display          string `json:"display_phone_number"`         // "+1 555-224-2922"; empty: made from ID
	Name             string `json:"verified_name"`                // empty: "Simulated Business"
	Status           string `json:"status"`                       // empty: "CONNECTED"; others refuse, see refusalOf
	Quality          string `json:"quality_rating"`               // empty: "GREEN"
	CodeVerification string `json:"code_verification_status"`     // empty: "VERIFIED"
	NameStatus       string `json:"name_status"`                  // empty: "APPROVED"
	Platform         string `json:"platform_type"`                // empty: "CLOUD_API"; another refuses with 133010
	Mode             string `json:"account_mode"`                 // empty: "LIVE"
	Official         bool   `json:"is_official_business_account"` // the green tick
	OnBizApp         bool   `json:"is_on_biz_app"`                // also used in the WhatsApp Business app: 20 messages a second
	Throughput       string `json:"throughput"`                   // level; empty: "HIGH" when Rate is above 80, else "STANDARD"
	Rate             int    `json:"rate"`                         // messages in any second; 0: Options.Rate
	Callback         string `json:"callback"`                     // an override of the callback URL for its messages webhooks; empty: none
	Refuse           int    `json:"refuse"`                       // the Graph error code that its messages meet, 131057 (maintenance) say; 0: none
}

// What Meta's ids and names are where nobody gives others.
const (
	defaultAccount = "102290129340398"
	defaultApp     = "670843887433847"
	defaultName    = "Simulated Business"
	systemUser     = "122106390518001"
)

// The permissions of WhatsApp.
const (
	scopeMessaging  = "whatsapp_business_messaging"
	scopeManagement = "whatsapp_business_management"
)

// Duration is a time.Duration that is text in JSON: "72h".
type Duration time.Duration

// MarshalText writes the duration as text.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// standing is an Account as calls meet it. It never changes: a new account is a new
// standing, so calls need no lock.
type standing struct {
	Account
	given     Account   // as it was set, gaps and all
	expires   time.Time // of the token; zero: never
	numbers   map[string]Number
	templates map[string]*sheet // by "name/language"
}

// newStanding checks an account and fills its gaps.
func newStanding(given Account, o Options, now time.Time) (*standing, error) {
	a := clone(given)
	a.ID = cmp.Or(a.ID, o.Webhook.WABA, defaultAccount)
	a.Name = cmp.Or(a.Name, defaultName)
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
	if err := checkCode("refuse", a.Refuse); err != nil {
		return nil, err
	}
	for i, n := range a.Numbers {
		if !numberForm.MatchString(n.ID) {
			return nil, fmt.Errorf("numbers[%d].id is not a phone number id", i)
		}
		if err := checkCode(fmt.Sprintf("numbers[%d].refuse", i), n.Refuse); err != nil {
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

// tiers are the portfolio's limits: how many people may be written to unasked in 24 hours.
// https://developers.facebook.com/docs/whatsapp/messaging-limits
var tiers = map[string]int{
	"TIER_250": 250, "TIER_2K": 2000, "TIER_10K": 10_000, "TIER_100K": 100_000, "TIER_UNLIMITED": 0,
}

// number returns a phone number by its id; false when there is none.
func (st *standing) number(id string, rate int) (Number, bool) {
	if st.Numbers == nil {
		return Number{ID: id}.filled(rate), numberForm.MatchString(id) && id != st.ID && id != st.App.ID
	}
	n, ok := st.numbers[id]
	return n, ok
}

// digits is the phone number behind an id, as webhooks write it.
func (st *standing) digits(id string) string {
	n, ok := st.numbers[id]
	if !ok {
		n.ID = id
	}
	return n.digits()
}

// number returns the phone number of an account by its id, a new one if need be.
func (a *Account) number(id string) *Number {
	i := slices.IndexFunc(a.Numbers, func(n Number) bool { return n.ID == id })
	if i < 0 {
		i = len(a.Numbers)
		a.Numbers = append(a.Numbers, Number{ID: id})
	}
	return &a.Numbers[i]
}

// template returns the template of an account, a new one if need be.
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

// refusalOf returns the Graph error code that every message of a number meets, or 0. Meta
// documents the states and the codes, not which state answers with which code:
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

// checkCode tells whether a code is one of Meta's, or 0.
func checkCode(name string, code int) error {
	if _, ok := cloudapi.Lookup(code); !ok && code != 0 {
		return fmt.Errorf("%s: %d is no error code of Meta's", name, code)
	}
	return nil
}

// clone copies an account down to its lists.
func clone(a Account) Account {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // texts and numbers only
	}
	var c Account
	if err := json.Unmarshal(b, &c); err != nil {
		panic(err)
	}
	return c
}
