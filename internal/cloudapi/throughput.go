package cloudapi

import (
	"context"
	"fmt"

	"sluice/internal/message"
)

// levels are the throughput levels of numbers, in messages per second.
// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
var levels = map[string]int{"STANDARD": 80, "HIGH": 1000}

// coexistence is the throughput of a number that is also used in the WhatsApp Business app. Same page.
const coexistence = 20

// Profile is Meta's description of a number for operators. The texts are Meta's, and Meta may add new ones; empty: Meta
// does not say it.
type Profile struct {
	Rate    int    // messages per second that the number may send; 0: the level is unknown
	Quality string // "GREEN"
	Name    string // the name that recipients see
	Limit   string // "TIER_10K"
}

// Profile asks Meta for the description of a number.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status
func (c *Client) Profile(ctx context.Context, number string) (Profile, error) {
	token, err := c.tokenOf(number)
	if err != nil {
		return Profile{}, err
	}
	var a struct {
		OnBizApp   bool `json:"is_on_biz_app"`
		Throughput struct {
			Level string `json:"level"`
		} `json:"throughput"`
		Quality string `json:"quality_rating"`
		Name    string `json:"verified_name"`
		Limit   string `json:"whatsapp_business_manager_messaging_limit"`
	}
	if err := c.get(ctx, token, number+"?fields=throughput,is_on_biz_app,quality_rating,verified_name,whatsapp_business_manager_messaging_limit", &a); err != nil {
		return Profile{}, fmt.Errorf("read number from Meta: %w", err)
	}
	p := Profile{levels[a.Throughput.Level], a.Quality, a.Name, a.Limit}
	if a.OnBizApp {
		p.Rate = coexistence
	}
	return p, nil
}

// QualityChanged reports whether an update event says that Meta changed the throughput, the quality or the messaging limit of
// a number. The event does not have the phone number id.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/phone_number_quality_update
func QualityChanged(e message.Event) bool { return e.Field == "phone_number_quality_update" }
