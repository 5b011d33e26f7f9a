package graphsim

import (
	"encoding/json"
	"fmt"
	"time"

	"sluice/internal/cloudapi"
)

// Account is a business's set-up at Meta: what the read endpoints tell of it, and what
// refuses its messages. The zero value is in good standing: every phone number id is a
// number of it, and every template exists.
type Account struct {
	ID         string     `json:"id"`                    // of the WhatsApp Business Account; empty: "102290129340398"
	Name       string     `json:"name"`                  // empty: "Simulated Business"
	Review     string     `json:"account_review_status"` // empty: "APPROVED"
	Refuse     int        `json:"refuse"`                // the Graph error code that every message meets, 131031 (locked) say; 0: none
	RetryAfter int        `json:"retry_after"`           // the seconds in the header Retry-After of a message's refusal by Refuse; 0: none is there
	Fail       int        `json:"fail"`                  // the code with which every message that it takes is reported failed, 131042 say; 0: none
	Tier       string     `json:"messaging_limit"`       // see tiers; empty: "TIER_UNLIMITED". It is of the portfolio, so of all numbers together
	Token      Token      `json:"token"`
	App        App        `json:"app"`
	Numbers    []Number   `json:"numbers"`   // the phone numbers there are; null: any
	Templates  []Template `json:"templates"` // the templates there are; null: any, with any parameters
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
	Fail             int    `json:"fail"`                         // the code with which its messages are reported failed; 0: none
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

// checkCode tells whether a code is one of Meta's, or 0.
func checkCode(name string, code int) error {
	if _, ok := cloudapi.Lookup(code); !ok && code != 0 && !unlisted(code) {
		return fmt.Errorf("%s: %d is no error code of Meta's", name, code)
	}
	return nil
}

// unlisted tells whether a code stands for one that is in no list: Meta has some, and adds more.
func unlisted(code int) bool { return code >= 900_000 && code <= 999_999 }

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
