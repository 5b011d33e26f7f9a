package cloudapi

import (
	"context"
	"slices"
	"strings"
)

// Field is a webhook field that an app must be subscribed to.
type Field struct {
	Name string
	For  string // what Sluice does not learn without it
}

// Fields are the webhook fields that Sluice uses, the most important first. Without the first one nothing works. Sluice relays and
// stores events of other fields too, and does nothing else with them.
// https://developers.facebook.com/docs/graph-api/webhooks/getting-started/webhooks-for-whatsapp
var Fields = []Field{
	{"messages", "statuses and inbound messages"},
	{"standby", "conversations that another app owns, and messages from people in them"},
	{"messaging_handovers", "conversations that change their owner"},
	{preferencesField, "people who stop marketing messages"},
	{"account_update", "accounts that Meta locks and releases"},
	{"message_template_status_update", "templates that Meta pauses and approves"},
	{"message_template_quality_update", "the quality of templates"},
	{"message_template_components_update", "templates with other components"},
	{"template_category_update", "templates with another category"},
	{"business_capability_update", "the messaging limits of portfolios"},
	{"phone_number_quality_update", "the throughput of numbers"},
}

// CallsField is a webhook field that Sluice uses only if a number tracks customer service windows.
var CallsField = Field{callsField, "calls, which open customer service windows"}

// MissingFields returns those of Fields that a subscription does not have.
func MissingFields(subscribed []string) (missing []Field) {
	for _, f := range Fields {
		if !slices.Contains(subscribed, f.Name) {
			missing = append(missing, f)
		}
	}
	return missing
}

// SubscribeFields subscribes an app to webhook fields, with the URL and the verify token for the handshake that Meta makes at once.
// The fields are all that it has afterwards. It uses the app secret.
// https://developers.facebook.com/docs/graph-api/reference/app/subscriptions
func (c *Client) SubscribeFields(ctx context.Context, app, secret string, to Callback, fields []string) error {
	return c.change(ctx, app+"|"+secret, app+"/subscriptions", map[string]string{
		"object": whatsappObject, "callback_url": to.URL, "verify_token": to.VerifyToken, "fields": strings.Join(fields, ","),
	})
}
