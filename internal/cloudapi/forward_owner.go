package cloudapi

import (
	"context"
	"errors"
	"net/url"
	"slices"
)

// Account returns the id of the WhatsApp Business Account of a number; empty: Meta does not say.
func (f *Forwarder) Account(ctx context.Context, number string) (string, error) {
	account, _, err := f.client.Owner(ctx, number)
	return account, err
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
	var all struct{ Data []struct{ ID string } }
	query := url.Values{"name": {template.Name}, "fields": {"id"}, "limit": {"250"}} // one for each language; Meta's filter also finds other names
	err = f.client.get(ctx, token, account+"/message_templates?"+query.Encode(), &all)
	if _, refused := errors.AsType[*Refusal](err); refused {
		return false, nil
	}
	return slices.ContainsFunc(all.Data, func(o struct{ ID string }) bool { return o.ID == id }), err
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
