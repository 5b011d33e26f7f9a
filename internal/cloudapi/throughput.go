package cloudapi

import (
	"context"
	"encoding/json"
	"fmt"

	"sluice/internal/message"
)

// levels are Meta's names of what a number may send, in messages a second.
// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
var levels = map[string]int{"STANDARD": 80, "HIGH": 1000}

// coexistence is what a number may send that people also use in the WhatsApp Business app, whatever
// its level. Same page.
const coexistence = 20

// Throughput asks Meta how many messages a second a number may send; 0: it gives no level that
// we know.
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
		return 0, fmt.Errorf("ask about throughput: %w", err)
	}
	if a.OnBizApp {
		return coexistence, nil
	}
	return levels[a.Throughput.Level], nil
}

// Upgraded reports whether an update of Meta's says that a number may send more. It names the
// number only as people write it.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/phone_number_quality_update
func Upgraded(e message.Event) bool {
	var v struct {
		Event string `json:"event"`
	}
	json.Unmarshal(e.Meta, &v) // what is of another type says nothing
	return e.Field == "phone_number_quality_update" && v.Event == "THROUGHPUT_UPGRADE"
}
