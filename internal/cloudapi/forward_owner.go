package cloudapi

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"sluice/internal/message"
)

// Account returns the id of the WhatsApp Business Account of a number; empty: Meta does not say.
func (f *Forwarder) Account(ctx context.Context, number string) (string, error) {
	token, err := f.client.tokenOf(number)
	if err != nil {
		return "", err
	}
	var n Number
	err = f.client.get(ctx, token, number+"?fields=health_status", &n)
	return n.Account(), err
}

// Belongs reports whether an object is a flow or a message template of an account. It uses the access token of a number.
// A token can read more objects than those of one account, so an answer of Meta alone does not prove it.
// https://developers.facebook.com/docs/graph-api/reference/flow
func (f *Forwarder) Belongs(ctx context.Context, number, account, id string) (bool, error) {
	token, err := f.client.tokenOf(number)
	if err != nil {
		return false, err
	}
	var flow struct {
		Account struct {
			ID string `json:"id"`
		} `json:"whatsapp_business_account"`
	}
	err = f.client.get(ctx, token, id+"?fields=whatsapp_business_account", &flow)
	if err == nil && flow.Account.ID != "" {
		return flow.Account.ID == account, nil
	}
	if _, refused := errors.AsType[*Refusal](err); err != nil && !refused {
		return false, err
	}
	var template struct {
		Name string `json:"name"`
	}
	err = f.client.get(ctx, token, id+"?fields=name", &template)
	if _, refused := errors.AsType[*Refusal](err); refused || err == nil && template.Name == "" {
		return false, nil
	} else if err != nil {
		return false, err
	}
	all, err := f.named(ctx, token, account, template.Name)
	if _, refused := errors.AsType[*Refusal](err); refused {
		return false, nil
	}
	return slices.ContainsFunc(all, func(o accountTemplate) bool { return o.ID == id }), err
}

// accountTemplate is a message template of an account, in one language.
type accountTemplate struct{ ID, Name, Language, Category string }

// named returns the templates of an account with a name, one for each language. Meta's filter also finds other names.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates
func (f *Forwarder) named(ctx context.Context, token, account, name string) ([]accountTemplate, error) {
	var all struct{ Data []accountTemplate }
	query := url.Values{"name": {name}, "fields": {"id,name,language,category"}, "limit": {"250"}}
	err := f.client.get(ctx, token, account+"/message_templates?"+query.Encode(), &all)
	return slices.DeleteFunc(all.Data, func(o accountTemplate) bool { return o.Name != name }), err
}

// Categories returns the class of a template's category, by language: AUTHENTICATION is authentication, and so on. It
// leaves out categories that are no class. It uses the access token of a number of the account.
func (f *Forwarder) Categories(ctx context.Context, number, account, template string) (map[string]message.Class, error) {
	token, err := f.client.tokenOf(number)
	if err != nil {
		return nil, err
	}
	all, err := f.named(ctx, token, account, template)
	if err != nil {
		return nil, err
	}
	classes := map[string]message.Class{}
	for _, o := range all {
		if class := message.Class(strings.ToLower(o.Category)); class.Valid() {
			classes[o.Language] = class
		}
	}
	return classes, nil
}

// Overridden reports whether the webhooks of an account go to a URL of its own instead of that of the app. It uses the
// access token of a number of the account.
// https://developers.facebook.com/docs/whatsapp/embedded-signup/webhooks/override
func (f *Forwarder) Overridden(ctx context.Context, number, account string) (bool, error) {
	token, err := f.client.tokenOf(number)
	if err != nil {
		return false, err
	}
	var all struct {
		Data []struct {
			Callback string `json:"override_callback_uri"`
		} `json:"data"`
	}
	err = f.client.get(ctx, token, account+"/subscribed_apps", &all)
	for _, app := range all.Data {
		if app.Callback != "" {
			return true, err
		}
	}
	return false, err
}
