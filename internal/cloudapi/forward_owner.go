package cloudapi

import (
	"context"
	"errors"
	"net/url"
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
	var all struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	query := url.Values{"name": {template.Name}, "fields": {"id"}, "limit": {"250"}} // one for each language
	err = f.client.get(ctx, token, account+"/message_templates?"+query.Encode(), &all)
	for _, one := range all.Data {
		if one.ID == id {
			return true, nil
		}
	}
	if _, refused := errors.AsType[*Refusal](err); refused {
		return false, nil
	}
	return false, err
}
