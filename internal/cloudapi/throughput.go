package cloudapi

import (
	"context"
	"encoding/json"
	"fmt"

	"sluice/internal/message"
)

// levels are the throughput levels of numbers, in messages per second.
// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
var levels = map[string]int{"STANDARD": 80, "HIGH": 1000}

// coexistence is the throughput of a number that is also used in the WhatsApp Business app. Same page.
const coexistence = 20

// Throughput returns how many messages per second a number may send, as Meta says; 0: the level is unknown.
func (c *Client) Throughput(ctx context.Context, number string) (int, error) {
	token, err := c.tokenOf(number)
	if err != nil {
		return 0, err
	}
	var a struct {
		OnBizApp   bool `json:"is_on_biz_app"`
		Throughput struct {
			Level string `json:"level"`
		} `json:"throughput"`
	}
	if err := c.get(ctx, token, number+"?fields=throughput,is_on_biz_app", &a); err != nil {
		return 0, fmt.Errorf("read throughput from Meta: %w", err)
	}
	if a.OnBizApp {
		return coexistence, nil
	}
	return levels[a.Throughput.Level], nil
}

// Upgraded reports whether an update event says that the throughput of a number was raised. The event does not have
// the phone number id.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/phone_number_quality_update
func Upgraded(e message.Event) bool {
	var v struct {
		Event string `json:"event"`
	}
	json.Unmarshal(e.Meta, &v) // members of other types stay empty
	return e.Field == "phone_number_quality_update" && v.Event == "THROUGHPUT_UPGRADE"
}
