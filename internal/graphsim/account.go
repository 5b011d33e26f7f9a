package graphsim

import (
	"encoding/json"
	"fmt"
	"time"

	"sluice/internal/cloudapi"
)

// Account is the set-up of a business at Meta. It decides what the read endpoints answer, and which messages are
// refused. The zero value is in good standing: every phone number id is a
// number of it, and every template exists.
type Account struct {
	ID         string     `json:"id"`                                      // of the WhatsApp Business Account; empty: "102290129340398"
	Name       string     `json:"name"`                                    // empty: "Simulated Business"
	Business   string     `json:"business"`                                // the portfolio that owns the account; empty: "2729063490586005"
	Review     string     `json:"account_review_status"`                   // empty: "APPROVED"
	Refuse     int        `json:"refuse"`                                  // the Graph error code with which every message is refused, for example 131031 (locked); 0: none
	RetryAfter int        `json:"retry_after"`                             // the seconds in the header Retry-After of a refusal by Refuse; 0: no header
	Fail       int        `json:"fail"`                                    // the code with which every accepted message is reported as failed, for example 131042; 0: none
	Tier       string     `json:"messaging_limit"`                         // see tiers; empty: "TIER_UNLIMITED". It belongs to the portfolio, so to all numbers together
	Versions   []string   `json:"graph_versions"`                          // of the Graph API, the oldest first; null: every version exists. An older one is served by the first, and others are refused with 2500
	NoCloud    bool       `json:"disable_marketing_messages_on_cloud_api"` // marketing templates on /messages are refused with 131063
	Syncing    Duration   `json:"marketing_sync"`                          // how long a template that was added to the account is refused with 134101 on /marketing_messages
	Token      Token      `json:"token"`
	App        App        `json:"app"`
	Numbers    []Number   `json:"numbers"`   // the existing phone numbers; null: any
	Templates  []Template `json:"templates"` // the existing templates; null: any, with any parameters
}

// Token is the access token of the account's system user.
type Token struct {
	Value     string   `json:"value"`      // the token that calls must have; empty: any token
	Type      string   `json:"type"`       // empty: "SYSTEM_USER"; "USER" for the token of a person
	ExpiresIn Duration `json:"expires_in"` // after it is set; 0: never; below 0: it has expired
	Revoked   bool     `json:"revoked"`
	Scopes    []string `json:"scopes"`  // its permissions; null: both permissions of WhatsApp
	Targets   []string `json:"targets"` // the accounts that it may use; null: this one
}

// App is the Meta app of the token and of the webhooks.
type App struct {
	ID           string   `json:"id"`           // empty: "670843887433847"
	Name         string   `json:"name"`         // empty: "Simulated App"
	Unsubscribed bool     `json:"unsubscribed"` // the account sends it no webhooks
	Fields       []string `json:"fields"`       // the webhook fields that it subscribes to; null: all
	Callback     string   `json:"callback"`     // an override of the account's callback URL; empty: none
	Escalation   bool     `json:"escalation"`   // a service message in a conversation of another app takes the conversation; else it is refused
	Code         string   `json:"signup_code"`  // the code of an Embedded Signup that can be exchanged for the token, once; empty: any code
}

// Number is one phone number. An empty member is as for a number in good standing.
type Number struct {
	ID               string `json:"id"`
	Display          string `json:"display_phone_number"`         // "+1 555-224-2922"; empty: made from ID
	Name             string `json:"verified_name"`                // empty: "Simulated Business"
	Status           string `json:"status"`                       // empty: "CONNECTED"; with others its messages are refused, see refusalOf
	Quality          string `json:"quality_rating"`               // empty: "GREEN"
	CodeVerification string `json:"code_verification_status"`     // empty: "VERIFIED"
	NameStatus       string `json:"name_status"`                  // empty: "APPROVED"
	Platform         string `json:"platform_type"`                // empty: "CLOUD_API"; with another its messages are refused with 133010
	Mode             string `json:"account_mode"`                 // empty: "LIVE"
	Official         bool   `json:"is_official_business_account"` // the green tick
	OnBizApp         bool   `json:"is_on_biz_app"`                // also used in the WhatsApp Business app: 20 messages per second
	Throughput       string `json:"throughput"`                   // level; empty: "HIGH" when Rate is above 80, else "STANDARD"
	Rate             int    `json:"rate"`                         // messages in any second; 0: Options.Rate
	PIN              string `json:"pin"`                          // of the two-step verification; empty: the next registration sets it
	Callback         string `json:"callback"`                     // an override of the callback URL for its messages webhooks; empty: none
	Refuse           int    `json:"refuse"`                       // the Graph error code with which its messages are refused, for example 131057 (maintenance); 0: none
	Fail             int    `json:"fail"`                         // the code with which its messages are reported as failed; 0: none
}

// The default ids and names.
const (
	defaultAccount = "102290129340398"
	defaultApp     = "670843887433847"
	defaultOwner   = "2729063490586005"
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

// checkCode returns an error unless a code is one of Meta's, or 0.
func checkCode(name string, code int) error {
	if _, ok := cloudapi.Lookup(code); !ok && code != 0 && !unlisted(code) {
		return fmt.Errorf("%s: %d is no error code of Meta's", name, code)
	}
	return nil
}

// unlisted reports whether a code represents the codes that are in no list. Meta has such codes, and adds more.
func unlisted(code int) bool { return code >= 900_000 && code <= 999_999 }

// clone returns a deep copy of an account.
func clone(a Account) Account {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // cannot happen: it has texts and numbers only
	}
	var c Account
	if err := json.Unmarshal(b, &c); err != nil {
		panic(err)
	}
	return c
}
