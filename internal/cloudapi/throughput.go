package cloudapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"sluice/internal/message"
)

// levels are the throughput levels of numbers, in messages per second.
// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
var levels = map[string]int{"STANDARD": 80, "HIGH": 1000}

// Coexistence is the throughput of a number that is also used in the WhatsApp Business app. Same page.
const Coexistence = 20

// CodeSpamRate is the error code of a number or a business that sends too much.
const CodeSpamRate = 131048

// Profile is Meta's description of a number for operators. The texts are Meta's, and Meta may add new ones; empty: Meta
// does not say it.
type Profile struct {
	Rate    int    // messages per second that the number may send; 0: the level is unknown
	Quality string // "GREEN"
	Name    string // the name that recipients see
	Limit   string // "TIER_10K"

	OnBizApp  bool   // it is also used in the WhatsApp Business app
	Account   string // the WhatsApp Business Account that it belongs to
	Portfolio string // the business portfolio that owns the account
}

// Profile asks Meta for the description of a number.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status
func (c *Client) Profile(ctx context.Context, number string) (Profile, error) {
	token, err := c.tokenOf(number)
	if err != nil {
		return Profile{}, err
	}
	var a struct {
		Number
		Name  string `json:"verified_name"`
		Limit string `json:"whatsapp_business_manager_messaging_limit"`
	}
	if err := c.get(ctx, token, number+"?fields=throughput,is_on_biz_app,quality_rating,verified_name,whatsapp_business_manager_messaging_limit,health_status", &a); err != nil {
		return Profile{}, fmt.Errorf("read number from Meta: %w", err)
	}
	p := Profile{levels[a.Throughput.Level], a.Quality, a.Name, a.Limit, a.OnBizApp, a.Account(), a.Portfolio()}
	if a.OnBizApp {
		p.Rate = Coexistence
	}
	return p, nil
}

// QualityChanged reports whether an update event says that Meta changed the throughput, the quality or the messaging limit of
// a number or of its portfolio. The event does not have the phone number id.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/phone_number_quality_update
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/business_capability_update
func QualityChanged(e message.Event) bool {
	return e.Field == "phone_number_quality_update" || e.Field == capabilityUpdate
}

const capabilityUpdate = "business_capability_update"

// MessagingLimit returns how many people a portfolio may write to first in 24 hours, by Meta's name of its tier; 0: as many as it
// likes. False: the tier is unknown.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messaging-limits
func MessagingLimit(tier string) (people int, known bool) {
	digits, thousands := strings.CutSuffix(strings.TrimPrefix(tier, "TIER_"), "K")
	switch n, err := strconv.Atoi(digits); {
	case tier == "TIER_UNLIMITED":
		return 0, true
	case err != nil || n < 1 || n > 1e6:
		return 0, false
	case thousands:
		return 1000 * n, true
	default:
		return n, true
	}
}

// LimitChanged returns the messaging limit that an update event announces for the portfolio of an account, as MessagingLimit does. Meta
// writes a tier or a number, which is -1 for no limit.
func LimitChanged(e message.Event) (people int, known bool) {
	var v struct {
		Limit json.RawMessage `json:"max_daily_conversations_per_business"`
	}
	if e.Field != capabilityUpdate || json.Unmarshal(e.Meta, &v) != nil {
		return 0, false
	}
	limit := strings.Trim(string(v.Limit), `"`)
	if n, err := strconv.Atoi(limit); err == nil && (n > 0 || n == -1) {
		return max(n, 0), true
	}
	return MessagingLimit(limit)
}

// PortfolioNamed returns the WhatsApp Business Account and the business portfolio that owns it, if an update event names both.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/account_update
func PortfolioNamed(e message.Event) (account, portfolio string, ok bool) {
	var v struct {
		Info struct {
			Account   string `json:"waba_id"`
			Portfolio string `json:"owner_business_id"`
		} `json:"waba_info"`
	}
	if e.Field != "account_update" || json.Unmarshal(e.Meta, &v) != nil || v.Info.Account == "" || v.Info.Portfolio == "" {
		return "", "", false
	}
	return v.Info.Account, v.Info.Portfolio, true
}

// OnBizApp reports whether an update event is one that Meta sends only about numbers that are also used in the WhatsApp Business app.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/smb_message_echoes
func OnBizApp(e message.Event) bool { return strings.HasPrefix(e.Field, "smb_") }
